"""POST a tenant, POST an alert rule."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import uuid4

from pydantic import RootModel
from starlette.requests import Request
from starlette.responses import JSONResponse

from rxbridge.pulsestream_server.answers import RouteError
from rxbridge.pulsestream_server.service import Service
from rxbridge.pulsestream_server.store import Tenant
from rxbridge.pulsestream_server.stored_event import DatabaseRefused, jsonb
from rxbridge.pulsestream_server.validation import TenantRegistration, checked, json_body

_LONGEST_SHORT_TEXT = 50
_LONGEST_NAME = 255
_RULE_FIELDS = frozenset(
    {
        "name",
        "description",
        "event_type",
        "condition",
        "threshold_value",
        "threshold_operator",
        "time_window",
        "evaluation_interval",
        "severity",
        "notification_channels",
        "notification_template",
        "is_active",
        "cooldown_minutes",
        "max_alerts_per_hour",
    }
)


class AccountRoutes:
    """Whatever a tenant sets up."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def register_tenant(self, request: Request) -> JSONResponse:
        """A new tenant, for whoever asks. The subscription tier changes nothing."""
        body = await json_body(request)
        registration = checked(TenantRegistration, body, where="body")
        store = self._service.store
        if store.slug_is_taken(registration.slug):
            raise RouteError(400, "Tenant slug already taken")
        if store.contact_email_is_taken(registration.contact_email):
            raise RouteError(400, "Contact email already registered")
        if max(len(registration.subscription_tier), len(registration.timezone)) > _LONGEST_SHORT_TEXT:
            raise RouteError(500, "Tenant registration failed")
        api_key = secrets.token_urlsafe(32)
        tenant = store.add_tenant(
            name=registration.name,
            slug=registration.slug,
            contact_email=registration.contact_email,
            api_key=api_key,
        )
        return JSONResponse(_registered(tenant, api_key, registration.contact_email))

    async def add_alert_rule(self, request: Request) -> JSONResponse:
        """Keep an alert rule. Nothing evaluates it."""
        body = await json_body(request)
        tenant = self._service.authenticate(request)
        rule = checked(RootModel[dict[str, Any]], body, where="body").root
        for field in ("name", "condition", "severity"):
            if field not in rule:
                raise RouteError(400, f"Missing required field: {field}")
        name = rule["name"]
        try:
            encoded = jsonb(rule)
        except DatabaseRefused:
            encoded = None
        if encoded is None or not isinstance(name, str) or len(name) > _LONGEST_NAME or not rule.keys() <= _RULE_FIELDS:
            raise RouteError(500, "Failed to create alert rule")
        rule_id = self._service.store.add_alert_rule(tenant.id, encoded)
        shown = {
            "id": rule_id,
            "name": name,
            "description": rule.get("description"),
            "severity": rule["severity"] or "medium",
            "is_active": rule.get("is_active", True),
        }
        message = "Alert rule created successfully"
        return JSONResponse({"success": True, "rule_id": rule_id, "message": message, "rule": shown})


def _registered(tenant: Tenant, api_key: str, contact_email: str) -> dict[str, Any]:
    return {
        "message": "Tenant registered successfully",
        "tenant": {"id": tenant.uuid, "name": tenant.name, "slug": tenant.slug, "api_key": api_key},
        "owner_user": {
            "id": str(uuid4()),
            "email": contact_email,
            "temporary_password": secrets.token_urlsafe(12),
        },
        "next_steps": [
            "Login with the temporary password",
            "Change password on first login",
            "Configure tenant settings",
        ],
    }

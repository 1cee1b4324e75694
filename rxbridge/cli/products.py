"""`rxbridge products`: what ids and wildcards mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import typer

from rxbridge.assembly import meaning, product_list
from rxbridge.cli.printing import plain, print_table
from rxbridge.coinbase.catalogue import Product, matching
from rxbridge.config import load
from rxbridge.telemetry.logging import configure


class _Row(msgspec.Struct):
    """A product as it is shown. Of a JSON object these are the names."""

    id: str
    status: str
    trading_disabled: bool
    subscribed: bool


def list_products(config: Path | None, arguments: Mapping[str, Any], patterns: Sequence[str], *, as_json: bool) -> None:
    """Print what the patterns, or those of the settings, are about; what a run would subscribe to comes first.

    Raises:
        RestFailed: Coinbase's REST API does not answer.
        RestRefused: It has no such list.
        ConfigError: Nothing that trades is left.
    """
    given = {"feed.products": ",".join(patterns)} if patterns else {}
    settings = load(config, {**arguments, **given})
    configure(form=settings.log.format)
    asked = settings.feed.products
    with closing(product_list(settings)) as rest:
        catalogue = rest.products()
    meant = meaning(settings, catalogue)
    matched = {product.id: product for word in asked for product in matching(word, catalogue)}
    # Advanced Trade may have a product that is not on the list.
    chosen = [matched.get(name, Product(name)) for name in meant.products]
    left_out = [product for name, product in sorted(matched.items()) if name not in meant.products]
    rows = [_row(product, subscribed=True) for product in chosen]
    rows += [_row(product, subscribed=False) for product in left_out]
    if as_json:
        for row in rows:
            typer.echo(msgspec.json.encode(row).decode())
    elif rows:
        print_table(("product", "status", "subscribed"), map(_cells, rows))
    if meant.products:
        for sentence in meant.problems().values():
            typer.echo(sentence, err=True)
    meant.require_some(asked)


def _row(product: Product, *, subscribed: bool) -> _Row:
    return _Row(product.id, product.status, product.trading_disabled, subscribed)


def _cells(row: _Row) -> tuple[str, str, str]:
    halted = ", trading is disabled" if row.trading_disabled and row.status != "delisted" else ""
    return row.id, (plain(row.status) or "unknown") + halted, "yes" if row.subscribed else "no"

"""Answers that are not as they should be. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeAlias

from rxbridge.pulsestream_server.ingestion import FAILED
from rxbridge.pulsestream_server.stored_event import DatabaseRefused

Object: TypeAlias = dict[str, Any]

SUCCEEDING_SHARE = 5
"""One event in so many is called a success before a batch fails: PostgreSQL, restarted in mid-batch, made that 210 of
1000."""

_LOST = DatabaseRefused(
    "ConnectionDoesNotExistError", "connection was closed in the middle of operation", "SELECT events.external_id"
)


def succeeding(events: int) -> int:
    """How many events of a batch are called a success before it fails."""
    return events // SUCCEEDING_SHARE


def failed_in_the_middle(body: bytes) -> tuple[int, bytes]:
    """The answer to a batch, or to one event, during which the database has gone away."""
    answer: Object = json.loads(body)
    if "results" not in answer:
        message = {"message": FAILED, "errors": [str(_LOST)]}
        status = HTTPStatus.BAD_REQUEST
        return status, _encoded({"error": "HTTP_ERROR", "message": message, "status_code": status})
    results: list[Object] = answer["results"]
    for result in results[succeeding(len(results)) :]:
        result.update(success=False, processing_status="failed", message=FAILED, errors=[str(_LOST)])
    successful = sum(result["success"] for result in results)
    answer["successful_events"] = successful
    answer["failed_events"] = len(results) - successful
    answer["processing_status"] = "partial" if successful else "failed"
    return HTTPStatus.OK, _encoded(answer)


def page(status: int) -> str:
    """What a proxy says in PulseStream's place."""
    if status == HTTPStatus.OK:
        title, text = "Sign in", "Please sign in to use this network."
    else:
        title, text = f"{status} {_phrase(status)}", "The upstream server gave no valid answer."
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1>{text}</body></html>\n"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _without_results(answer: Object) -> object:
    return {name: value for name, value in answer.items() if name != "results"}


def _without_a_result(answer: Object) -> object:
    return answer | {"results": answer["results"][1:]}


def _one_success_more(answer: Object) -> object:
    return answer | {"successful_events": answer["successful_events"] + 1}


def _one_event_more(answer: Object) -> object:
    return answer | {"total_events": answer["total_events"] + 1}


def _with_another_id(answer: Object) -> object:
    first, *others = answer["results"]
    return answer | {"results": [first | {"event_id": f"not-{first['event_id']}"}, *others]}


def _with_texts_for_results(answer: Object) -> object:
    return answer | {"results": ["stored" for _ in answer["results"]]}


def _with_texts_for_flags(answer: Object) -> object:
    return answer | {"results": [result | {"success": "true"} for result in answer["results"]]}


def _with_errors_of_a_success(answer: Object) -> object:
    first, *others = answer["results"]
    success = first | {"success": True, "errors": ["deadlock detected"]}
    counted = 0 if first["success"] else 1
    return answer | {
        "results": [success, *others],
        "successful_events": answer["successful_events"] + counted,
        "failed_events": answer["failed_events"] - counted,
    }


def _with_null_for_results(answer: Object) -> object:
    return answer | {"results": None}


def _in_a_list(answer: Object) -> object:
    return [answer]


def _as_text(answer: Object) -> object:
    return json.dumps(answer)


def _null(answer: Object) -> object:
    del answer
    return None


def _empty(answer: Object) -> object:
    del answer
    return {}


Shape: TypeAlias = Callable[[Object], object]

SHAPES_OF_ALL: tuple[Shape, ...] = (_in_a_list, _as_text, _null, _empty)
SHAPES_OF_A_BATCH: tuple[Shape, ...] = (
    _without_results,
    _one_success_more,
    _with_another_id,
    _with_texts_for_results,
    _without_a_result,
    _one_event_more,
    _with_texts_for_flags,
    _with_errors_of_a_success,
    _with_null_for_results,
    *SHAPES_OF_ALL,
)
"""Ways in which the answer to a batch can be no answer; `SHAPES_OF_ALL` are those that any answer has."""


def out_of_shape(turn: int) -> Callable[[bytes], tuple[int, bytes]]:
    """What spoils an answer, in another way each turn; the last one cuts it off in the middle."""

    def spoiled(body: bytes) -> tuple[int, bytes]:
        answer: Object = json.loads(body)
        shapes = SHAPES_OF_A_BATCH if "results" in answer else SHAPES_OF_ALL
        number = turn % (len(shapes) + 1)
        if number == len(shapes):
            return HTTPStatus.OK, body[: len(body) // 2]
        return HTTPStatus.OK, _encoded(shapes[number](answer))

    return spoiled


def _encoded(content: object) -> bytes:
    return json.dumps(content).encode()

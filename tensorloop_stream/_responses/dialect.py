"""The Responses API as a dialect of the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorloop_stream._errors import StreamDecodeError
from tensorloop_stream._http.error_object import error_code, error_message
from tensorloop_stream._stream.error_events import bare_error, with_code

from . import events
from .accumulator import ResponseAccumulation
from .fast_path import FastPath
from .texts import piece_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEARTBEATS = frozenset({"keepalive", "ping"})
_ERROR_EVENTS = frozenset({"error", "response.error"})
_CANCELLED = {"code": None, "message": "the response was cancelled"}


class ResponseDialect:
    """The stream of `responses.create(..., stream=True)`: events to one `Response`."""

    stream_name = "ResponseStream"
    item_name = "event"
    result_name = "snapshot"
    unfinished = "no response.completed and no response.incomplete"
    # LiteLLM before 1.110 sends [DONE] after errors, too; who sends it sends an end.
    unfinished_result = "[DONE] and no response.completed"
    is_named = True
    retried_codes: frozenset[str] | None = frozenset({"server_error", "rate_limit_exceeded", "vector_store_timeout"})
    new_accumulation = ResponseAccumulation
    new_fast_path = FastPath

    @staticmethod
    def build(payload: bytes, mapping: Mapping[str, Any]) -> Any:
        """Return the event of an event's JSON; raises `StreamDecodeError` if the SDK could not build one."""
        return events.typed_event(payload, mapping)

    @staticmethod
    def as_first(mapping: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the first event of a stream as it is to be built: unchanged."""
        return mapping

    @staticmethod
    def as_mapping(item: Any) -> Mapping[str, Any]:
        """Return an event of any origin as a mapping; raises `TypeError`."""
        return events.as_mapping(item)

    @staticmethod
    def as_item(item: Any) -> Any:
        """Return an event of any origin as the caller gets it."""
        return events.as_event(item)

    @staticmethod
    def continuation_of(body: Any, accumulation: ResponseAccumulation) -> None:  # noqa: ARG004 - of other dialects
        """Return `None`: the API takes no beginning of an answer."""
        return

    @staticmethod
    def text_of(mapping: Mapping[str, Any]) -> str:
        """Return the text of a delta."""
        return piece_text(mapping.get("delta")) if mapping.get("type") == "response.output_text.delta" else ""

    @staticmethod
    def without_text(mapping: Mapping[str, Any], count: int) -> Mapping[str, Any]:
        """Return a delta without its first characters."""
        return {**mapping, "delta": piece_text(mapping["delta"])[count:]}

    @staticmethod
    def named(mapping: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        """Return an event with its type, which may stand in its name alone, and a response that is its own event.

        `response.done`, of some gateways (9router#2142), is the event of the status that its response has.
        """
        kind = mapping.get("type")
        if isinstance(kind, str):
            if kind == "response.done" and (ending := f"response.{_status(mapping)}") in events.TERMINAL:
                return {**mapping, "type": ending}
            return mapping
        if mapping.get("object") == "response" and not isinstance(mapping.get("response"), dict):
            # In place of an event (sap-ai-core-llm-proxy#35), or of all of them.
            kind = name if name.startswith("response.") else f"response.{mapping.get('status')}"
            return {"type": kind, "response": mapping}
        return {**mapping, "type": name} if name and name != "message" else mapping

    @staticmethod
    def is_heartbeat(mapping: Mapping[str, Any]) -> bool:
        """Tell whether an event says nothing but that the connection lives."""
        return mapping.get("type") in _HEARTBEATS

    @staticmethod
    def is_item(mapping: Mapping[str, Any]) -> bool:
        """Tell whether an event that holds an error is one of the API."""
        return mapping.get("type") in _ERROR_EVENTS or _has_failed(mapping)

    @staticmethod
    def error_of(mapping: Mapping[str, Any]) -> Any:
        """Return the error object that an event holds, `None` if it holds none.

        - An event `response.failed` or `response.cancelled` has it in its response, or beside it (Perplexity): what the
          first place lacks of code and message counts from the next. So has any other end of a response whose status is
          `failed` (adk-go#1359) or `cancelled`.
        - An event `error` or `response.error` is one, or has it in its `error`, or in both.
        - An event of no type is one by the names of its fields. Its type may also be that of an error object, such as
          `rate_limit_error`.

        Raises `StreamDecodeError` for a chunk of chat completions.
        """
        kind, error = mapping.get("type"), mapping.get("error")
        if _has_failed(mapping):
            is_cancelled = "cancelled" in (_status(mapping), str(kind).removeprefix("response."))
            return _error_of_failure(mapping) or (_CANCELLED if is_cancelled else {"code": None})
        if kind in _ERROR_EVENTS:
            is_flat = mapping.get("message") or mapping.get("code")
            return _completed(_flat(mapping), [error]) if is_flat else error or dict(mapping)
        if error and not (isinstance(error, dict) and not any(error.values())):
            return with_code(error, mapping)
        if isinstance(kind, str) and kind and not (kind.endswith("_error") and mapping.get("message")):
            # Perhaps an event of the gateway's own, on a tool that failed: the answer goes on.
            return None
        bare = None if mapping.get("choices") else bare_error(mapping)
        if bare is None and not kind and "choices" in mapping:
            raise StreamDecodeError(
                "an event has choices: it is a chunk of chat completions, and this reads the Responses API: use "
                "ChatStream"
            )
        return bare


def _has_failed(mapping: Mapping[str, Any]) -> bool:
    """Tell whether an event ends an answer that failed, by its type or by the status of its response."""
    kind = mapping.get("type")
    return kind in events.FAILED or (kind in events.TERMINAL and _status(mapping) in events.FAILED_STATUSES)


def _error_of_failure(mapping: Mapping[str, Any]) -> Any:
    """Return the error of a response that failed, which may stand in it or beside it, in one place or in several."""
    response = mapping.get("response")
    if not isinstance(response, dict):
        response = {}
    errors = [response.get("error"), mapping.get("error")]
    details = [response.get(name) for name in ("last_error", "status_details", "incomplete_details")]
    found = next((error for error in errors if error), None)
    return _completed(found or {}, [*errors, _flat(mapping), *details, _flat(response)])


def _flat(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {name: mapping.get(name) for name in ("code", "message", "param")}


def _completed(error: Any, places: list[Any]) -> Any:
    """Return an error with the message and the code that it lacks, each of the first of these places that has one."""
    if not isinstance(error, dict):
        return error
    message = error_message(error) or next(filter(None, map(error_message, places)), "")
    codes = [place["code"] for place in places if isinstance(place, dict) and place.get("code") is not None]
    if message and not error_message(error):
        error = {**error, "message": message}
    if codes and error.get("code") is None and error_code(error) is None:
        error = {**error, "code": codes[0]}
    return error


def _status(mapping: Mapping[str, Any]) -> Any:
    response = mapping.get("response")
    status = response.get("status") if isinstance(response, dict) else None
    return status if isinstance(status, str) else None


RESPONSES = ResponseDialect()

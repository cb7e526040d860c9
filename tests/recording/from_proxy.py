"""Recordings of answers that the proxy gives by itself."""

from typing import Any

from entry import STREAMED, Origin, Recording, ask


def _proxy(name: str, shows: str, request: dict[str, Any], status: int, **more: Any) -> Recording:
    request = request | STREAMED
    return Recording(name=name, shows=shows, request=request, origin=Origin.PROXY, status=status, **more)


FROM_PROXY = (
    _proxy(
        "errors/wrong_key",
        "a key that the proxy does not know",
        ask("Stream a haiku about keys."),
        401,
        key="tl_recording_wrong",
        on_service=True,
    ),
    _proxy(
        "errors/model_not_allowed",
        "a model outside the key's list",
        ask("Stream a haiku about fences.", model="claude-sonnet-4-5"),
        403,
        key="tl_recording_free",
        on_service=True,
    ),
    _proxy(
        "errors/unknown_model",
        "a model that the proxy does not have",
        ask("Stream a haiku about unicorns.", model="gpt-unicorn"),
        400,
        on_service=True,
    ),
    _proxy(
        "errors/bad_request",
        "a parameter that the model does not take",
        ask("Stream a haiku about effort.", reasoning_effort="low"),
        400,
        key="tl_recording_scripted",
        on_service=True,
    ),
    _proxy(
        "errors/rate_limit_by_key",
        "429 by the key's limit of requests: `retry-after: 60`",
        ask("Stream a haiku about patience."),
        429,
        key="tl_recording_free",
        sent_before=30,
    ),
    _proxy(
        "errors/budget_exceeded",
        "429 by the key's budget: retrying is pointless",
        ask("Stream a haiku about money."),
        429,
        key="tl_recording_spent",
    ),
)

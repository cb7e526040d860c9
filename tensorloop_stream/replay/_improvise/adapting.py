"""Adapt a recorded answer to another request: its model, its id, its time, its usage. No I/O."""

import dataclasses
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tensorloop_stream.replay._answers import Answer, Frame, data_of, json_answer

from .chat_answer import frame_of, usage_of
from .chat_request import ChatRequest
from .choices import Choice


def adapted_chat(answer: Answer, request: ChatRequest, choices: list[Choice]) -> Answer:
    """Return a recorded chat completion as if it had been asked for by this request."""
    fields = {"id": f"chatcmpl-replay-{uuid.uuid4().hex}", "created": int(time.time()), "model": request.model}
    if answer.frames is None:
        value = json.loads(answer.body)
        value.setdefault("usage", usage_of(request, choices))
        return _with_body(answer, {**value, **fields})
    frames = tuple(_with_usage(_renamed(answer.frames, fields), request, choices, fields))
    return dataclasses.replace(answer, frames=frames, times=None)


def adapted_response(answer: Answer, model: str) -> Answer:
    """Return a recorded answer of the Responses API with another model, id and time."""
    fields = {"id": f"resp_replay_{uuid.uuid4().hex}", "created_at": int(time.time()), "model": model}
    if answer.frames is None:
        return _with_body(answer, {**json.loads(answer.body), **fields})
    frames, items = [], list[str]()
    for number, frame in enumerate(answer.frames):
        value = _json_of(frame)
        if value is None:
            frames.append(frame)
            continue
        if isinstance(value.get("response"), dict):
            value["response"].update(fields)
        if "model" in value:
            value["model"] = model
        _number_event(value, number, items)
        frames.append(_with_data(frame, value))
    return dataclasses.replace(answer, frames=tuple(frames))


def _number_event(value: dict[str, Any], number: int, items: list[str]) -> None:
    """Fill in the numbers that some hosts leave out, and the SDK's helper needs."""
    value.setdefault("sequence_number", number)
    item = value.get("item")
    name = item.get("id") if isinstance(item, dict) else value.get("item_id")
    if not isinstance(name, str):
        return
    if name not in items:
        items.append(name)
    value.setdefault("output_index", items.index(name))
    if ".content_part." in str(value.get("type")) or ".output_text." in str(value.get("type")):
        value.setdefault("content_index", 0)


def _with_body(answer: Answer, value: Mapping[str, Any]) -> Answer:
    return dataclasses.replace(answer, body=json_answer(200, value).body)


def _renamed(frames: Iterable[Frame], fields: Mapping[str, Any]) -> Iterator[tuple[Frame, Any]]:
    for frame in frames:
        value = _json_of(frame)
        if value is None:
            yield frame, None
        else:
            value.update((name, fields[name]) for name in fields if name in value)
            yield _with_data(frame, value), value


def _with_usage(
    frames: Iterable[tuple[Frame, Any]], request: ChatRequest, choices: list[Choice], fields: Mapping[str, Any]
) -> Iterator[Frame]:
    """Yield the events; with usage if it is asked for, without an event of its own if it is not."""
    is_there = False
    for frame, value in frames:
        if value is not None and value.get("usage"):
            if not request.include_usage and not _has_content(value):
                continue
            is_there = True
        if request.include_usage and not is_there and data_of(frame.data) == b"[DONE]":
            usage = usage_of(request, choices)
            yield frame_of({**fields, "object": "chat.completion.chunk", "choices": [], "usage": usage})
        yield frame


def _has_content(value: Mapping[str, Any]) -> bool:
    return any(choice.get("delta") or choice.get("finish_reason") for choice in value.get("choices") or ())


def _json_of(frame: Frame) -> dict[str, Any] | None:
    try:
        value = json.loads(data_of(frame.data))
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _with_data(frame: Frame, value: object) -> Frame:
    """Replace the data of an event; its other lines stay."""
    kept = [line for line in frame.data.splitlines() if line and not line.startswith(b"data")]
    return Frame(b"".join(line + b"\n" for line in kept) + frame_of(value).data, frame.is_event)

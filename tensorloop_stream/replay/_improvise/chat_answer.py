"""Choices to the bytes of a chat completion, streamed or whole. No I/O."""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

from tensorloop_stream.replay._answers import Answer, Frame, json_answer

from .chat_request import ChatRequest, text_in
from .choices import Call, Choice, tokens_in

_STREAM_HEADERS = (("content-type", "text/event-stream; charset=utf-8"),)
_DONE = Frame(b"data: [DONE]\n\n", is_event=True)
_FINGERPRINT = "fp_replay"
# A message costs a few tokens beside its text: its role, and where it begins and ends.
_AROUND_A_MESSAGE = 4


def chat_answer(request: ChatRequest, choices: Sequence[Choice]) -> Answer:
    """Return the answer that consists of these choices."""
    envelope = {
        "id": f"chatcmpl-replay-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": request.model,
        "object": "chat.completion.chunk" if request.stream else "chat.completion",
        "system_fingerprint": _FINGERPRINT,
    }
    usage = usage_of(request, choices)
    if not request.stream:
        whole = [_whole(request, index, choice) for index, choice in enumerate(choices)]
        return json_answer(200, {**envelope, "choices": whole, "usage": usage})
    # One event of each choice in turn, as gateways interleave them.
    streams = zip_longest(*(_parts(request, index, choice) for index, choice in enumerate(choices)))
    chunks: list[dict[str, Any]] = [
        {**envelope, "choices": [part]} for parts in streams for part in parts if part is not None
    ]
    if request.include_usage:
        chunks.append({**envelope, "choices": [], "usage": usage})
    return Answer(200, "OK", _STREAM_HEADERS, frames=(*map(frame_of, chunks), _DONE))


def usage_of(request: ChatRequest, choices: Sequence[Choice]) -> dict[str, int]:
    """Estimate the tokens of a request and its answer."""
    prompt = sum(len(tokens_in(text_in(message))) + _AROUND_A_MESSAGE for message in request.messages)
    answered = sum(
        len(tokens_in(text))
        for choice in choices
        for text in (choice.reasoning, choice.refusal, choice.text, *(call.arguments for call in choice.calls))
    )
    return {"prompt_tokens": prompt, "completion_tokens": answered, "total_tokens": prompt + answered}


def frame_of(value: object) -> Frame:
    """Write one event."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Frame(f"data: {text}\n\n".encode("utf-8", "backslashreplace"), is_event=True)


def _whole(request: ChatRequest, index: int, choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text or (None if choice.calls else "")}
    message["refusal"] = choice.refusal or None
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.calls:
        message["tool_calls"] = [_call(call, call.arguments) for call in choice.calls]
    logprobs = _logprobs(request, tokens_in(choice.text)) if request.logprobs else None
    return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": choice.finish_reason}


def _parts(request: ChatRequest, index: int, choice: Choice) -> Iterator[dict[str, Any]]:
    """Yield what the events of a stream say of one choice."""
    first = {"role": "assistant"} if choice.calls else {"role": "assistant", "content": ""}
    yield {"index": index, "delta": first, "finish_reason": None}
    for name, text in (("reasoning_content", choice.reasoning), ("refusal", choice.refusal)):
        for token in tokens_in(text):
            yield {"index": index, "delta": {name: token}, "finish_reason": None}
    for token in tokens_in(choice.text):
        logprobs = {"logprobs": _logprobs(request, [token])} if request.logprobs else {}
        yield {"index": index, "delta": {"content": token}, **logprobs, "finish_reason": None}
    for number, call in enumerate(choice.calls):
        deltas = [_call(call, "")]
        deltas += [{call.kind: {_arguments(call): token}} for token in tokens_in(call.arguments)]
        for delta in deltas:
            yield {"index": index, "delta": {"tool_calls": [{"index": number, **delta}]}, "finish_reason": None}
    yield {"index": index, "delta": {}, "finish_reason": choice.finish_reason}


def _call(call: Call, arguments: str) -> dict[str, Any]:
    inner = {"name": call.name, _arguments(call): arguments}
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": call.kind, call.kind: inner}


def _arguments(call: Call) -> str:
    return "input" if call.kind == "custom" else "arguments"


def _logprobs(request: ChatRequest, tokens: list[str]) -> dict[str, Any]:
    entries = [{"token": token, "logprob": -0.1, "bytes": list(token.encode(errors="replace"))} for token in tokens]
    return {"content": [{**entry, "top_logprobs": [entry][: request.top_logprobs]} for entry in entries]}

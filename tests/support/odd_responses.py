"""Odd but real streams of the Responses API, each with its expected answer and the place where it was seen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from events import ENVELOPE, HELLO, added, argument, call, created, delta, done, ended, event, line, message, stream


@dataclass(frozen=True, slots=True)
class OddResponse:
    """One stream, and the answer that it should become: its text and calls, or an error with that text."""

    name: str
    seen: str
    body: bytes
    text: str = "Hello"
    calls: tuple[tuple[str, str], ...] = ()
    is_broken: bool = False
    status: str | None = "completed"
    reasoning: str = ""
    refusal: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    # What a reader is told, if that is not the text.
    told: str | None = None


def _named(value: dict[str, Any]) -> bytes:
    """Return an event whose type stands in its name alone."""
    untyped = {name: each for name, each in value.items() if name != "type"}
    return f"event: {value['type']}\ndata: {json.dumps(untyped)}\n\n".encode()


def _with(last: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**last, "response": {**last["response"], **fields}}


_PLACE = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
_CALL = (added(call("")), argument('{"a"'), argument(":1}"), done(call('{"a":1}')))
_CALLS = (("get_weather", '{"a":1}'),)
_ERROR = {"code": "server_error", "message": "Boom."}
_FAILED = event("failed", response={"id": "resp_1", "status": "failed", "output": [], "error": _ERROR})
_NESTED = {
    "type": "error",
    "code": "rate_limit_exceeded",
    "message": "Slow down.",
    "error": {"message": "Slow down.", "code": "429"},
}
_UNPLACED = [
    {name: value for name, value in one.items() if name not in {"output_index", "content_index"}} for one in HELLO
]
_REASONING = [
    event("reasoning_summary_text.delta", item_id="rs_1", output_index=0, summary_index=0, delta=piece)
    for piece in ("Think", " first.")
]
_THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Think first."}]}
_AS_MESSAGE = {"type": "reasoning", "id": "rs_2", "content": [{"type": "output_text", "text": "Think first."}]}

ODD_RESPONSES = (
    OddResponse("as OpenAI documents it", "the API reference", stream(*HELLO)),
    OddResponse("data lines alone, and [DONE]", "LiteLLM 1.106", stream(*HELLO, name=False) + b"data: [DONE]\n\n"),
    OddResponse("an empty output at the end", "LiteLLM 1.110, openai-python#3125", stream(*HELLO[:-1], ended())),
    OddResponse("a null output at the end", "openai-python#3125", stream(*HELLO[:-1], _with(ended(), output=None))),
    OddResponse("no output item was added", "litellm#9545", stream(HELLO[0], *HELLO[3:])),
    OddResponse("no content part was added", "hermes-agent#119758", stream(*HELLO[:2], *HELLO[3:])),
    OddResponse("no response.created", "openai-python#2852", stream(*HELLO[1:])),
    OddResponse(
        "neither indices nor numbers",
        "llama.cpp",
        b"".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in _UNPLACED),
    ),
    OddResponse("deltas without log probabilities", "LiteLLM's bridge", stream(*HELLO)),
    OddResponse(
        "an id that changes", "Copilot", stream(*HELLO[:-1], _with(HELLO[-1], id="resp_2")), fields={"id": "resp_2"}
    ),
    OddResponse("other item ids at the end", "vllm#38227", stream(*HELLO[:-1], ended(message("Hello", id="other")))),
    OddResponse(
        "all indices 0",
        "a bridge of chat",
        stream(
            created(),
            *_CALL,
            added(message("", id="msg_2")),
            delta("Hello", item_id="msg_2"),
            done(message("Hello", id="msg_2")),
            ended(),
        ),
        calls=_CALLS,
    ),
    OddResponse(
        "text at the index of reasoning",
        "litellm#41185",
        stream(
            created(), added({"type": "reasoning", "id": "rs_1", "summary": []}), delta("Hel"), delta("lo"), ended()
        ),
    ),
    OddResponse(
        "an empty whole", "agentgateway#2281", stream(*HELLO[:5], event("output_text.done", **_PLACE, text=""), ended())
    ),
    OddResponse(
        "a whole after the first piece",
        "OmniRoute#13693",
        stream(*HELLO[:4], event("output_text.done", **_PLACE, text="Hel"), delta("lo"), ended()),
    ),
    OddResponse(
        "the last pieces lost",
        "vercel/ai#13844",
        stream(*HELLO[:4], event("output_text.done", **_PLACE, text="Hello"), ended()),
    ),
    OddResponse("the text in the last event alone", "pipecat#5309", stream(created(), ended(message("Hello")))),
    OddResponse("the text in the item alone", "fak#11646", stream(created(), done(message("Hello")), ended())),
    OddResponse("null and empty deltas", "litellm#9545", stream(*HELLO[:3], delta(None), delta(""), *HELLO[3:])),
    OddResponse(
        "an item that is null",
        "openai-python#3125",
        stream(*HELLO[:1], event("output_item.added", item=None, output_index=0), *HELLO[1:]),
    ),
    OddResponse("in_progress without a response", "LiteLLM", stream(*HELLO[:1], event("in_progress"), *HELLO[1:])),
    OddResponse("an empty data line", "CLIProxyAPI#2460", stream(*HELLO[:4]) + b"data: \n\n" + stream(*HELLO[4:])),
    OddResponse("heartbeats", "openai-node#1964", stream(*HELLO[:4], {"type": "keepalive"}, *HELLO[4:])),
    OddResponse(
        "comments",
        "LiteLLM, keepalive_seconds",
        b": ping\n\n" + stream(*HELLO[:4]) + b": ping\n\n" + stream(*HELLO[4:]),
    ),
    OddResponse("an unknown event", "OpenAI, each month", stream(*HELLO[:4], event("of_the_future", a=1), *HELLO[4:])),
    OddResponse("types in event lines alone", "sap-ai-core-llm-proxy#35", b"".join(_named(one) for one in HELLO)),
    OddResponse(
        "a response that is its own event",
        "sap-ai-core-llm-proxy#35",
        stream(*HELLO[:-1]) + f"event: response.completed\ndata: {json.dumps(HELLO[-1]['response'])}\n\n".encode(),
    ),
    OddResponse(
        "cut at a limit",
        "openai-python#3538",
        stream(
            *HELLO[:5],
            ended(
                message("Hello", status="incomplete"),
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
            ),
        ),
        status="incomplete",
    ),
    OddResponse("a lone failure", "LiteLLM 1.110", stream(_FAILED), text="", is_broken=True, status="failed"),
    OddResponse(
        "a failure without what came", "LiteLLM 1.110", stream(*HELLO[:5], _FAILED), is_broken=True, status="failed"
    ),
    OddResponse(
        "an error event",
        "OpenAI",
        stream(*HELLO[:5], {"type": "error", "code": "server_error", "message": "Boom.", "param": None}),
        is_broken=True,
        status=None,
    ),
    OddResponse(
        "an error that is nested", "LiteLLM, keepalive_seconds", line(_NESTED), text="", is_broken=True, status=None
    ),
    OddResponse("an end without an end", "langchain#39039", stream(*HELLO[:5]), is_broken=True, status=None),
    OddResponse(
        "[DONE] without an end", "LiteLLM 1.109", stream(*HELLO[:5]) + b"data: [DONE]\n\n", is_broken=True, status=None
    ),
    OddResponse("an empty stream", "LiteLLM", b"", text="", is_broken=True, status=None),
    OddResponse("a call", "OpenAI", stream(created(), *_CALL, ended(call('{"a":1}'))), text="", calls=_CALLS),
    OddResponse(
        "a call without its last events",
        "pydantic-ai#5757",
        stream(created(), *_CALL[:3], ended()),
        text="",
        calls=_CALLS,
    ),
    OddResponse(
        "pieces after whole arguments",
        "pydantic-ai#5757",
        stream(
            created(),
            *_CALL[:3],
            event("function_call_arguments.done", item_id="fc_1", output_index=0, arguments='{"a":1}'),
            argument('{"a":1}'),
            ended(),
        ),
        text="",
        calls=_CALLS,
    ),
    OddResponse(
        "arguments that are an object",
        "a bridge of Gemini",
        stream(
            created(),
            added(call("")),
            event("function_call_arguments.done", item_id="fc_1", output_index=0, arguments={"a": 1}),
            ended(),
        ),
        text="",
        calls=_CALLS,
    ),
    OddResponse(
        "parallel calls, interleaved",
        "OpenAI",
        stream(
            created(),
            added(call("")),
            added(call("", number=2), 1),
            argument('{"a"'),
            argument('{"b"', 2),
            argument(":1}"),
            argument(":2}", 2),
            done(call('{"a":1}')),
            done(call('{"b":2}', number=2), 1),
            ended(),
        ),
        text="",
        calls=(*_CALLS, ("get_weather", '{"b":2}')),
    ),
    OddResponse(
        "a call before the text is done",
        "LiteLLM's bridge",
        stream(
            *HELLO[:5],
            added(call(""), 1),
            {**argument('{"a":1}'), "output_index": 1},
            done(call('{"a":1}'), 1),
            *HELLO[5:7],
            ended(),
        ),
        calls=_CALLS,
    ),
    OddResponse(
        "a summary of reasoning",
        "OpenAI",
        stream(
            created(),
            *_REASONING,
            done(_THOUGHT),
            *[{**one, "output_index": 1} for one in HELLO[1:-1]],
            ended(_THOUGHT, message("Hello")),
        ),
        reasoning="Think first.",
    ),
    OddResponse(
        "reasoning without places",
        "LiteLLM's bridge",
        stream(
            created(),
            added({"type": "reasoning", "id": "rs_1"}),
            *({name: value for name, value in one.items() if name != "summary_index"} for one in _REASONING),
            *[{**one, "output_index": 1} for one in HELLO[1:-1]],
            ended(_AS_MESSAGE, message("Hello")),
        ),
        reasoning="Think first.",
    ),
    OddResponse(
        "thoughts themselves",
        "gpt-oss",
        stream(
            created(),
            event("reasoning_text.delta", item_id="rs_1", output_index=0, content_index=0, delta="Think first."),
            *[{**one, "output_index": 1} for one in HELLO[1:-1]],
            ended(),
        ),
        reasoning="Think first.",
    ),
    OddResponse(
        "a refusal",
        "OpenAI",
        stream(
            created(),
            added(message(status="in_progress")),
            delta("I can", "refusal"),
            delta("not.", "refusal"),
            ended(),
        ),
        text="",
        refusal="I cannot.",
    ),
    OddResponse("two lives of a response", "litellm#40118", stream(*HELLO, *HELLO)),
    OddResponse("the middle of a stream", "OpenAI, starting_after", stream(*HELLO[4:]), told="lo"),
    OddResponse(
        "padding against traffic analysis",
        "OpenAI",
        stream(*HELLO[:3], *(delta(text, obfuscation="x" * number) for number, text in enumerate("Hello")), *HELLO[5:]),
    ),
    OddResponse(
        "an answer in one piece",
        "a gateway that does not stream",
        json.dumps({**ENVELOPE, **ended(message("Hello"))["response"]}).encode(),
    ),
)

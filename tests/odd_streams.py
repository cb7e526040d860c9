"""Odd but real streams: what gateways send, where it was seen, and what must come of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx2
from streams import DONE, ENVELOPE, HELLO, chunk, event, finish, sse, text, tool, usage

ROLE = HELLO[0]
HEL = HELLO[:2]
NINE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
PARIS = '{"city":"Paris"}'


@dataclass(frozen=True, slots=True)
class Silence:
    """The service says nothing more for so many seconds; with `pings`, it keeps the connection alive meanwhile."""

    seconds: float
    pings: bool = False


@dataclass(frozen=True, slots=True)
class OddStream:
    """A stream as a service sends it, read by read, and what must come of it.

    `seen` names the thread, the capture or the service; "by hand" what follows from the standard or a source alone.
    `wanted` is the completion, or what had arrived of it before `error`: `choices` and `usage` as a whole, of the
    other fields those that the stream is about. `tells` names the fields whose loss is the point, beside text,
    calls and finish reason.
    """

    name: str
    seen: str
    parts: tuple[bytes | Exception | Silence, ...]
    wanted: dict[str, Any]
    reasoning: str = ""
    error: str = ""
    code: str | None = None
    idle_timeout: float | None = None
    tells: tuple[str, ...] = field(default=())

    @property
    def reads(self) -> tuple[bytes | Exception, ...]:
        """What comes, without the silence."""
        return tuple(part for part in self.parts if not isinstance(part, Silence))

    @property
    def is_silent(self) -> bool:
        """Whether it needs a connection that stays open."""
        return len(self.reads) < len(self.parts)

    @property
    def text(self) -> str:
        """The text of choice 0."""
        content = self.wanted["choices"][0]["message"]["content"] if self.wanted["choices"] else None
        if isinstance(content, list):
            return "".join(part["text"] for part in content if part["type"] == "text")
        return content or ""


def message(content: Any = "Hello", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def answer(
    content: Any = "Hello",
    finish_reason: str | None = "stop",
    *,
    used: dict[str, Any] | None = None,
    choice: dict[str, Any] | None = None,
    top: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return a completion with one choice; `more` goes into the message."""
    whole = {"index": 0, "finish_reason": finish_reason, "message": message(content, **more), **(choice or {})}
    return {"choices": [whole], **({"usage": used} if used else {}), **(top or {})}


def called(*calls: tuple[str | None, str, str], finish_reason: str = "tool_calls", **more: Any) -> dict[str, Any]:
    """Return a completion that calls functions, each given as id, name and arguments."""
    return answer(None, finish_reason, tool_calls=[call(*one) for one in calls], **more)


def call(call_id: str | None, name: str, arguments: str, **more: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {**({"id": call_id} if call_id else {}), "type": "function", "function": function, **more}


def piece(arguments: Any = None, *, name: str | None = None, **more: Any) -> dict[str, Any]:
    """Return a piece of a tool call, with the fields that are given."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {**more, "function": function}


def raw(*lines: str) -> bytes:
    return "\n".join(lines).encode()


def streamed(*chunks: Any, done: bool = True) -> tuple[bytes, ...]:
    """Return each chunk as a read of its own, as a slow model sends them."""
    return (*map(event, chunks), *((DONE,) if done else ()))


def litellm(*deltas: Any, **more: Any) -> tuple[dict[str, Any], ...]:
    """Return chunks with the envelope of LiteLLM's captures, which leaves out what is null."""
    return tuple({**ENVELOPE, "system_fingerprint": "fp_stub0001", "choices": [delta], **more} for delta in deltas)


def litellm_error(message: str, kind: str | None, code: str = "500") -> bytes:
    """Return an error as LiteLLM's proxy writes it."""
    return event({"error": {"message": message, "type": kind, "param": None, "code": code}})


SAFE = {"hate": {"filtered": False, "severity": "safe"}}
STUB_USAGE = {"completion_tokens": 5, "prompt_tokens": 11, "total_tokens": 16}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
HALF = {"delta": {"role": "assistant", "content": ""}, "index": 0}

THE_TABLE = (
    OddStream(
        "usage in a last chunk with `choices: []`",
        "OpenAI with include_usage; openai-agents-js#107",
        streamed(*HELLO, usage()),
        answer(used=NINE),
        tells=("usage",),
    ),
    OddStream(
        "one more chunk after the usage chunk",
        "litellm#17136",
        streamed(*HELLO, usage(), {**ENVELOPE, "choices": []}),
        answer(used=NINE),
        tells=("usage",),
    ),
    OddStream(
        "leading chunk with empty choices (Azure filter results)",
        "meilisearch#6477",
        streamed(
            {
                "choices": [],
                "created": 0,
                "id": "",
                "model": "",
                "object": "",
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
            },
            *HELLO,
        ),
        answer(
            top={
                "id": "chatcmpl-1",
                "model": "gpt-4o-mini",
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": SAFE}],
            }
        ),
    ),
    OddStream(
        "role repeated in every chunk",
        "openai-python#2129",
        streamed(
            chunk({"role": "assistant", "content": "Hel"}),
            chunk({"role": "assistant", "content": "lo"}),
            chunk({"role": "assistant", "content": ""}, finish="stop"),
        ),
        answer(),
        tells=("role",),
    ),
    OddStream(
        "`delta: null`",
        "openai-python#1677",
        streamed(*HEL, {**ENVELOPE, "choices": [{"index": 0, "delta": None}]}, *HELLO[2:]),
        answer(),
    ),
    OddStream(
        "`choices: null`",
        "pydantic-ai#5170",
        streamed(*HEL, {**ENVELOPE, "choices": None}, *HELLO[2:]),
        answer(),
    ),
    OddStream(
        "`n=2`, choice 1 first",
        "OpenAI's API reference",
        streamed(
            chunk({"role": "assistant", "content": "B"}, index=1),
            chunk({"role": "assistant", "content": "A"}),
            text("b", index=1),
            text("a"),
            finish("length", index=1),
            finish(),
        ),
        {
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": message("Aa")},
                {"index": 1, "finish_reason": "length", "message": message("Bb")},
            ]
        },
    ),
    OddStream(
        "tool piece without `index`, one call",
        "ollama#7881",
        streamed(
            ROLE,
            tool(piece("", id="a", name="f", type="function")),
            tool(piece('{"city":')),
            tool(piece('"Paris"}')),
            finish("tool_calls"),
        ),
        called(("a", "f", PARIS)),
    ),
    OddStream(
        "tool piece without `index`, two calls",
        "openai-python#2806",
        streamed(
            ROLE,
            tool(piece(PARIS, id="a", name="f", type="function")),
            tool(piece("{}", id="b", name="g", type="function")),
            finish("tool_calls"),
        ),
        called(("a", "f", PARIS), ("b", "g", "{}")),
    ),
    OddStream(
        "two calls, both `index: 0`, different ids",
        "ollama#15457, vercel/ai#14277",
        streamed(
            ROLE,
            tool(piece(PARIS, index=0, id="a", name="f", type="function")),
            tool(piece('{"city":"Rome"}', index=0, id="b", name="f", type="function")),
            finish("tool_calls"),
        ),
        called(("a", "f", PARIS), ("b", "f", '{"city":"Rome"}')),
    ),
    OddStream(
        "id and name repeated per piece",
        "spring-ai#5974",
        streamed(
            ROLE,
            tool(piece("", index=0, id="a", name="f", type="function")),
            tool(piece('{"city":', index=0, id="a", name="f", type="function")),
            tool(piece('"Paris"}', index=0, id="a", name="f", type="function")),
            finish("tool_calls"),
        ),
        called(("a", "f", PARIS)),
    ),
    OddStream(
        "first tool index 1",
        "litellm#5231, pipecat#5342",
        streamed(
            ROLE,
            text("Let me look."),
            tool(piece("", index=1, id="a", name="f", type="function")),
            tool(piece(PARIS, index=1)),
            finish("tool_calls"),
        ),
        answer("Let me look.", "tool_calls", tool_calls=[call("a", "f", PARIS)]),
    ),
    OddStream(
        "tool indices 0 and 2",
        "pipecat#5342",
        streamed(
            ROLE,
            tool(piece(PARIS, index=0, id="a", name="f", type="function")),
            tool(piece("{}", index=2, id="b", name="g", type="function")),
            finish("tool_calls"),
        ),
        called(("a", "f", PARIS), ("b", "g", "{}")),
    ),
    OddStream(
        "arguments as an object",
        "TGI#2136",
        streamed(
            ROLE,
            tool(
                {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": {"city": "Paris"}}}
            ),
            finish("tool_calls"),
        ),
        called(("a", "f", '{"city": "Paris"}')),
    ),
    OddStream(
        "`function: null` continuation",
        "haystack#9581",
        streamed(
            ROLE,
            tool(piece(PARIS, index=0, id="a", name="f", type="function")),
            tool({"index": 0, "id": "", "type": "function", "function": None}),
            finish("tool_calls"),
        ),
        called(("a", "f", PARIS)),
    ),
    OddStream(
        "custom tool",
        "OpenAI's API reference",
        streamed(
            ROLE,
            tool({"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT "}}),
            tool({"index": 0, "custom": {"input": "1"}}),
            finish("tool_calls"),
        ),
        answer(
            None,
            "tool_calls",
            tool_calls=[{"id": "a", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}}],
        ),
    ),
    OddStream(
        "`reasoning_content`",
        "LiteLLM 1.106.2 and 1.109.1 capture stub_reasoning",
        streamed(
            *litellm(
                {"index": 0, "delta": {"reasoning_content": "", "role": "assistant"}},
                {"index": 0, "delta": {"reasoning_content": "Think"}},
                {"index": 0, "delta": {"reasoning_content": " step"}},
                {"index": 0, "delta": {"content": "The"}},
                {"index": 0, "delta": {"content": " answer"}},
                {"finish_reason": "stop", "index": 0, "delta": {}},
            )
        ),
        answer("The answer", reasoning_content="Think step"),
        reasoning="Think step",
        tells=("reasoning",),
    ),
    OddStream(
        "`reasoning`",
        "aider#3086",
        streamed(
            chunk({"role": "assistant", "content": "", "reasoning": "Think"}),
            chunk({"role": "assistant", "content": "", "reasoning": " step"}),
            *HELLO[1:],
        ),
        answer(reasoning="Think step"),
        reasoning="Think step",
        tells=("reasoning",),
    ),
    OddStream(
        "`thinking_blocks`",
        "litellm#29428",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "reasoning_content": "Let",
                    "thinking_blocks": [{"type": "thinking", "thinking": "Let", "signature": None}],
                }
            ),
            chunk(
                {
                    "reasoning_content": " me see",
                    "thinking_blocks": [{"type": "thinking", "thinking": " me see", "signature": None}],
                }
            ),
            chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "c2ln"}]}),
            *HELLO[1:],
        ),
        answer(
            reasoning_content="Let me see",
            thinking_blocks=[{"type": "thinking", "thinking": "Let me see", "signature": "c2ln"}],
        ),
        reasoning="Let me see",
        tells=("reasoning", "thinking_blocks"),
    ),
    OddStream(
        "`reasoning_details`",
        "agno#5802",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "reasoning": "Let",
                    "reasoning_details": [
                        {"type": "reasoning.text", "text": "Let", "format": "anthropic-claude-v1", "index": 0}
                    ],
                }
            ),
            chunk(
                {
                    "reasoning": " me",
                    "reasoning_details": [
                        {"type": "reasoning.text", "text": " me", "format": "anthropic-claude-v1", "index": 0}
                    ],
                }
            ),
            chunk(
                {
                    "reasoning_details": [
                        {"type": "reasoning.text", "signature": "RXQ4", "format": "anthropic-claude-v1", "index": 0}
                    ]
                }
            ),
            *HELLO[1:],
        ),
        answer(
            reasoning="Let me",
            reasoning_details=[
                {
                    "type": "reasoning.text",
                    "text": "Let me",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                    "signature": "RXQ4",
                }
            ],
        ),
        reasoning="Let me",
        tells=("reasoning", "reasoning_details"),
    ),
    OddStream(
        "annotations in two chunks",
        "OpenAI's search models; LiteLLM 1.106.2 capture stub_extras",
        streamed(
            *HEL,
            chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://a.test/"}}]}),
            chunk({"annotations": [{"type": "url_citation", "url_citation": {"url": "https://b.test/"}}]}),
            *HELLO[2:],
        ),
        answer(
            annotations=[
                {"type": "url_citation", "url_citation": {"url": "https://a.test/"}},
                {"type": "url_citation", "url_citation": {"url": "https://b.test/"}},
            ]
        ),
        tells=("annotations",),
    ),
    OddStream(
        "a number in every delta",
        "Together AI",
        streamed(ROLE, chunk({"content": "Hel", "token_id": 5}), chunk({"content": "lo", "token_id": 7}), finish()),
        answer(token_id=7),
        tells=("token_id",),
    ),
    OddStream(
        "fingerprint only first",
        "neuron-ai#223",
        streamed({**ROLE, "system_fingerprint": "fp_1"}, *({**one, "system_fingerprint": None} for one in HELLO[1:])),
        answer(top={"system_fingerprint": "fp_1"}),
        tells=("system_fingerprint",),
    ),
    OddStream(
        "service tier only last",
        "LiteLLM 1.106.2 capture stub_extras",
        streamed(*({**one, "service_tier": None} for one in HELLO), {**usage(), "service_tier": "default"}),
        answer(used=NINE, top={"service_tier": "default"}),
        tells=("service_tier",),
    ),
    OddStream(
        "whole tool call in one chunk, finish in the same chunk",
        "vllm-ascend#8327",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [piece(PARIS, index=0, id="a", name="f", type="function")],
                },
                finish="tool_calls",
            )
        ),
        called(("a", "f", PARIS)),
    ),
    OddStream(
        "no finish reason, clean end",
        "litellm#40260, pi#4558",
        streamed(*HELLO[:3], done=False),
        answer("Hello", None),
        error="StreamTruncatedError",
    ),
    OddStream("empty stream", "pi#2537", (), {"choices": []}, error="StreamTruncatedError"),
    OddStream(
        "connection cut",
        "any network",
        (*streamed(*HEL, done=False), httpx2.RemoteProtocolError("peer closed connection without sending complete")),
        answer("Hel", None),
        error="StreamConnectionError",
    ),
    OddStream(
        '`data: {"error": ...}`',
        "open-octo#910, agent-os#2214",
        (*streamed(*HEL, done=False), event({"error": {"message": "The server had an error", "code": "server_error"}})),
        answer("Hel", None),
        error="StreamProviderError",
        code="server_error",
    ),
    OddStream(
        "`event: error` with a bare message",
        "litellm#39748",
        (*streamed(*HEL, done=False), b"event: error\ndata: upstream is gone\n\n"),
        answer("Hel", None),
        error="StreamProviderError",
    ),
    OddStream(
        "bad JSON",
        "sub2api#1471",
        (*streamed(*HEL, done=False), b'data: {"id":"chatcmpl-1","choi\n\n', DONE),
        answer("Hel", None),
        error="StreamDecodeError",
    ),
    OddStream(
        "cut UTF-8",
        "openless#413",
        (*streamed(*HEL, done=False), b'data: {"choices":[{"index":0,"delta":{"content":"Z\xc3"}}]}\n\n', DONE),
        answer("Hel", None),
        error="StreamDecodeError",
    ),
    OddStream(
        "empty `data:`, `retry:` and comment frames",
        "openai-python#2722",
        (b"retry: 3000\n\n", b": keep-alive\n\n", *streamed(*HEL, done=False), b"data:\n\ndata: \n\n", sse(*HELLO[2:])),
        answer(),
    ),
    OddStream(
        "only `: ping` for longer than the timeout",
        "opencode#37580; LiteLLM 1.106.2 capture auth_ping_gap",
        (*streamed(*HEL, done=False), Silence(10, pings=True)),
        answer("Hel", None),
        error="StreamTimeoutError",
        idle_timeout=0.3,
    ),
    OddStream(
        "text after `[DONE]`",
        "Portkey's hook_results, docs-core#999",
        (*streamed(*HELLO), event({"hook_results": {"after_request_hooks": []}}), b"not even JSON\n\n"),
        answer(),
    ),
    OddStream(
        "a connection left open after `[DONE]`",
        "any network",
        (*streamed(*HELLO), Silence(10)),
        answer(),
    ),
)

USAGE = (
    OddStream(
        "usage beside a choice with an empty delta",
        "LiteLLM 1.106.2 capture stub_usage; mlx-dspark#37",
        streamed(*HELLO, {**usage(), "choices": [{"index": 0, "delta": {}}]}),
        answer(used=NINE),
        tells=("usage",),
    ),
    OddStream(
        "usage in the finish chunk",
        "DeepSeek, neuron-ai#223",
        streamed(*({**one, "usage": None} for one in HELLO[:3]), {**HELLO[3], "usage": NINE}),
        answer(used=NINE),
        tells=("usage",),
    ),
    OddStream(
        "usage of zeros with every chunk, the truth with the last",
        "CLIProxyAPI#3077",
        streamed(
            *({**one, "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}} for one in HELLO[:3]),
            {**HELLO[3], "usage": NINE},
        ),
        answer(used=NINE),
        tells=("usage",),
    ),
    OddStream(
        "usage that grows with every chunk",
        "Perplexity, langchain#39924",
        streamed(
            *(
                {**one, "usage": {"prompt_tokens": 7, "completion_tokens": count, "total_tokens": 7 + count}}
                for count, one in zip((0, 1, 2, 2), HELLO, strict=True)
            )
        ),
        answer(used=NINE),
        tells=("usage",),
    ),
    OddStream(
        "`usage: {}` with every chunk",
        "litellm#1571",
        streamed(*({**one, "usage": {}} for one in HELLO[:3]), {**HELLO[3], "usage": NINE}),
        answer(used=NINE),
        tells=("usage",),
    ),
    OddStream(
        "usage inside the choice",
        "Moonshot, pi#2017",
        streamed(*HELLO[:3], finish(usage=NINE)),
        answer(used=NINE),
        tells=("usage",),
    ),
    OddStream(
        "a usage chunk without `choices`",
        "ATOM#1711",
        streamed(*HELLO, {**ENVELOPE, "usage": NINE}),
        answer(used=NINE),
        tells=("usage",),
    ),
    OddStream(
        "usage in Groq's own field too",
        "Portkey gateway#1072",
        streamed(
            *HELLO[:3],
            {**HELLO[3], "x_groq": {"id": "req_1", "usage": NINE}},
            usage(),
        ),
        answer(used=NINE, top={"x_groq": {"id": "req_1", "usage": NINE}}),
        tells=("usage",),
    ),
    OddStream(
        "usage with fields of the gateway's own",
        "LiteLLM 1.109.1 capture stub_usage",
        streamed(
            *litellm(HALF, {"index": 0, "delta": {"content": "Hello"}}, {"finish_reason": "stop", **HALF, "delta": {}}),
            {**ENVELOPE, "choices": [], "usage": {**STUB_USAGE, "prompt_tokens_details": {"cached_tokens": 4}}},
        ),
        answer(used={**STUB_USAGE, "prompt_tokens_details": {"cached_tokens": 4}}),
        tells=("usage",),
    ),
)

ENVELOPES = (
    OddStream(
        "a new id in every chunk",
        "litellm#1571, foundry-local#221",
        streamed(*({**one, "id": f"chatcmpl-{number}"} for number, one in enumerate(HELLO, 1))),
        answer(top={"id": "chatcmpl-1"}),
    ),
    OddStream(
        "no index of the choice",
        "Cloudflare, vercel/ai#4031",
        streamed(
            {**ENVELOPE, "choices": [{"delta": {"content": "Hel"}}]},
            {**ENVELOPE, "choices": [{"delta": {"content": "lo"}}]},
            {**ENVELOPE, "choices": [{"delta": {}, "finish_reason": "stop"}]},
        ),
        answer(),
    ),
    OddStream(
        "a trailing filter chunk without delta and with an empty id",
        "langchain#18977, autogen#6465",
        streamed(
            *HELLO,
            {
                "id": "",
                "object": "",
                "created": 0,
                "model": "",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": None,
                        "content_filter_results": SAFE,
                        "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
                    }
                ],
                "usage": None,
            },
        ),
        answer(
            choice={
                "content_filter_results": SAFE,
                "content_filter_offsets": {"check_offset": 44, "start_offset": 44, "end_offset": 198},
            },
            top={"id": "chatcmpl-1", "model": "gpt-4o-mini"},
        ),
    ),
    OddStream(
        "filter results beside every delta",
        "Azure OpenAI, openai-python#1677",
        streamed(*HEL, text("lo", content_filter_results=SAFE), finish(content_filter_results={})),
        answer(choice={"content_filter_results": SAFE}),
    ),
    OddStream(
        "citations repeated in every chunk",
        "Perplexity, vercel/ai#3554",
        streamed(*({**one, "citations": ["https://a.test/", "https://b.test/"]} for one in HELLO)),
        answer(top={"citations": ["https://a.test/", "https://b.test/"]}),
        tells=("citations",),
    ),
    OddStream(
        "the message so far beside every delta, and no `[DONE]`",
        "Perplexity, api-discussion#209",
        streamed(
            *(
                {
                    **ENVELOPE,
                    "choices": [
                        {
                            "index": 0,
                            "finish_reason": reason,
                            "message": message(so_far),
                            "delta": {"role": "assistant", "content": new},
                        }
                    ],
                }
                for new, so_far, reason in (("Hel", "Hel", None), ("lo", "Hello", None), ("", "Hello", "stop"))
            ),
            done=False,
        ),
        answer(),
    ),
    OddStream(
        "the whole completion once more at the end",
        "MiniMax M3, GoModel#1068",
        streamed(
            *HELLO,
            {
                **ENVELOPE,
                "object": "chat.completion",
                "choices": [{"index": 0, "finish_reason": "stop", "message": message()}],
                "usage": NINE,
            },
        ),
        answer(used=NINE),
        tells=("usage",),
    ),
    OddStream(
        "a warning of the gateway's own as an event",
        "langwatch/tasks#700",
        streamed(*HELLO, {"warning": "provider_did_not_report_usage_on_stream"}),
        answer(),
    ),
    OddStream(
        "`data: null` between the chunks",
        "AgentRouter, kilocode#3083",
        (*streamed(*HEL, done=False), b"data: null\n\n", sse(*HELLO[2:])),
        answer(),
    ),
    OddStream(
        "fields of the gateway's own in every place",
        "LiteLLM 1.106.2 capture stub_extras",
        streamed(
            {
                **ENVELOPE,
                "choices": [
                    {
                        "index": 0,
                        "delta": {
                            "provider_specific_fields": {"x": 1},
                            "content": "",
                            "role": "assistant",
                            "annotations": [],
                        },
                    }
                ],
                "citations": ["https://example.test/a"],
                "obfuscation": "abc",
            },
            chunk({"content": "cited", "weird_delta_field": {"y": 2}}),
            {**finish(), "x_groq": {"id": "r1"}},
        ),
        answer(
            "cited",
            provider_specific_fields={"x": 1},
            annotations=[],
            weird_delta_field={"y": 2},
            top={"citations": ["https://example.test/a"], "x_groq": {"id": "r1"}},
        ),
        tells=("provider_specific_fields", "weird_delta_field", "citations"),
    ),
    OddStream(
        "padding in every chunk",
        "OpenAI's include_obfuscation",
        streamed(*({**one, "obfuscation": "aB3" * number} for number, one in enumerate(HELLO))),
        answer(),
    ),
    OddStream(
        "flags and an empty role in every chunk",
        "MiniMax-M2.5#2",
        streamed(
            chunk({"role": "assistant", "content": "Hel", "name": "MiniMax AI", "audio_content": ""}),
            chunk({"role": "", "content": "lo", "name": "MiniMax AI", "audio_content": ""}),
            {**finish(), "input_sensitive": False, "output_sensitive": False, "usage": {"total_tokens": 9}},
        ),
        answer(name="MiniMax AI", audio_content="", used={"total_tokens": 9}),
        tells=("role", "name"),
    ),
)

CHOICES = (
    OddStream(
        '`finish_reason: ""` until the last chunk',
        "ollama#4357, sglang#3912",
        streamed(
            *({**ENVELOPE, "choices": [{**one["choices"][0], "finish_reason": ""}]} for one in HELLO[:3]), finish()
        ),
        answer(),
    ),
    OddStream(
        "a finish reason in every chunk",
        "litellm#2195",
        streamed(
            chunk({"role": "assistant", "content": "Hel"}, finish="stop"),
            text("lo", finish="stop"),
        ),
        answer(),
    ),
    OddStream(
        "the finish reason with the last text, and then again",
        "openrag#462, sglang#8417",
        streamed(*HEL, text("lo", finish="stop"), finish()),
        answer(),
    ),
    OddStream(
        "a finish reason after the reasoning, before the text",
        "open-webui#16377",
        streamed(
            chunk({"role": "assistant", "reasoning_content": "Hm"}, finish="stop"),
            *HELLO[1:],
        ),
        answer(reasoning_content="Hm"),
        reasoning="Hm",
    ),
    OddStream(
        "`finishReason` in place of the finish reason",
        "Gemini, llmcord#84",
        streamed(*HELLO[:3], chunk({"role": "assistant"}, finishReason="stop")),
        answer("Hello", None, choice={"finishReason": "stop"}),
    ),
    OddStream(
        "`[DONE]` and no finish reason",
        "oh-my-pi#9433, sglang#4550",
        streamed(*HELLO[:3]),
        answer("Hello", None),
    ),
    OddStream(
        "a finish reason outside the SDK's list",
        "Together AI",
        streamed(*HELLO[:3], finish("eos")),
        answer("Hello", "eos"),
    ),
    OddStream(
        "finish reason `error` and nothing else said of it",
        "OpenRouter, houston#1211",
        streamed(*HEL, finish("error")),
        answer("Hel", "error"),
    ),
    OddStream(
        "no `[DONE]`, but a finish reason",
        "Perplexity, api-discussion#209",
        streamed(*HELLO, done=False),
        answer(),
    ),
    OddStream(
        "`[DONE]` without its blank line",
        "llama-server b10603, apogee#139",
        (*streamed(*HELLO, done=False), b"data: [DONE]\n"),
        answer(),
    ),
    OddStream(
        "`n=2`, finish reason of choice 1 missing",
        "LiteLLM 1.106.2 capture stub_ntwo",
        streamed(
            *litellm(
                {"index": 0, "delta": {"content": "", "role": "assistant"}},
                {"index": 0, "delta": {"content": "A0 "}},
                {"index": 1, "delta": {"content": "B0 "}},
                {"index": 1, "delta": {"content": "B1"}},
                {"index": 0, "delta": {"content": "A1"}},
                {"finish_reason": "stop", "index": 0, "delta": {}},
            )
        ),
        {
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": message("A0 A1")},
                {"index": 1, "finish_reason": None, "message": message("B0 B1")},
            ]
        },
    ),
    OddStream(
        "`n=2`, both choices in one chunk",
        "sglang#8417",
        streamed(
            {
                **ENVELOPE,
                "choices": [
                    {"index": 0, "delta": {"role": "assistant", "content": "A"}, "finish_reason": None},
                    {"index": 1, "delta": {"role": "assistant", "content": "B"}, "finish_reason": None},
                ],
            },
            {
                **ENVELOPE,
                "choices": [
                    {"index": 0, "delta": {}, "finish_reason": "stop"},
                    {"index": 1, "delta": {}, "finish_reason": "stop"},
                ],
            },
        ),
        {
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": message("A")},
                {"index": 1, "finish_reason": "stop", "message": message("B")},
            ]
        },
    ),
    OddStream(
        "a choice that is cut short",
        "LiteLLM 1.106.2 capture stub_length",
        streamed(
            *litellm(
                HALF,
                {"index": 0, "delta": {"content": "Cut off he"}},
                {"finish_reason": "length", "index": 0, "delta": {}},
            )
        ),
        answer("Cut off he", "length"),
    ),
    OddStream(
        "logprobs in every chunk",
        "LiteLLM 1.106.2 capture stub_logprobs",
        streamed(
            ROLE,
            *(
                text(
                    token, logprobs={"content": [{"token": token, "logprob": -0.11, "bytes": None, "top_logprobs": []}]}
                )
                for token in ("Hi", " é")
            ),
            finish(),
        ),
        answer(
            "Hi é",
            choice={
                "logprobs": {
                    "content": [
                        {"token": "Hi", "logprob": -0.11, "bytes": None, "top_logprobs": []},
                        {"token": " é", "logprob": -0.11, "bytes": None, "top_logprobs": []},
                    ]
                }
            },
        ),
        tells=("logprobs",),
    ),
    OddStream(
        "logprobs of the legacy completions",
        "vllm#3179",
        streamed(
            *(
                text(token, logprobs={"tokens": [token], "token_logprobs": [-0.5], "top_logprobs": [{token: -0.5}]})
                for token in ("Hel", "lo")
            ),
            finish(),
        ),
        answer(
            choice={
                "logprobs": {
                    "tokens": ["Hel", "lo"],
                    "token_logprobs": [-0.5, -0.5],
                    "top_logprobs": [{"Hel": -0.5}, {"lo": -0.5}],
                }
            }
        ),
    ),
    OddStream(
        "null in every field of every delta",
        "SGLang, sglang#4550",
        streamed(
            chunk(
                {"role": "assistant", "content": "", "reasoning_content": None, "tool_calls": None}, matched_stop=None
            ),
            *(
                chunk({"role": None, "content": part, "reasoning_content": None, "tool_calls": None}, matched_stop=None)
                for part in ("Hel", "lo")
            ),
            chunk({"role": None, "content": None, "tool_calls": None}, finish="stop", matched_stop=151645),
        ),
        answer(choice={"matched_stop": 151645}),
    ),
)

CONTENT = (
    OddStream(
        "content as a list: thoughts, then text",
        "Mistral's Magistral, litellm#16272",
        streamed(
            ROLE,
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "'s a greeting"}]}]}),
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": ", I should"}]}]}),
            chunk({"content": [{"type": "text", "text": "Hel"}]}),
            chunk({"content": [{"type": "text", "text": "lo"}]}),
            finish(),
        ),
        answer(
            [
                {"type": "thinking", "thinking": [{"type": "text", "text": "'s a greeting, I should"}]},
                {"type": "text", "text": "Hello"},
            ]
        ),
        reasoning="'s a greeting, I should",
        tells=("reasoning",),
    ),
    OddStream(
        "content as a list of thoughts, then as strings",
        "openinference#3761, symfony/ai#2422",
        streamed(
            ROLE,
            chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}),
            *HELLO[1:],
        ),
        answer([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}, {"type": "text", "text": "Hello"}]),
        reasoning="Hm",
        tells=("reasoning",),
    ),
    OddStream(
        "an image in the content",
        "Gemini through one-api, Laisky/one-api#44",
        streamed(*HELLO[:3], chunk({"role": "assistant", "content": [IMAGE]}), finish()),
        answer([{"type": "text", "text": "Hello"}, IMAGE]),
        tells=("content",),
    ),
    OddStream(
        "images beside the content",
        "go-openrouter#27",
        streamed(*HELLO[:3], chunk({"content": "", "images": [IMAGE]}), chunk({"images": [IMAGE]}), finish()),
        answer(images=[IMAGE, IMAGE]),
        tells=("images",),
    ),
    OddStream(
        "reasoning as an object",
        "Bedrock through Envoy, ai-gateway#1222",
        streamed(
            ROLE,
            chunk({"role": "assistant", "reasoning_content": {"text": "I nee"}}),
            chunk({"role": "assistant", "reasoning_content": {"text": "d to"}}),
            chunk({"role": "assistant", "reasoning_content": {"signature": "c2ln"}}),
            *HELLO[1:],
        ),
        answer(reasoning_content={"text": "I need to", "signature": "c2ln"}),
        reasoning="I need to",
        tells=("reasoning",),
    ),
    OddStream(
        "the same reasoning under two names",
        "claude-code-router#1205",
        streamed(
            chunk({"role": "assistant", "reasoning": "Think", "reasoning_content": "Think"}),
            chunk({"reasoning": " step", "reasoning_content": " step"}),
            *HELLO[1:],
        ),
        answer(reasoning="Think step", reasoning_content="Think step"),
        reasoning="Think step",
        tells=("reasoning",),
    ),
    OddStream(
        "empty first reasoning and null content",
        "DeepSeek, opencrabs#1128",
        streamed(
            chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
            chunk({"content": None, "reasoning_content": "Hm"}),
            chunk({"content": "Hello", "reasoning_content": None}),
            finish(),
        ),
        answer(reasoning_content="Hm"),
        reasoning="Hm",
        tells=("reasoning",),
    ),
    OddStream(
        "reasoning details without an index, signature last",
        "OpenRouter ai-sdk-provider#423",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "reasoning": "Let",
                    "reasoning_details": [{"type": "reasoning.text", "text": "Let"}],
                }
            ),
            chunk({"reasoning": " me", "reasoning_details": [{"type": "reasoning.text", "text": " me"}]}),
            chunk({"reasoning_details": [{"type": "reasoning.text", "signature": "ZXlK"}]}),
            *HELLO[1:],
        ),
        answer(
            reasoning="Let me",
            reasoning_details=[{"type": "reasoning.text", "text": "Let me", "signature": "ZXlK"}],
        ),
        reasoning="Let me",
        tells=("reasoning", "reasoning_details"),
    ),
    OddStream(
        "encrypted reasoning details of a tool call",
        "req_llm#300",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "reasoning_details": [{"type": "reasoning.encrypted", "data": "QUJD", "id": "a", "index": 0}],
                    "tool_calls": [piece(PARIS, index=0, id="a", name="f", type="function")],
                }
            ),
            finish("tool_calls"),
        ),
        called(
            ("a", "f", PARIS),
            reasoning_details=[{"type": "reasoning.encrypted", "data": "QUJD", "id": "a", "index": 0}],
        ),
        tells=("reasoning_details",),
    ),
    OddStream(
        "a redacted thinking block between two thoughts",
        "Anthropic through LiteLLM, litellm#29428",
        streamed(
            chunk({"role": "assistant", "thinking_blocks": [{"type": "thinking", "thinking": "a", "signature": ""}]}),
            chunk({"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "c2ln"}]}),
            chunk({"thinking_blocks": [{"type": "redacted_thinking", "data": "QUJD"}]}),
            chunk({"thinking_blocks": [{"type": "thinking", "thinking": "b", "signature": "Z2lz"}]}),
            *HELLO[1:],
        ),
        answer(
            thinking_blocks=[
                {"type": "thinking", "thinking": "a", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "QUJD"},
                {"type": "thinking", "thinking": "b", "signature": "Z2lz"},
            ]
        ),
        tells=("thinking_blocks",),
    ),
    OddStream(
        "a refusal in pieces",
        "OpenAI's API reference",
        streamed(
            chunk({"role": "assistant", "content": None, "refusal": ""}),
            chunk({"refusal": "I can't"}),
            chunk({"refusal": " do that."}),
            finish(),
        ),
        answer(None, refusal="I can't do that."),
        tells=("refusal",),
    ),
    OddStream(
        "a voice in pieces",
        "OpenAI's API reference",
        streamed(
            chunk({"role": "assistant", "audio": {"id": "audio_1", "transcript": "Hel"}}),
            chunk({"audio": {"transcript": "lo"}}),
            chunk({"audio": {"data": "QUJD"}}),
            chunk({"audio": {"data": "REVG", "expires_at": 1795359999}}),
            finish(),
        ),
        answer(
            None,
            audio={"id": "audio_1", "transcript": "Hello", "data": "QUJDREVG", "expires_at": 1795359999},
        ),
        tells=("audio",),
    ),
    OddStream(
        "an emoji whose halves come in two chunks",
        "eliza#30904, rakazo#416",
        (
            *streamed(ROLE, done=False),
            event(text("a?")).replace(b"?", rb"\ud83d"),
            event(text("?b")).replace(b"?", rb"\ude00"),
            sse(finish()),
        ),
        answer("a😀b"),
    ),
    OddStream(
        "line separators inside the JSON",
        "LiteLLM 1.106.2 capture stub_splitutf8",
        streamed(
            *litellm(
                HALF,
                {"index": 0, "delta": {"content": "👨‍👩‍👧 "}},
                {"index": 0, "delta": {"content": "\u2028line-sep\u2028 "}},
                {"index": 0, "delta": {"content": "nel\u0085"}},
                {"finish_reason": "stop", "index": 0, "delta": {}},
            )
        ),
        answer("👨‍👩‍👧 \u2028line-sep\u2028 nel\u0085"),
    ),
    OddStream(
        "a whole answer in one chunk, without `delta`",
        "by hand",
        streamed({**ENVELOPE, "choices": [{"index": 0, "message": message(), "finish_reason": "stop"}]}),
        answer(),
    ),
)

TOOLS = (
    OddStream(
        "parallel calls, interleaved",
        "Qwen-Agent#943",
        streamed(
            ROLE,
            tool(
                piece("", index=0, id="a", name="f", type="function"),
                piece("", index=1, id="b", name="g", type="function"),
            ),
            tool(piece('{"city":', index=0)),
            tool(piece("{", index=1)),
            tool(piece('"Paris"}', index=0), piece("}", index=1)),
            finish("tool_calls"),
        ),
        called(("a", "f", PARIS), ("b", "g", "{}")),
    ),
    OddStream(
        "type repeated in every piece, no null",
        "LiteLLM 1.106.2 capture stub_toolpar",
        streamed(
            *litellm(
                {"index": 0, "delta": {"role": "assistant"}},
                {"index": 0, "delta": {"tool_calls": [piece("", name="f", id="a", type="function", index=0)]}},
                {"index": 0, "delta": {"tool_calls": [piece(PARIS, type="function", index=0)]}},
                {"index": 0, "delta": {"tool_calls": [piece("", name="g", id="b", type="function", index=1)]}},
                {"index": 0, "delta": {"tool_calls": [piece("{}", type="function", index=1)]}},
                {"finish_reason": "tool_calls", "index": 0, "delta": {}},
            ),
        ),
        called(("a", "f", PARIS), ("b", "g", "{}")),
    ),
    OddStream(
        "empty ids and null types after the first piece",
        "qwen-ai-provider#7, spring-ai#4790",
        streamed(
            ROLE,
            tool(piece("", index=0, id="a", name="f", type="function")),
            tool({"index": 0, "id": "", "type": None, "function": {"name": "", "arguments": '{"city":'}}),
            tool({"index": 0, "id": None, "type": None, "function": {"name": None, "arguments": '"Paris"}'}}),
            tool({"index": 0, "id": "", "type": "function", "function": {"name": None, "arguments": None}}),
            finish("tool_calls"),
        ),
        called(("a", "f", PARIS)),
    ),
    OddStream(
        "another id at the same index, again for each call",
        "SGLang, lmdeploy#3412",
        streamed(
            ROLE,
            tool(piece("", index=0, id="0", name="f", type="function")),
            tool(piece(PARIS, index=0, id="0", type="function")),
            tool(piece("", index=0, id="1", name="g", type="function")),
            tool(piece("{}", index=0, id="1", type="function")),
            finish("tool_calls"),
        ),
        called(("0", "f", PARIS), ("1", "g", "{}")),
    ),
    OddStream(
        "index 0 for each call, ids only on the first pieces",
        "vLLM, lmdeploy#3412",
        streamed(
            ROLE,
            tool(piece("", index=0, id="a", name="f", type="function")),
            tool(piece(PARIS, index=0, id="", type="function")),
            tool(piece("", index=0, id="b", name="g", type="function")),
            tool(piece("{}", index=0, id="", type="function")),
            finish("tool_calls"),
        ),
        called(("a", "f", PARIS), ("b", "g", "{}")),
    ),
    OddStream(
        "another id after the first piece of a call",
        "Poolside, pool#9",
        streamed(
            ROLE,
            tool(piece("", index=0, id="call-1", name="f", type="function")),
            tool(piece('{"city":', index=0, id="chatcmpl-tool-2", type="function")),
            tool(piece('"Paris"}', index=0, id="chatcmpl-tool-2", type="function")),
            finish("tool_calls"),
        ),
        called(("call-1", "f", PARIS)),
    ),
    OddStream(
        "no id at all",
        "vllm#18412",
        streamed(
            ROLE,
            tool(piece("", index=0, name="f", type="function")),
            tool(piece(PARIS, index=0)),
            finish("tool_calls"),
        ),
        called((None, "f", PARIS)),
    ),
    OddStream(
        "an id that is a number",
        "aish#200",
        streamed(ROLE, tool(piece(PARIS, index=0, id=7, name="f", type="function")), finish("tool_calls")),
        called(("7", "f", PARIS)),
    ),
    OddStream(
        "two calls in one list without index and id",
        "oh-my-pi#4417",
        streamed(ROLE, tool(piece(PARIS, name="f"), piece("{}", name="g")), finish("tool_calls")),
        called((None, "f", PARIS), (None, "g", "{}")),
    ),
    OddStream(
        "two calls without arguments, index and id",
        "oh-my-pi#4417",
        streamed(ROLE, tool(piece("", name="f"), piece("", name="g")), finish("tool_calls")),
        called((None, "f", ""), (None, "g", "")),
    ),
    OddStream(
        "`tool_calls` without the list",
        "TGI#2949",
        streamed(
            chunk(
                {
                    "role": "assistant",
                    "tool_calls": {
                        "index": 0,
                        "id": "",
                        "type": "function",
                        "function": {"name": "f", "arguments": ""},
                    },
                }
            ),
            chunk(
                {
                    "tool_calls": {
                        "index": 0,
                        "id": "",
                        "type": "function",
                        "function": {"name": None, "arguments": PARIS},
                    }
                }
            ),
            finish("tool_calls"),
        ),
        called((None, "f", PARIS)),
    ),
    OddStream(
        "`tool_calls: []` beside the text",
        "foundry-local#144",
        streamed(
            *(chunk({"role": "assistant", "content": part, "tool_calls": []}) for part in ("Hel", "lo")), finish()
        ),
        answer(),
    ),
    OddStream(
        "`tool_calls` and finish reason `stop`",
        "Gemini, python-genai#2868",
        streamed(
            chunk(
                {"role": "assistant", "tool_calls": [piece(PARIS, id="a", name="f", type="function")]}, finish="stop"
            ),
        ),
        called(("a", "f", PARIS), finish_reason="stop"),
    ),
    OddStream(
        "a thought signature in the call",
        "Gemini, open-webui/computer#224",
        streamed(
            ROLE,
            tool(
                piece(
                    PARIS,
                    id="a",
                    name="f",
                    type="function",
                    extra_content={"google": {"thought_signature": "EjQK"}},
                )
            ),
            finish(),
        ),
        answer(
            None,
            tool_calls=[call("a", "f", PARIS, extra_content={"google": {"thought_signature": "EjQK"}})],
        ),
        tells=("extra_content",),
    ),
    OddStream(
        "a thought signature in a piece of its own",
        "Gemini, open-webui/computer#224",
        streamed(
            ROLE,
            tool(piece('{"city":', id="a", name="f", type="function")),
            tool(piece('"Paris"}')),
            tool({"extra_content": {"google": {"thought_signature": "EjQK"}}}),
            finish(),
        ),
        answer(
            None,
            tool_calls=[call("a", "f", PARIS, extra_content={"google": {"thought_signature": "EjQK"}})],
        ),
        tells=("extra_content",),
    ),
    OddStream(
        "the legacy function call",
        "OpenAI's API reference",
        streamed(
            chunk({"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": ""}}),
            chunk({"function_call": {"arguments": '{"city":'}}),
            chunk({"function_call": {"arguments": '"Paris"}'}}),
            finish("function_call"),
        ),
        answer(None, "function_call", function_call={"name": "f", "arguments": PARIS}),
        tells=("function_call",),
    ),
    OddStream(
        "the legacy function call beside the tool call",
        "LiteLLM 1.106.2 in front of llama.cpp",
        streamed(
            ROLE,
            chunk(
                {
                    "tool_calls": [piece('{"city":', index=0, id="a", name="f", type="function")],
                    "function_call": {"name": "f", "arguments": '{"city":'},
                }
            ),
            chunk(
                {
                    "tool_calls": [piece('"Paris"}', index=0, id="a", name="f", type="function")],
                    "function_call": {"name": "f", "arguments": '"Paris"}'},
                }
            ),
            finish("tool_calls"),
        ),
        called(("a", "f", PARIS), function_call={"name": "f", "arguments": PARIS}),
    ),
    OddStream(
        "a call cut by the token limit",
        "vllm#53269",
        streamed(
            ROLE,
            tool(piece("", index=0, id="a", name="f", type="function")),
            tool(piece('{"city":"Par', index=0)),
            finish("length"),
        ),
        called(("a", "f", '{"city":"Par'), finish_reason="length"),
    ),
)

FRAMES = (
    OddStream(
        "`data:` without the space",
        "Kimi, nullclaw#509",
        tuple(one.replace(b"data: ", b"data:") for one in streamed(*HELLO)),
        answer(),
    ),
    OddStream(
        "CRLF line ends, cut between CR and LF",
        "ccs#1359, vercel/ai#6200",
        (*(part for one in streamed(*HELLO) for part in (one[:-2] + b"\r", b"\n\r\n")),),
        answer(),
    ),
    OddStream(
        "two blank lines between events",
        "anything-llm#1475",
        tuple(one + b"\n" for one in streamed(*HELLO)),
        answer(),
    ),
    OddStream(
        "comments of the gateway before and between",
        "OpenRouter, openai-go#227",
        (b": OPENROUTER PROCESSING\n\n", b": OPENROUTER PROCESSING\n\n", *streamed(*HELLO)),
        answer(),
    ),
    OddStream(
        "a comment of padding in the stream",
        "portkey-python-sdk#370",
        (*streamed(*HEL, done=False), b": L1Gt0UZWbB\n\n", sse(*HELLO[2:])),
        answer(),
    ),
    OddStream(
        "event names, ids and a ping event",
        "by hand, after the standard",
        (
            b"event: ping\ndata: {}\n\n",
            *(b"id: %d\nevent: chunk\n" % number + one for number, one in enumerate(streamed(*HELLO))),
        ),
        answer(),
    ),
    OddStream(
        "a byte order mark",
        "openai-python#3819",
        (b"\xef\xbb\xbf", *streamed(*HELLO)),
        answer(),
    ),
    OddStream(
        "one event over several `data:` lines",
        "by hand, after the standard",
        (
            raw(
                "data: {", 'data: "choices": [', 'data: {"index": 0, "delta": {"content": "Hello"}}', "data: ]}", "", ""
            ),
            sse(finish()),
        ),
        answer(),
    ),
    OddStream("everything in one read", "starlette#3230", (sse(*HELLO),), answer()),
    OddStream(
        "a JSON answer in place of the events",
        "by hand, after 9router#3492",
        (
            raw(
                "{",
                '  "id": "chatcmpl-1",',
                '  "object": "chat.completion",',
                '  "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"},',
                '    "finish_reason": "stop"}],',
                '  "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}',
                "}",
            ),
        ),
        answer(used=NINE),
    ),
)

FAILURES = (
    OddStream(
        "an error and a clean end",
        "LiteLLM 1.106.2 capture stub_errevent",
        (*streamed(*HEL, done=False), litellm_error("litellm.APIConnectionError: The server had an error", None)),
        answer("Hel", None),
        error="StreamProviderError",
        code="500",
    ),
    OddStream(
        "`[DONE]` after an error",
        "LiteLLM 1.109.1 capture stub_errevent",
        (
            *streamed(*HEL, done=False),
            litellm_error("litellm.APIConnectionError: The server had an error", "internal_server_error"),
            DONE,
        ),
        answer("Hel", None),
        error="StreamProviderError",
        code="500",
    ),
    OddStream(
        "a rate limit in the middle",
        "LiteLLM 1.106.2 capture stub_errevent429",
        (*streamed(*HEL, done=False), litellm_error("Rate limit reached mid-stream", "throttling_error", "429")),
        answer("Hel", None),
        error="StreamProviderError",
        code="429",
    ),
    OddStream(
        "an upstream without a finish reason, told as an error",
        "LiteLLM 1.109.1 capture stub_nofinish",
        (
            *streamed(*HELLO[:3], done=False),
            litellm_error("Stream ended before a finish_reason was received", "internal_server_error"),
            DONE,
        ),
        answer("Hello", None),
        error="StreamProviderError",
        code="500",
    ),
    OddStream(
        "an error as the first event",
        "llama.cpp#14566",
        (
            event(
                {"error": {"code": 400, "message": "the request exceeds the available context size", "type": "exceed"}}
            ),
        ),
        {"choices": []},
        error="StreamProviderError",
        code="400",
    ),
    OddStream(
        "an `error:` field of the server's own, then `[DONE]`",
        "llama.cpp b5966, coddy-agent#106",
        (raw('error: {"code":400,"message":"the request exceeds the available context size"}', "", ""), DONE),
        {"choices": []},
        error="StreamProviderError",
        code="400",
    ),
    OddStream(
        "an error that is a string",
        "TGI, huggingface_hub#2514",
        (
            *streamed(*HEL, done=False),
            event({"error": "Input validation error: too many tokens", "error_type": "validation"}),
        ),
        answer("Hel", None),
        error="StreamProviderError",
    ),
    OddStream(
        "an error beside a finish reason",
        "OpenRouter, agent-os#2214",
        (
            *streamed(*HEL, done=False),
            event(
                {
                    **chunk({"content": ""}, finish="error"),
                    "error": {"code": "server_error", "message": "Provider disconnected unexpectedly"},
                }
            ),
            DONE,
        ),
        answer("Hel", None),
        error="StreamProviderError",
        code="server_error",
    ),
    OddStream(
        "an error with empty choices",
        "OpenRouter, OmniRoute#8210",
        (
            event({**ENVELOPE, "choices": [], "error": {"code": 502, "message": "Worker request limit reached"}}),
            DONE,
        ),
        {"choices": []},
        error="StreamProviderError",
        code="502",
    ),
    OddStream(
        "an error object without an envelope",
        "by hand, after vLLM's ErrorResponse",
        (
            *streamed(*HEL, done=False),
            event({"object": "error", "message": "out of memory", "type": "InternalServerError", "code": 500}),
            DONE,
        ),
        answer("Hel", None),
        error="StreamProviderError",
        code="500",
    ),
    OddStream(
        "an error code in place of the choices, then `[DONE]`",
        "FastChat's openai_api_server, FastChat#3160",
        (*streamed(*HEL, done=False), event({"text": "NETWORK ERROR DUE TO HIGH TRAFFIC", "error_code": 50001}), DONE),
        answer("Hel", None),
        error="StreamProviderError",
    ),
    OddStream(
        "a tool call that the gateway could not parse",
        "Groq, tensorzero#1893",
        (
            *streamed(ROLE, done=False),
            event(
                {
                    "error": {
                        "message": "Failed to call a function.",
                        "type": "invalid_request_error",
                        "code": "tool_use_failed",
                        "failed_generation": "",
                    }
                }
            ),
        ),
        answer("", None),
        error="StreamProviderError",
        code="tool_use_failed",
    ),
    OddStream(
        "`event: error` with an object",
        "sub2api#1471",
        (
            *streamed(*HEL, done=False),
            raw(
                "event: error",
                'data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
                "",
                "",
            ),
        ),
        answer("Hel", None),
        error="StreamProviderError",
    ),
    OddStream(
        "an error outside of the events, pretty-printed",
        "Gemini and Vertex AI, bifrost#5262",
        (
            *streamed(*HEL, done=False),
            raw(
                "{",
                '  "error": {',
                '    "code": 429,',
                '    "message": "Resource has been exhausted",',
                '    "status": "RESOURCE_EXHAUSTED"',
                "  }",
                "}",
                "",
            ),
        ),
        answer("Hel", None),
        error="StreamProviderError",
        code="429",
    ),
    OddStream(
        "a last error event without its blank line",
        "by hand",
        (*streamed(*HEL, done=False), b'data: {"error": {"message": "gone", "code": "502"}}'),
        answer("Hel", None),
        error="StreamProviderError",
        code="502",
    ),
    OddStream(
        "an error in words in place of JSON",
        "crane-serve, Crane#121",
        (*streamed(*HEL, done=False), b"data: error: engine failed\n\n", DONE),
        answer("Hel", None),
        error="StreamDecodeError",
    ),
    OddStream(
        "`data:` twice in front of a chunk",
        "new-api#5367, openclaw#97474",
        (*streamed(*HEL, done=False), b"data: " + event(text("lo")), sse(finish())),
        answer("Hel", None),
        error="StreamDecodeError",
    ),
    OddStream(
        "a page of HTML in place of the events",
        "qwen-code#6465",
        (b"<html>\n<head><title>Blocked</title></head>\n\n<body>Blocked by policy</body>\n</html>\n",),
        {"choices": []},
        error="StreamTruncatedError",
    ),
    OddStream(
        "a clean end in the middle of an event",
        "tracker#544",
        (*streamed(*HEL, done=False), b'data: {"choices":[{"index":0,"delta":{"con'),
        answer("Hel", None),
        error="StreamTruncatedError",
    ),
    OddStream(
        "a clean end in the middle of a tool call",
        "open-interpreter#291, vllm#53269",
        streamed(
            ROLE,
            tool(piece("", index=0, id="a", name="f", type="function")),
            tool(piece('{"city":', index=0)),
            done=False,
        ),
        answer(None, None, tool_calls=[call("a", "f", '{"city":')]),
        error="StreamTruncatedError",
    ),
    OddStream(
        "a connection reset after the finish reason",
        "any network",
        (*streamed(*HELLO, done=False), httpx2.ReadError("Connection reset by peer")),
        answer(),
        error="StreamConnectionError",
    ),
    OddStream(
        "the role and then nothing",
        "tracker#544",
        streamed(ROLE, done=False),
        answer("", None),
        error="StreamTruncatedError",
    ),
)

ODD_STREAMS = (*THE_TABLE, *USAGE, *ENVELOPES, *CHOICES, *CONTENT, *TOOLS, *FRAMES, *FAILURES)

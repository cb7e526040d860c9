"""Generated streams: built from a grammar beside a model of their content, and mutated byte by byte.

`tests/fuzz/fuzz.py` checks the same invariants without an end; the tests at the end are its findings.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import requirements
from chunks import DONE, ENVELOPE, HELLO, accumulate, chunk, event, finish, message_of, sse, text, tool
from clients import read
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from invariants import (
    check_clients,
    check_completion,
    check_decoder,
    check_state,
    check_typed,
    chunks_of,
    dump,
    split_at,
)
from odd_streams import ODD_STREAMS

from tensorloop_stream import StreamDecodeError, StreamError, StreamProviderError, StreamTruncatedError
from tensorloop_stream._chat.dialect import CHAT
from tensorloop_stream._stream.settings import StreamSettings
from tensorloop_stream._stream.state import StreamState

# The same examples in every run: tests/fuzz/fuzz.py looks for new ones.
repeatable = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))

# Streams and a model of their content

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
HALVES = st.sampled_from(["a\ud83d", "\ud83d", "\ude00", "\ude00b"])
TEXTS = HALVES | st.text(st.sampled_from('a {}"\\é😀\u2028\x85\ufeff\ud83d\ude00'), min_size=1, max_size=5)
# Where an object begins behind another one, another call may begin.
INPUTS = TEXTS.map(lambda text: text.replace("{", "("))
# Choice 0 more often, because deltas are of that choice.
INDICES = st.sampled_from([0, 0, 0, 1, 2])
NULLS: dict[str, Any] = dict.fromkeys(
    ("content", "refusal", "tool_calls", "reasoning_content", "function_call", "role")
)
IN_BAND_ERRORS = [
    b'data: {"error":{"message":"no","code":"500"}}',
    b'data: {"error":{"message":null,"code":429,"type":"budget_exceeded"}}',
    b'data: {"error":"no"}',
    b'data: {"object":"error","message":"no","code":40303}',
    b'data: {"error_code":50002,"text":"no"}',
    b"event: error\ndata: no",
    b'event: error\ndata: {"message":"no"}',
    b"event: error\ndata: [1]",
    b'error: {"message":"no"}',
]
GARBAGE = [
    b"data: {",
    b"data: nonsense",
    b"data: [1]",
    b"data: \xff",
    b'data: {"choices":[{"delta":{"content":"\xf0\x9f"}}]}',
    b'data: {"choices":5}',
    b'data: {"choices":[5]}',
    b'data: {"choices":[{"delta":"a"}]}',
    b'data: {"choices":[{"delta":{"tool_calls":"a"}}]}',
    b'data: {"choices":[{"delta":{"tool_calls":["a"]}}]}',
    b'data: {"own":' + b"[" * 1000 + b"]" * 1000 + b"}",
    b'data: {"own":' + b"[" * 100_000,
    b'data: {"own":' + b"9" * 5000 + b"}",
]
NOISE = [
    b": ping",
    b"retry: 5",
    b"id: 7",
    b"data:",
    b"data: null",
    b"event: ping\ndata: {}",
    b"own: 1",
    b"",
    b'data: {"choices":null}',
    b'data: {"choices":[]}',
    b'data: {"choices":[null]}',
    b'data: {"choices":[],"usage":{}}',
    b'data: {"choices":[{"index":0,"delta":null}]}',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":null,"logprobs":null}],"usage":null}',
    b'data: {"choices":[{"index":0,"delta":{"role":null,"content":null,"tool_calls":null}}]}',
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[null]}}]}',
    b'data: {"object":"x","obfuscation":"xx","choices":[{"index":0,"delta":{"obfuscation":"x"}}]}',
]


class ChoiceModel:
    """The expected content of one choice."""

    def __init__(self) -> None:
        self.content: list[str] = []
        self.refusal: list[str] = []
        self.reasoning: dict[str, list[str]] = {}
        # The reasoning under any of its names, and in blocks before that.
        self.usual: list[str] = []
        self.blocks_before: list[str] = []
        self.calls: list[dict[str, Any]] = []
        self.blocks: list[dict[str, Any]] = []
        self.logprobs: list[str] = []
        self.finish_reason: str | None = None

    def add_block(self, part: str, signature: str | None) -> None:
        if not self.blocks or self.blocks[-1].get("signature"):
            self.blocks.append({"type": "thinking", "thinking": []})
        self.blocks[-1]["thinking"].append(part)
        if signature is not None:
            self.blocks[-1]["signature"] = signature

    @property
    def thoughts(self) -> list[str]:
        """The reasoning in blocks, and what the usual names bring behind the part of it that they repeat."""
        before, again = joined(self.blocks_before), ""
        for number, part in enumerate(self.usual):
            again += part
            if not before.startswith(again):
                rest = again.removeprefix(before)
                return [before, rest, *self.usual[number + 1 :]]
        return [before]

    def message(self) -> dict[str, Any]:
        """Return the message without empty fields."""
        calls = []
        for call in sorted(self.calls, key=lambda call: call["order"]):
            given = joined(call["texts"])
            inner = {"name": call["name"], ("input" if call["type"] == "custom" else "arguments"): given}
            calls.append({"id": call["id"], "type": call["type"], call["type"]: inner})
        blocks = [{**block, "thinking": joined(block["thinking"])} for block in self.blocks]
        fields = {
            "content": joined(self.content),
            "refusal": joined(self.refusal),
            "tool_calls": calls,
            "thinking_blocks": blocks,
            **{name: joined(texts) for name, texts in self.reasoning.items()},
        }
        return {"role": "assistant", **{name: value for name, value in fields.items() if value}}


def joined(texts: list[str]) -> str:
    """Join texts as UTF-16, in which two halves of a character become one."""
    return "".join(texts).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def without_empty(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if value not in (None, "")}


class Grammar(RuleBasedStateMachine):
    """A stream built rule by rule, well-formed or not, beside the expected result."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = b""
        self.state = StreamState(CHAT, None, StreamSettings())
        # Reads the same bytes with chunk objects, one event at a time.
        self.typed = StreamState(CHAT, None, StreamSettings())
        self.error: StreamError | None = None
        self.texts: list[str] = []
        self.thoughts: list[str] = []
        self.choices: dict[int, ChoiceModel] = {}
        self.usage: dict[str, int] | None = None
        self.envelope: dict[str, Any] = {}
        self.ids = 0
        self.read: list[tuple[Any, str]] = []
        self.is_over = False

    # Rules that send

    @initialize(bom=st.booleans())
    def begin(self, bom: bool) -> None:
        if bom:
            self.feed("\ufeff".encode(), [1])

    def feed(self, data: bytes, places: list[int]) -> None:
        """Feed bytes to both readers: to one in several reads, to the other in one."""
        self.stream += data
        try:
            for _ in chunks_of(self.state, split_at(data, places), typed=False, ends=False):
                self.texts.append(self.state.accumulation.text_delta)
                self.thoughts.append(self.state.accumulation.reasoning_delta)
        except StreamError as error:
            self.error = error
        try:
            for _ in chunks_of(self.typed, [data], typed=True, ends=False):
                pass
            both = None
        except StreamError as error:
            both = error
        assert str(both) == str(self.error)

    def send(self, lines: bytes, data: st.DataObject) -> None:
        end = data.draw(LINE_ENDS, "line end")
        lines = lines.replace(b"\n", end)
        places = data.draw(st.lists(st.integers(0, len(lines)), max_size=2), "cut at")
        self.feed(lines + end * 2, places)

    def send_chunk(self, delta: Any, data: st.DataObject, index: int = 0, **more: Any) -> ChoiceModel:
        chosen = {**NULLS, **delta} if data.draw(st.booleans(), "nulls everywhere") else delta
        body = chunk(chosen, index=index, **more)
        ascii_only = data.draw(st.booleans(), "escaped") or "\\ud" in json.dumps(body)
        for name in ("id", "created", "model"):
            self.envelope.setdefault(name, body[name])
        self.send(b"data: " + json.dumps(body, ensure_ascii=ascii_only).encode(), data)
        return self.choices.setdefault(index, ChoiceModel())

    @property
    def is_running(self) -> bool:
        return self.error is None and not self.is_over

    @precondition(lambda self: self.is_running)
    @rule(index=INDICES, part=TEXTS, data=st.data())
    def content(self, index: int, part: str, data: st.DataObject) -> None:
        self.send_chunk({"content": part}, data, index).content.append(part)

    @precondition(lambda self: self.is_running)
    @rule(index=INDICES, data=st.data())
    def role(self, index: int, data: st.DataObject) -> None:
        self.send_chunk({"role": "assistant", "content": ""}, data, index)

    @precondition(lambda self: self.is_running)
    @rule(index=INDICES, part=TEXTS, data=st.data())
    def refusal(self, index: int, part: str, data: st.DataObject) -> None:
        self.send_chunk({"refusal": part}, data, index).refusal.append(part)

    @precondition(lambda self: self.is_running)
    @rule(
        index=INDICES,
        part=TEXTS,
        names=st.sampled_from([("reasoning",), ("reasoning_content",), ("reasoning", "reasoning_content")]),
        block=st.sampled_from(["", "", "before", "behind"]),
        data=st.data(),
    )
    def reasoning(self, index: int, part: str, names: tuple[str, ...], block: str, data: st.DataObject) -> None:
        fields, blocks = dict.fromkeys(names, part), {"thinking_blocks": [{"type": "thinking", "thinking": part}]}
        delta = fields if not block else {**blocks, **fields} if block == "before" else {**fields, **blocks}
        choice = self.send_chunk(delta, data, index)
        choice.usual.append(part)
        if block:
            choice.add_block(part, None)
        for name in names:
            choice.reasoning.setdefault(name, []).append(part)

    @precondition(lambda self: self.is_running)
    @rule(index=INDICES, part=TEXTS, signature=st.sampled_from([None, "", "s"]), data=st.data())
    def thinking(self, index: int, part: str, signature: str | None, data: st.DataObject) -> None:
        block: dict[str, Any] = {"type": "thinking", "thinking": part}
        if signature is not None:
            block["signature"] = signature
        choice = self.send_chunk({"thinking_blocks": [block]}, data, index)
        choice.add_block(part, signature)
        if not choice.usual:
            choice.blocks_before.append(part)

    @precondition(lambda self: self.is_running)
    @rule(
        at=st.none() | INDICES,
        kind=st.sampled_from(["function", "custom"]),
        name=st.sampled_from("fg"),
        part=st.just("") | INPUTS,
        data=st.data(),
    )
    def open_call(self, at: int | None, kind: str, name: str, part: str, data: st.DataObject) -> None:
        self.ids += 1
        call = {"id": f"call_{self.ids}", "type": kind}
        field = "input" if kind == "custom" else "arguments"
        place = {} if at is None else {"index": at}
        choice = self.send_chunk({"tool_calls": [{**place, **call, kind: {"name": name, field: part}}]}, data)
        order = at if at is not None else choice.calls[-1]["order"] if choice.calls else 0
        choice.calls.append({**call, "name": name, "texts": [part], "order": order, "at": at})

    @precondition(lambda self: self.is_running and self.choices.get(0, ChoiceModel()).calls)
    @rule(which=st.integers(0, 9), by=st.sampled_from(["index", "id", "both", "none"]), part=INPUTS, data=st.data())
    def continue_call(self, which: int, by: str, part: str, data: st.DataObject) -> None:
        calls = self.choices[0].calls
        call = calls[which % len(calls)]
        # Calls opened without an index are identified by their id alone.
        if by == "none":
            call = calls[-1]
        elif call["at"] is None:
            by = "id"
        elif by == "index":
            call = next(one for one in reversed(calls) if one["at"] == call["at"])
        place = {"index": call["at"]} if by in ("index", "both") else {}
        named = {"id": call["id"]} if by in ("id", "both") else {}
        field = "input" if call["type"] == "custom" else "arguments"
        self.send_chunk({"tool_calls": [{**place, **named, call["type"]: {field: part}}]}, data)
        call["texts"].append(part)

    @precondition(lambda self: self.is_running)
    @rule(index=INDICES, tokens=st.lists(TEXTS, max_size=2), data=st.data())
    def probabilities(self, index: int, tokens: list[str], data: st.DataObject) -> None:
        entries: list[Any] = [
            {"token": token, "logprob": float("-inf"), "bytes": None, "top_logprobs": []} for token in tokens
        ]
        self.send_chunk({}, data, index, logprobs={"content": entries, "refusal": None}).logprobs += tokens

    @precondition(lambda self: self.is_running)
    @rule(index=INDICES, reason=st.sampled_from(["stop", "length", "", "", "own"]), data=st.data())
    def finish_reason(self, index: int, reason: str, data: st.DataObject) -> None:
        choice = self.send_chunk({}, data, index, finish_reason=reason)
        choice.finish_reason = reason or choice.finish_reason

    @precondition(lambda self: self.is_running)
    @rule(total=st.sampled_from([0, 9, 2**70]), beside=st.booleans(), data=st.data())
    def count(self, total: int, beside: bool, data: st.DataObject) -> None:
        usage = {"prompt_tokens": 0, "completion_tokens": total, "total_tokens": total}
        body: dict[str, Any] = {"choices": [{"index": 0, "delta": {}}] if beside else [], "usage": usage}
        # Zeros erase nothing.
        self.usage = usage if total or self.usage is None else self.usage
        self.send(b"data: " + json.dumps(body).encode(), data)
        if beside:
            self.choices.setdefault(0, ChoiceModel())

    @precondition(lambda self: self.is_running)
    @rule(lines=st.sampled_from(NOISE), data=st.data())
    def noise(self, lines: bytes, data: st.DataObject) -> None:
        self.send(lines, data)
        if b'"index":0' in lines:
            self.choices.setdefault(0, ChoiceModel())

    @precondition(lambda self: self.is_running)
    @rule(depth=st.sampled_from([100, 300]), data=st.data())
    def deep(self, depth: int, data: st.DataObject) -> None:
        self.send(b'data: {"choices":[],"obfuscation":' + b"[" * depth + b"]" * depth + b"}", data)

    # Rules that end the stream: one rule, or no stream would be long

    @precondition(lambda self: self.is_running)
    @rule(how=st.sampled_from(["", "", "done", "in_band_error", "garbage", "nothing"]), data=st.data())
    def end(self, how: str, data: st.DataObject) -> None:
        if how:
            getattr(self, how)(data)
            self.is_over = True

    def done(self, data: st.DataObject) -> None:
        self.send(b"data: [DONE]", data)
        if not self.choices:
            assert isinstance(self.error, StreamTruncatedError)
            return
        self.feed(data.draw(st.sampled_from([b"", b"data: {", event(text("more"))]), "after it"), [])

        assert self.error is None
        assert self.state.done

    def in_band_error(self, data: st.DataObject) -> None:
        self.send(data.draw(st.sampled_from(IN_BAND_ERRORS), "error"), data)

        assert isinstance(self.error, StreamProviderError)

    def garbage(self, data: st.DataObject) -> None:
        self.send(data.draw(st.sampled_from(GARBAGE), "garbage"), data)

        assert isinstance(self.error, StreamDecodeError)

    def nothing(self, data: st.DataObject) -> None:
        rest = st.sampled_from([b"", b"data: ", b'data: {"choices":[{"index":0,"delta":{"content":"'])
        self.feed(data.draw(rest, "unfinished"), [])
        if any(choice.finish_reason for choice in self.choices.values()):
            self.state.receive_end()
            assert self.state.done
        else:
            with pytest.raises(StreamTruncatedError) as raised:
                self.state.receive_end()
            self.error = raised.value

    @precondition(lambda self: not self.is_running)
    @rule()
    def nothing_more(self) -> None:
        """A stream that ended accepts nothing; its completion is checked again."""

    # Invariants

    @invariant()
    def completion_equals_the_model(self) -> None:
        completion = self.state.accumulation.result
        now = dump(completion)
        check_completion(completion)
        assert dump(self.typed.accumulation.result) == now
        # A completion read earlier does not change.
        self.read.append((completion, now))
        earlier, then = self.read[-2:][0]
        assert dump(earlier) == then
        # The partial also has choices that an invalid chunk opened.
        known = [choice for choice in completion.choices if self.error is None or choice.index in self.choices]
        assert [choice.index for choice in known] == sorted(self.choices)
        for choice in known:
            model = self.choices[choice.index]
            assert without_empty(choice.message.to_dict(warnings=False)) == model.message()
            assert choice.finish_reason == model.finish_reason
            entries: Any = (choice.logprobs.content if choice.logprobs is not None else None) or []
            assert [entry.token for entry in entries] == [joined([token]) for token in model.logprobs]
        usage = completion.to_dict(warnings=False).get("usage")
        assert usage == self.usage
        for name, value in self.envelope.items():
            assert getattr(completion, name) == value

    @invariant()
    def deltas_make_the_text(self) -> None:
        choice = self.choices.get(0, ChoiceModel())
        for deltas, texts, shown in (
            (self.texts, choice.content, self.state.accumulation.text),
            (self.thoughts, choice.thoughts, self.state.accumulation.reasoning),
        ):
            whole = joined(texts)
            assert shown == whole
            # Half a character waits for the other half.
            assert "".join(deltas) == (whole[:-1] if "\ud800" <= whole[-1:] <= "\udbff" else whole)

    def teardown(self) -> None:
        check_state(self.stream, [7, 70, 700])
        check_clients(self.stream, [5, 50])


TestGrammar = Grammar.TestCase
TestGrammar.settings = settings(repeatable, max_examples=requirements.scaled(30), stateful_step_count=30)


# Mutated bytes

WHOLE = [
    sse(*HELLO),
    *(b"".join(part for part in odd.reads if isinstance(part, bytes))[:1000] for odd in ODD_STREAMS),
]
TOKENS = [b"\n", b"\r", b"\n\n\n", b"data: ", b"event: error\n", b"error: {", b"\xff", b"\xf0\x9f", b"[", b"null", DONE]


@st.composite
def mutated(draw: Any) -> bytes:
    """Return a stream with a few bytes inserted, removed, replaced, repeated or copied from another stream."""
    stream: bytes = draw(st.sampled_from(WHOLE))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(stream)))
        end = min(len(stream), start + draw(st.integers(0, 40)))
        other = draw(st.sampled_from(WHOLE))
        at = draw(st.integers(0, len(other)))
        instead = draw(
            st.sampled_from([b"", stream[start:end] * 2, other[at : at + 60], *TOKENS]) | st.binary(max_size=4)
        )
        stream = stream[:start] + instead + stream[end:]
    return stream


places = st.lists(st.integers(0, 2000), max_size=5)


@given(mutated(), places)
@settings(repeatable, max_examples=requirements.scaled(100))
def test_mutated_streams_keep_the_invariants(stream: bytes, where: list[int]) -> None:
    """No exception is outside the family, and neither cuts nor chunk objects change the result."""
    check_decoder(stream, where)
    check_state(stream, where)
    check_typed(stream)


@given(mutated(), places)
@settings(repeatable, max_examples=requirements.scaled(30))
def test_mutated_streams_give_the_same_result_in_both_clients(stream: bytes, where: list[int]) -> None:
    """Items, callbacks and errors are the same, with one terminal callback."""
    check_clients(stream, where)


# Found by the fuzzer


@pytest.mark.parametrize("first", ["f", ["f"], 1])
def test_an_object_replaces_another_value_of_a_legacy_call(first: Any) -> None:
    """A `function_call` may be text first and an object later (was an `AttributeError`)."""
    call = {"name": "f", "arguments": "{}"}

    assert message_of(chunk({"function_call": first}), chunk({"function_call": call}))["function_call"] == call


@pytest.mark.parametrize("outer", ["function", "own"])
def test_thinking_blocks_inside_a_call_are_plain_text(outer: str) -> None:
    """The provider's fields of a call hold strings, not text buffers (was not serializable as JSON)."""
    own = {"thinking_blocks": [{"type": "thinking", "thinking": "a", "signature": "s"}]}
    part = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}, outer: {"name": "f", "own": own}}
    completion = accumulate(tool(part)).completion

    assert json.dumps(own) in json.dumps(completion.to_dict(warnings=False))


RESERVED = {"_fields_set": [], "_BaseModel__cls": 1, "a": 1}


@pytest.mark.parametrize(
    "body",
    [
        {**ENVELOPE, "choices": [{"index": 0, "delta": {}, **RESERVED}]},
        chunk(RESERVED),
        tool({"index": 0, **RESERVED}),
        chunk({"tool_calls": [{"index": 0, "function": RESERVED}], "annotations": [RESERVED], "audio": RESERVED}),
        chunk({}, logprobs={"content": [{"token": "a", "top_logprobs": [RESERVED]}]}),
        {**ENVELOPE, "choices": [], "usage": {**RESERVED, "completion_tokens_details": RESERVED}},
        {**ENVELOPE, "choices": [], "usage": {"_fields_set": {"a": 1}}},
    ],
)
def test_fields_named_like_the_sdks_parameters_are_accepted(body: Any) -> None:
    """Such fields may stand at any depth (was an error, in `.completion` too)."""
    stream = sse(body, finish())

    check_typed(stream)
    check_clients(stream, [])
    assert read("sync", [stream]).error is None


def test_a_partly_valid_chunk_is_in_the_partial() -> None:
    """The stream does not deliver the chunk; the partial completion contains its valid choice."""
    state = StreamState(CHAT, None, StreamSettings())
    state.receive(sse({**ENVELOPE, "choices": [text("Hi")["choices"][0], ["?"]]}), "bytes")

    with pytest.raises(StreamDecodeError, match="a choice is") as raised:
        state.next(typed=False)
    assert raised.value.partial.choices[0].message.content == "Hi"


def test_null_calls_make_no_list_of_calls() -> None:
    """A list of nulls is no call (was an empty list, which the API refuses in the next turn)."""
    message = accumulate(tool(None), text("Hi")).completion.choices[0].message

    assert message.tool_calls is None
    assert message.content == "Hi"


def test_an_additional_blank_line_hides_no_error() -> None:
    """An `error` field after three line ends is an error, for any cut of the reads (was ignored)."""
    stream = sse(*HELLO[:2], done=False) + event(text("lo")) + b'\nerror: {"message":"no"}\n\n' + DONE
    first = len(event(HELLO[0]))

    for places in ([], [first], [first, -len(DONE)], list(range(len(stream)))):
        error = read("sync", split_at(stream, places)).error
        assert isinstance(error, StreamProviderError)
        assert error.body == {"message": "no"}

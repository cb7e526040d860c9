from __future__ import annotations

import json
from typing import Any

import anyio
import cassette
import openai
import pytest
import recorded
from cassette import Play
from clients import Outcome, drain_async, drain_sync
from openai.types.chat import ChatCompletion
from recorded import interactions, request

from tensorloop_stream import AsyncChatStream, AsyncTensorloop, ChatStream, StreamProviderError, Tensorloop

both = pytest.mark.parametrize("kind", ["sync", "async"])


def names(*, streamed: bool) -> list[str]:
    found = []
    for path in sorted(cassette.FOLDER.rglob("*.yaml")):
        name = path.relative_to(cassette.FOLDER).with_suffix("").as_posix()
        first = interactions(name)[0]
        if first["response"]["status"]["code"] == 200 and bool(request(name).get("stream")) == streamed:
            found.append(name)
    return found


TWINS = [name for name in names(streamed=True) if (cassette.FOLDER / f"{name}_not_streamed.yaml").exists()]


@pytest.fixture
def streamed(play: Play, tensorloop: Tensorloop, async_tensorloop: AsyncTensorloop) -> Any:
    """Stream a cassette with either client, in one of the three ways."""

    def run(name: str, kind: str = "sync", mode: Any = "chunks") -> Outcome:
        play(name)
        if kind == "sync":
            return drain_sync(ChatStream(lambda: tensorloop.chat.completions.create(**request(name))), mode)

        async def wait() -> Outcome:
            return await drain_async(AsyncChatStream(async_tensorloop.chat.completions.create(**request(name))), mode)

        return anyio.run(wait)

    return run


@pytest.fixture
def whole(play: Play, tensorloop: Tensorloop) -> Any:
    """Ask for the twin of a cassette that was not streamed."""

    def run(name: str) -> ChatCompletion:
        play(f"{name}_not_streamed")
        completion = tensorloop.chat.completions.create(**request(f"{name}_not_streamed"))
        assert isinstance(completion, ChatCompletion)
        return completion

    return run


@both
@pytest.mark.parametrize(
    "name", [name for name in names(streamed=True) if not name.startswith(("errors", "conv", "resp"))]
)
def test_every_stream_is_whole_in_all_ways(name: str, kind: str, streamed: Any) -> None:
    """Chunks, text and the final answer of a recorded stream are the same completion."""
    outcome = streamed(name, kind)

    assert outcome.error is None
    assert [item.to_dict() for item in outcome.items] == recorded.chunks(name)
    for mode in ("text", "final"):
        again = streamed(name, kind, mode)
        assert again.error is None
        assert again.stream.completion == outcome.stream.completion


@pytest.mark.parametrize("name", TWINS)
def test_the_shape_is_that_of_the_answer_in_one_piece(name: str, streamed: Any, whole: Any) -> None:
    """The stream's completion has the fields and types of the recorded answer that was not streamed."""
    result, twin = streamed(name).stream.completion, whole(name)

    assert shape(result) == shape(twin)


def shape(completion: ChatCompletion) -> Any:
    """Return the fields and types, without what only one of the two says: nulls, usage, provider's own fields."""

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: of(item) for name, item in value.items() if item not in (None, {}, []) and name not in ONLY_ONE
            }
        if isinstance(value, list):
            return [of(item) for item in value[:1]]
        return type(value).__name__

    return of(completion.to_dict())


# LiteLLM sends usage in a stream only when asked, and other fields only in one of the forms.
ONLY_ONE = {"timings", "usage", "provider_specific_fields", "system_fingerprint", "service_tier"}


def test_the_haiku(streamed: Any) -> None:
    """The documented flow, as a real model answered it."""
    outcome = streamed("chat/haiku", mode="text")

    assert "".join(outcome.items) == recorded.text("chat/haiku")
    assert outcome.stream.completion.choices[0].finish_reason == "stop"
    assert outcome.stream.completion.model == "gpt-4o-mini"


@both
def test_usage(kind: str, streamed: Any) -> None:
    """`include_usage` brings a usage chunk of LiteLLM's own form, with a choice."""
    usage = streamed("chat/usage", kind).stream.usage

    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0


@both
def test_two_choices(kind: str, streamed: Any) -> None:
    """Interleaved choices of `n=2` come apart; `.text` is the first one's."""
    stream = streamed("chat/two_choices", kind).stream
    first, second = (choice.message.content for choice in stream.completion.choices)

    assert first != second
    assert stream.text == first
    assert (first + second).isprintable()


@both
def test_logprobs(kind: str, streamed: Any) -> None:
    """The probabilities of all tokens, in order."""
    choice = streamed("chat/logprobs", kind).stream.completion.choices[0]

    assert "".join(entry.token for entry in choice.logprobs.content) == choice.message.content
    assert all(len(entry.top_logprobs) == 2 for entry in choice.logprobs.content)


def test_json_schema(streamed: Any) -> None:
    """A grammar made the answer valid, whatever pieces it came in."""
    assert set(json.loads(streamed("chat/json_schema").stream.text)) == {"name", "age"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("chat/length", "length"),
        ("chat/stop_sequence", "stop"),
        ("chat/content_filter", "content_filter"),
        ("tools/forced_call", "tool_calls"),
    ],
)
def test_finish_reasons(name: str, reason: str, streamed: Any) -> None:
    """Why a recorded answer ended."""
    assert streamed(name).stream.completion.choices[0].finish_reason == reason


@both
@pytest.mark.parametrize(
    ("name", "some"),
    [
        ("chat/emoji", "🌟"),
        ("chat/non_ascii", "日本語"),
        ("chat/non_ascii", "\u2028separator"),
        ("chat/non_ascii", "\x85"),
    ],
)
def test_non_ascii(name: str, some: str, kind: str, streamed: Any) -> None:
    """Characters of every length, and those that other line splitters stumble over."""
    assert some in streamed(name, kind).stream.text


@both
def test_forced_call(kind: str, streamed: Any) -> None:
    """A real model's call, forced by a grammar."""
    (call,) = streamed("tools/forced_call", kind).stream.completion.choices[0].message.tool_calls

    assert isinstance(json.loads(call.function.arguments), dict)


@both
def test_parallel_calls(kind: str, streamed: Any) -> None:
    """Two calls, each whole."""
    calls = streamed("tools/parallel_calls", kind).stream.completion.choices[0].message.tool_calls

    assert len({call.id for call in calls}) == len(calls) == 2
    assert all(json.loads(call.function.arguments) for call in calls)


@pytest.mark.parametrize("name", ["tools/repeated_ids", "tools/whole_call_in_one_chunk"])
def test_one_call_in_odd_pieces(name: str, streamed: Any) -> None:
    """Ids and names repeated per piece count once, and one piece may be all."""
    (call,) = streamed(name).stream.completion.choices[0].message.tool_calls

    assert call.function.name.isidentifier()
    assert json.loads(call.function.arguments)


@both
def test_reasoning(kind: str, streamed: Any) -> None:
    """Reasoning is apart from the answer."""
    message = streamed("reasoning/reasoning_content", kind).stream.completion.choices[0].message

    assert message.reasoning_content
    assert message.content == "Because reading nearby is faster."


def test_thinking_blocks(streamed: Any) -> None:
    """Blocks ready to be sent back, also where LiteLLM repeats them among the provider's own fields."""
    message = streamed("reasoning/thinking_blocks").stream.completion.choices[0].message
    thinking, redacted = message.thinking_blocks

    assert thinking == {
        "type": "thinking",
        "thinking": message.reasoning_content,
        "signature": "c2NyaXB0ZWQgc2lnbmF0dXJl",
    }
    assert redacted["type"] == "redacted_thinking"
    assert message.provider_specific_fields["thinking_blocks"] == message.thinking_blocks


@both
@pytest.mark.parametrize(
    ("name", "text"), [("errors/mid_stream_error", "Caches forget"), ("errors/mid_stream_cut", "Caches remember")]
)
def test_errors_inside_the_stream(name: str, text: str, kind: str, streamed: Any) -> None:
    """What LiteLLM makes of an error and of a cut upstream: an error that keeps the text."""
    error = streamed(name, kind).error

    assert type(error) is StreamProviderError
    assert error.status_code == 500
    assert error.partial.choices[0].message.to_dict()["content"] == text


@both
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("errors/wrong_key", openai.AuthenticationError),
        ("errors/model_not_allowed", openai.PermissionDeniedError),
        ("errors/unknown_model", openai.BadRequestError),
        ("errors/bad_request", openai.BadRequestError),
        ("errors/rate_limit_by_key", openai.RateLimitError),
        ("errors/rate_limit_by_upstream", openai.RateLimitError),
        ("errors/budget_exceeded", openai.RateLimitError),
        ("errors/unavailable", openai.InternalServerError),
    ],
)
def test_errors_before_the_stream(name: str, error: type[openai.APIStatusError], kind: str, streamed: Any) -> None:
    """They stay the SDK's own."""
    raised = streamed(name, kind).error

    assert type(raised) is error
    assert raised.status_code == interactions(name)[0]["response"]["status"]["code"]


def test_an_empty_success_cannot_be_told(streamed: Any) -> None:
    """An upstream that closes before any event is, for any client of LiteLLM, an empty answer."""
    outcome = streamed("errors/empty_upstream")

    assert outcome.error is None
    assert outcome.stream.text == ""


def test_a_conversation(play: Play, tensorloop: Tensorloop) -> None:
    """Two turns, the second with what the first streamed."""
    play("conversations/two_turns")
    first, second = (json.loads(one["request"]["body"]) for one in interactions("conversations/two_turns"))
    answer = ChatStream(tensorloop.chat.completions.create(**first)).get_final_message()
    follow_up = second["messages"][-1]
    messages = [*first["messages"], {"role": "assistant", "content": answer.content}, follow_up]

    assert ChatStream(tensorloop.chat.completions.create(**{**second, "messages": messages})).get_final_text()


def test_an_unplayed_interaction_fails(pytester: pytest.Pytester) -> None:
    """A test that forgets half of its cassette is a failed test, reported once."""
    pytester.makepyfile("def test_forgets(play): play('chat/haiku')")

    result = pytester.runpytest_inprocess("-p", "conftest", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*1 of 1 interactions of *haiku.yaml were not played*"])


def test_the_network_is_out_of_reach() -> None:
    """A test that reaches for anything but loopback fails, and names the address."""
    import socket

    with pytest.raises(RuntimeError, match=r"a test reached for the network: socket.getaddrinfo '192\.0\.2\.1'"):
        socket.create_connection(("192.0.2.1", 80))

"""Recorded streams of a real LiteLLM proxy, read by both clients."""

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
    """Stream a cassette with either client, in one of the three modes."""

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
    """Request the unstreamed twin of a cassette."""

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
def test_every_mode_gives_the_same_completion(name: str, kind: str, streamed: Any) -> None:
    """Chunks, text and the final answer of a recorded stream make the same completion."""
    outcome = streamed(name, kind)

    assert outcome.error is None
    assert [item.to_dict() for item in outcome.items] == recorded.chunks(name)
    for mode in ("text", "final"):
        again = streamed(name, kind, mode)
        assert again.error is None
        assert again.stream.completion == outcome.stream.completion


@pytest.mark.parametrize("name", TWINS)
def test_the_completion_has_the_shape_of_the_unstreamed_answer(name: str, streamed: Any, whole: Any) -> None:
    """Fields and types equal those of the recorded answer that was not streamed."""
    result, twin = streamed(name).stream.completion, whole(name)

    assert shape(result) == shape(twin)


def shape(completion: ChatCompletion) -> Any:
    """Return fields and types, without nulls, usage and the provider's own fields, which only one twin has."""

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                name: of(item) for name, item in value.items() if item not in (None, {}, []) and name not in ONLY_ONE
            }
        if isinstance(value, list):
            return [of(item) for item in value[:1]]
        return type(value).__name__

    return of(completion.to_dict())


# LiteLLM sends usage in a stream only on request, and the other fields in one of the two forms.
ONLY_ONE = {"timings", "usage", "provider_specific_fields", "system_fingerprint", "service_tier"}


def test_the_text_of_the_haiku_is_read(streamed: Any) -> None:
    """The text, the finish reason and the model are those that the real model sent."""
    outcome = streamed("chat/haiku", mode="text")

    assert "".join(outcome.items) == recorded.text("chat/haiku")
    assert outcome.stream.completion.choices[0].finish_reason == "stop"
    assert outcome.stream.completion.model == "gpt-4o-mini"


@both
def test_usage_is_read(kind: str, streamed: Any) -> None:
    """LiteLLM sends the usage in a chunk with a choice."""
    usage = streamed("chat/usage", kind).stream.usage

    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 0


@both
def test_interleaved_choices_are_separated(kind: str, streamed: Any) -> None:
    """The choices of `n=2` differ, and `.text` is the first one's."""
    stream = streamed("chat/two_choices", kind).stream
    first, second = (choice.message.content for choice in stream.completion.choices)

    assert first != second
    assert stream.text == first
    assert (first + second).isprintable()


@both
def test_logprobs_are_in_order(kind: str, streamed: Any) -> None:
    """The log probabilities belong to all tokens of the text."""
    choice = streamed("chat/logprobs", kind).stream.completion.choices[0]

    assert "".join(entry.token for entry in choice.logprobs.content) == choice.message.content
    assert all(len(entry.top_logprobs) == 2 for entry in choice.logprobs.content)


def test_the_answer_to_a_json_schema_is_valid(streamed: Any) -> None:
    """The answer is the JSON object that the schema describes."""
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
def test_the_finish_reason_is_read(name: str, reason: str, streamed: Any) -> None:
    """The finish reason is the recorded one."""
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
def test_characters_outside_ascii_are_kept(name: str, some: str, kind: str, streamed: Any) -> None:
    """The text has characters of every length, and those at which other line splitters split."""
    assert some in streamed(name, kind).stream.text


@both
def test_a_forced_call_has_json_arguments(kind: str, streamed: Any) -> None:
    """A grammar forced the real model to call."""
    (call,) = streamed("tools/forced_call", kind).stream.completion.choices[0].message.tool_calls

    assert isinstance(json.loads(call.function.arguments), dict)


@both
def test_parallel_calls_are_separated(kind: str, streamed: Any) -> None:
    """Both calls have an id and arguments."""
    calls = streamed("tools/parallel_calls", kind).stream.completion.choices[0].message.tool_calls

    assert len({call.id for call in calls}) == len(calls) == 2
    assert all(json.loads(call.function.arguments) for call in calls)


@pytest.mark.parametrize("name", ["tools/repeated_ids", "tools/whole_call_in_one_chunk"])
def test_a_call_in_unusual_deltas_is_one_call(name: str, streamed: Any) -> None:
    """Repeated ids and names count once, and one delta may be the whole call."""
    (call,) = streamed(name).stream.completion.choices[0].message.tool_calls

    assert call.function.name.isidentifier()
    assert json.loads(call.function.arguments)


@both
def test_reasoning_is_separate_from_the_answer(kind: str, streamed: Any) -> None:
    """`reasoning_content` and `content` are two fields."""
    message = streamed("reasoning/reasoning_content", kind).stream.completion.choices[0].message

    assert message.reasoning_content
    assert message.content == "Because reading nearby is faster."


def test_thinking_blocks_are_joined(streamed: Any) -> None:
    """The blocks can be sent back, also where LiteLLM repeats them among the provider's own fields."""
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
def test_an_error_inside_the_stream_keeps_the_text(name: str, text: str, kind: str, streamed: Any) -> None:
    """LiteLLM reports a failed and a truncated upstream as an error event."""
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
def test_an_error_before_the_stream_is_the_sdks(
    name: str, error: type[openai.APIStatusError], kind: str, streamed: Any
) -> None:
    """The error has the class of the status."""
    raised = streamed(name, kind).error

    assert type(raised) is error
    assert raised.status_code == interactions(name)[0]["response"]["status"]["code"]


def test_an_empty_upstream_is_an_empty_answer(streamed: Any) -> None:
    """LiteLLM reports an upstream that closes before any event as an empty answer, which no client can detect."""
    outcome = streamed("errors/empty_upstream")

    assert outcome.error is None
    assert outcome.stream.text == ""


def test_a_conversation_continues_with_the_streamed_message(play: Play, tensorloop: Tensorloop) -> None:
    """The second request contains the message that the first one streamed."""
    play("conversations/two_turns")
    first, second = (json.loads(one["request"]["body"]) for one in interactions("conversations/two_turns"))
    answer = ChatStream(tensorloop.chat.completions.create(**first)).get_final_message()
    follow_up = second["messages"][-1]
    messages = [*first["messages"], {"role": "assistant", "content": answer.content}, follow_up]

    assert ChatStream(tensorloop.chat.completions.create(**{**second, "messages": messages})).get_final_text()


def test_an_unplayed_interaction_fails_the_test(pytester: pytest.Pytester) -> None:
    """A test that does not play its whole cassette fails once."""
    pytester.makepyfile("def test_forgets(play): play('chat/haiku')")

    result = pytester.runpytest_inprocess("-p", "conftest", "-p", "no:cacheprovider")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*1 of 1 interactions of *haiku.yaml were not played*"])


def test_the_network_is_blocked() -> None:
    """A test that connects beyond loopback fails, and the error names the address."""
    import socket

    with pytest.raises(RuntimeError, match=r"a test reached for the network: socket.getaddrinfo '192\.0\.2\.1'"):
        socket.create_connection(("192.0.2.1", 80))

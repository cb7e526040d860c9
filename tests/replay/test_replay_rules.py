"""Which requests a recorded interaction answers: fields that do not count, fields that do, regular expressions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import vcr  # type: ignore[import-untyped]  # vcrpy publishes no types
from cassette_files import ask, cassette_file, chat, completion, events, interaction
from openai.types.chat.completion_create_params import CompletionCreateParamsBase, CompletionCreateParamsStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from tensorloop_stream.replay import ReplayServer
from tensorloop_stream.replay._cli import main
from tensorloop_stream.replay._spelling import misspelt_path

SYSTEM = {"role": "system", "content": "Today is Monday."}
USER = {"role": "user", "content": "What day is it?"}
ANOTHER_DAY = {"role": "system", "content": "Today is Tuesday."}
TWO_MESSAGES = chat(messages=[SYSTEM, USER], temperature=0.2)
LATER = chat(messages=[ANOTHER_DAY, USER], temperature=0.2)


def statuses(server: ReplayServer, *bodies: dict[str, Any]) -> list[int]:
    return [ask(server, body).status for body in bodies]


@pytest.mark.parametrize("ignored", ["messages.0", "messages.*.content", "messages.-2", "messages"])
def test_an_ignored_field_does_not_count(tmp_path: Path, ignored: str) -> None:
    """All else still does."""
    path = cassette_file(tmp_path / "a.yaml", interaction(TWO_MESSAGES, completion("Monday")))
    with ReplayServer(path, ignore=[ignored]) as server:
        assert statuses(server, TWO_MESSAGES, LATER, {**LATER, "temperature": 1}) == [200, 200, 404]


def test_an_ignored_field_may_be_missing(tmp_path: Path) -> None:
    """On either side."""
    recorded = interaction(chat(user="me"), completion("Hi"))
    path = cassette_file(tmp_path / "a.yaml", recorded)
    with ReplayServer(path, ignore=["user", "seed"]) as server:
        assert statuses(server, chat(), chat(seed=3)) == [200, 200]


def test_an_ignored_message_keeps_its_place(tmp_path: Path) -> None:
    """A conversation with one message more is another one."""
    path = cassette_file(tmp_path / "a.yaml", interaction(TWO_MESSAGES, completion("Monday")))
    with ReplayServer(path, ignore=["messages.0"]) as server:
        assert statuses(server, {**TWO_MESSAGES, "messages": [USER]}) == [404]


def test_only_the_named_fields_count_if_there_are_any(tmp_path: Path) -> None:
    """A field that is missing on one side differs."""
    path = cassette_file(tmp_path / "a.yaml", interaction(TWO_MESSAGES, completion("Monday")))
    with ReplayServer(path, match=["model", "messages.-1.content"]) as server:
        same = chat("What day is it?", seed=9)
        assert statuses(server, same, {**same, "model": "other"}, chat("Another")) == [200, 404, 404]


def test_a_pattern_is_searched_in_a_field(tmp_path: Path) -> None:
    """Also in the texts of a message of several parts."""
    path = cassette_file(tmp_path / "a.yaml", interaction(chat("Any weather"), completion("Sunny")))
    with ReplayServer(path, match={"messages.-1.content": "(?i)weather", "model": "^gpt-"}) as server:
        parts = [{"type": "image_url", "image_url": {"url": "data:"}}, {"type": "text", "text": "Weather?"}]
        asked = chat("The WEATHER, please"), chat(parts), chat("The time"), chat("weather", model="o3")
        assert statuses(server, *asked) == [200, 200, 404, 404]


def test_whether_it_is_streamed_always_counts(tmp_path: Path) -> None:
    """A program that reads a stream cannot read anything else."""
    path = cassette_file(tmp_path / "a.yaml", interaction(chat("Any", stream=True), events({"content": "Hi"})))
    with ReplayServer(path, match={"messages.-1.content": ""}) as server:
        assert statuses(server, chat("Other", stream=True), chat("Other")) == [200, 404]


def test_a_cassette_has_rules_of_its_own(tmp_path: Path) -> None:
    """In an interaction for that one, at the top for all."""
    path = cassette_file(
        tmp_path / "a.yaml",
        interaction(chat("Any weather"), completion("Sunny"), replay={"match": {"messages.0.content": "weather"}}),
        interaction(chat("One", seed=1), completion("One")),
        replay={"ignore": ["seed"]},
    )
    with ReplayServer(path) as server:
        texts = [ask(server, chat(prompt, seed=2)) for prompt in ("The weather?", "One", "Two")]

    assert [reply.text if reply.status == 200 else None for reply in texts] == ["Sunny", "One", None]


def test_an_equal_request_comes_before_a_rule(tmp_path: Path) -> None:
    """And one with all fields before one without some."""
    path = cassette_file(
        tmp_path / "a.yaml",
        interaction(chat("Hi, you"), completion("by pattern"), replay={"match": {"messages.0.content": "Hi"}}),
        interaction(chat("Hi", seed=1), completion("without seed"), replay={"ignore": "seed"}),
        interaction(chat("Hi", seed=2), completion("equal")),
    )
    with ReplayServer(path) as server:
        texts = [ask(server, body).text for body in (chat("Hi", seed=2), chat("Hi", seed=3), chat("Hi there"))]

    assert texts == ["equal", "without seed", "by pattern"]


def test_interactions_of_one_rule_play_in_order(tmp_path: Path) -> None:
    """And the last repeats, as for equal requests."""
    path = cassette_file(
        tmp_path / "a.yaml", *(interaction(chat(text), completion(text)) for text in ("first", "second"))
    )
    with ReplayServer(path, match=["model"]) as server:
        assert [ask(server, chat(text)).text for text in "abc"] == ["first", "second", "second"]


def test_a_404_does_not_speak_of_ignored_fields(tmp_path: Path) -> None:
    """They are not why."""
    path = cassette_file(tmp_path / "a.yaml", interaction(chat("Hi", seed=1), completion("Hi")))
    with ReplayServer(path, ignore=["seed"]) as server:
        message = ask(server, chat("Bye", seed=2)).error["message"]

    assert message.endswith('differs: messages.0.content was sent as "Bye", but recorded as "Hi"')


def test_a_404_speaks_of_the_fields_of_a_rule_alone(tmp_path: Path) -> None:
    """A date that a pattern lets pass is no difference."""
    match = {"messages.0.content": r"Today is \w+day", "messages.-1.content": "(?i)what"}
    path = cassette_file(tmp_path / "a.yaml", interaction(TWO_MESSAGES, completion("Monday"), replay={"match": match}))
    asked = chat(messages=[ANOTHER_DAY, {"role": "user", "content": "Why?"}])
    with ReplayServer(path) as server:
        message = ask(server, asked).error["message"]

    assert message.endswith('differs: messages.-1.content was sent as "Why?", but recorded as /(?i)what/')


@pytest.mark.parametrize(
    ("replay", "problem"),
    [
        ([], "replay must have ignore, match, times, cut, path, and is []"),
        ({"matches": []}, "replay.matches is unknown: there are ignore, match, times, cut, path"),
        ({"ignore": 7}, "replay: ignore must be a list of paths such as messages.0, not 7"),
        ({"ignore": [None]}, "replay: ignore must name fields by paths such as messages.0, not None"),
        ({"ignore": ["messages..0"]}, "replay: a path such as messages.0.content is wanted, not 'messages..0'"),
        ({"match": []}, "replay.match names no field: name one, or leave match out for all to count"),
        ({"match": {}}, "replay.match names no field"),
        ({"match": {"model": 7}}, "replay: match.model must be a regular expression, not 7"),
        ({"match": {"model": "("}}, "replay: match.model is no regular expression"),
        ({"times": 7}, "replay.times must be a list of ascending numbers of seconds, not 7"),
        ({"times": [1, 0.5]}, "replay.times must be a list of ascending numbers of seconds, and one is before"),
        ({"times": [1]}, "replay.times has 1 numbers, not one for the headers and for the body"),
        ({"path": "v1"}, "replay.path must be a path such as /v1/chat/completions, not 'v1'"),
        ({"cut": "yes"}, "replay.cut must be true or false, not 'yes'"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, replay: Any, problem: str) -> None:
    """With the file and the interaction."""
    path = cassette_file(tmp_path / "a.yaml", interaction(chat(), completion("Hi"), replay=replay))
    with pytest.raises(ValueError, match="interaction 1: ") as caught:
        ReplayServer(path)

    assert problem in str(caught.value)


def test_a_match_for_what_no_recorded_request_has_is_refused(tmp_path: Path) -> None:
    """It could answer nothing; at the top of a file, one of its interactions must have the field."""
    hi, tools = interaction(chat(), completion("Hi")), interaction(chat(tools=[]), completion("Ho"))
    of_one = cassette_file(tmp_path / "one.yaml", interaction(chat(), completion("Hi"), replay={"match": ["tools"]}))
    of_file = cassette_file(tmp_path / "file.yaml", hi, replay={"match": {"messages.3.content": "x"}})
    enough = cassette_file(tmp_path / "enough.yaml", hi, tools, replay={"match": ["tools"]})
    ReplayServer(enough)

    with pytest.raises(ValueError, match=r"one\.yaml: interaction 1: match names tools, which is not in the recorded"):
        ReplayServer(of_one)
    with pytest.raises(ValueError, match=r"file\.yaml: match names messages\.3\.content, which is not in the recorded"):
        ReplayServer(of_file)
    with pytest.raises(
        ValueError, match=r"match names modell, which is not in any recorded request: did you mean model"
    ):
        ReplayServer(enough, match=["modell"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("temprature", "temperature"),
        ("mesages.0", "messages.0"),
        ("message.-1.content", "messages.-1.content"),
        ("messages.*.contnt", "messages.*.content"),
        ("messages.content", "messages.*.content"),
        ("presense_penalty", "presence_penalty"),
    ],
)
def test_a_misspelt_ignore_is_refused(tmp_path: Path, written: str, meant: str) -> None:
    """It would ignore nothing: the name is like a recorded one, or like a parameter of the API."""
    recorded = interaction(TWO_MESSAGES, completion("Hi"))
    of_all = cassette_file(tmp_path / "all.yaml", recorded)
    of_file = cassette_file(tmp_path / "file.yaml", recorded, recorded, replay={"ignore": [written]})
    of_one = cassette_file(tmp_path / "one.yaml", {**recorded, "replay": {"ignore": written}})
    said = re.escape(f"recorded request: did you mean {meant}?")

    with pytest.raises(ValueError, match=f"^ignore names .* {said}"):
        ReplayServer(of_all, ignore=[written])
    with pytest.raises(ValueError, match=rf"file\.yaml: ignore names .* {said}"):
        ReplayServer(of_file)
    with pytest.raises(ValueError, match=rf"one\.yaml: interaction 1: ignore names .* {said}"):
        ReplayServer(of_one)


@pytest.mark.parametrize(
    "written",
    ["messages.7.content", "messages.0.name", "top_k", "seed", "a_field_of_a_proxy", "metadata.user_ids", "model.0"],
)
def test_an_ignore_for_what_other_requests_have_is_taken(tmp_path: Path, written: str) -> None:
    """A field that is like a recorded one may be a field of its own."""
    recorded = interaction(chat(top_p=1, metadata={"user_id": "1"}), completion("Hi"))

    ReplayServer(cassette_file(tmp_path / "a.yaml", recorded), ignore=[written])


def test_no_parameter_is_taken_for_a_misspelt_one() -> None:
    """Each may be ignored where only the others are recorded."""
    of_chat = {**CompletionCreateParamsBase.__annotations__, **CompletionCreateParamsStreaming.__annotations__}
    of_responses = ResponseCreateParamsBase.__annotations__
    for names in (of_chat, of_responses):
        for name in names:
            assert misspelt_path((name,), [dict.fromkeys(names.keys() - {name})]) is None


def test_a_pattern_that_its_recording_does_not_fit_is_told(tmp_path: Path) -> None:
    """One of the two is wrong; the answer is played all the same."""
    of_one = interaction(chat("The weather?"), completion("Sunny"), replay={"match": {"messages.0.content": "wether"}})
    path = cassette_file(tmp_path / "a.yaml", of_one)
    with pytest.warns(UserWarning, match="a.yaml") as warned, ReplayServer(path) as server:
        assert ask(server, chat("What wether?")).text == "Sunny"

    (only,) = warned
    assert str(only.message) == (
        f"{path}: interaction 1: match.messages.0.content is /wether/, which is not found in the recorded request, "
        "'The weather?': mend one of them"
    )
    assert only.filename == __file__


def test_a_general_pattern_needs_one_recording_that_fits(tmp_path: Path) -> None:
    """A pattern at the top of a file, or of a server, is for some of its requests."""
    one, other = interaction(chat("One"), completion("1")), interaction(chat("Two"), completion("2"))
    plain = cassette_file(tmp_path / "plain.yaml", one, other)
    of_file = cassette_file(tmp_path / "file.yaml", one, other, replay={"match": {"messages.0.content": "Three"}})
    said = "match.messages.0.content is /Three/, which is not found in any recorded request: mend one of them"
    ReplayServer(plain, match={"messages.0.content": "Two"})

    with pytest.warns(UserWarning, match=f"file.yaml: {said}"):
        ReplayServer(of_file)
    with pytest.warns(UserWarning, match=f"^{said}"):
        ReplayServer(plain, match={"messages.0.content": "Three"})


def test_the_command_prints_what_the_server_warns_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line has no line of code."""
    of_one = interaction(chat("One"), completion("1"), replay={"match": {"messages.0.content": "Two"}})
    path = cassette_file(tmp_path / "a.yaml", of_one)
    main([str(path), "--", "no-such-program"])

    assert f"replay: {path}: interaction 1: match.messages.0.content is /Two/, " in capsys.readouterr().err


def test_times_are_of_an_interaction_alone(tmp_path: Path) -> None:
    """Times at the top of a file have no effect."""
    path = cassette_file(tmp_path / "a.yaml", interaction(chat(), completion("Hi")), replay={"times": [1]})
    with pytest.raises(ValueError, match=r"a\.yaml: replay\.times is unknown: there are ignore, match"):
        ReplayServer(path)


def test_vcrpy_reads_a_cassette_with_the_key(tmp_path: Path) -> None:
    """It ignores what it does not know."""
    recorded = interaction(chat(), completion("Hi"), replay={"match": ["model"], "times": [0.1, 0.2]})
    path = cassette_file(tmp_path / "a.yaml", recorded, replay={"ignore": ["seed"]})
    with vcr.use_cassette(str(path), record_mode="none") as played:
        assert len(played.requests) == 1


def test_a_pattern_of_the_server_means_the_recordings_that_it_fits(tmp_path: Path) -> None:
    """Else the first of all recordings would answer, whatever it is about."""
    path = cassette_file(
        tmp_path / "a.yaml",
        interaction(chat("What is a cache?"), completion("A store.")),
        interaction(chat("A haiku, please."), completion("A moonlit meadow")),
    )
    with ReplayServer(path, match={"messages.-1.content": "(?i)haiku"}) as server:
        reply, other = ask(server, chat("Stream a HAIKU.")), ask(server, chat("What is a queue?"))

    assert reply.text == "A moonlit meadow"
    assert other.status == 404


def test_the_faults_in_a_recorded_model_name_do_not_count(tmp_path: Path) -> None:
    """A program that was recorded while it asked another replay for faults can be played."""
    path = cassette_file(tmp_path / "a.yaml", interaction(chat("Hi", "gpt-4o?cut-after=7"), completion("Hello")))
    with ReplayServer(path) as server:
        replies = [ask(server, chat("Hi", model)) for model in ("gpt-4o", "gpt-4o?delay=0.01")]

    assert [reply.text for reply in replies] == ["Hello", "Hello"]

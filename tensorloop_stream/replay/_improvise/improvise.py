"""Answers to requests that nobody recorded: a fallback, the nearest of its kind, or a made-up one. No I/O."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorloop_stream.replay._answers import Answer, error_answer, json_answer
from tensorloop_stream.replay._differences import in_words
from tensorloop_stream.replay._matching import Interaction, Recordings, nearest_of
from tensorloop_stream.replay._schemas.example import NoExampleError

from .adapting import adapted_chat, adapted_response
from .canned import canned
from .chat_answer import chat_answer
from .chat_kinds import Kind, kind_of, serves
from .chat_request import ChatRequest, WrongRequestError
from .choices import Choice, choices_of
from .response_answer import response_answer, streamed_response
from .response_request import as_chat
from .response_serving import response_serves, whole_response

_POST = "POST"
_CHAT = "/v1/chat/completions"
_RESPONSES = "/v1/responses"
_MODELS = "/v1/models"
# What a plain request for a response asks.
_PROMPT = ("input", "instructions", "previous_response_id")
# The model of the service that every key may call.
_MODEL = "gpt-4o-mini"


@dataclass(frozen=True, slots=True)
class Improvised:
    """An answer, and its source in words."""

    answer: Answer
    source: str


def full_path(path: str) -> str:
    """Return the path with the `/v1` that a base URL may lack."""
    return f"/v1{path}" if f"/v1{path}".startswith((_CHAT, _RESPONSES, _MODELS)) else path


def fall_back(fallback: Recordings, method: str, path: str, body: Any) -> Improvised | None:
    """Answer from the fallback cassettes: by the nearest request, whatever it asks; `None` if there is none."""
    candidates = fallback.at(method, path)
    if not candidates:
        return None
    try:
        request = ChatRequest.read(body) if path == _CHAT else None
    except WrongRequestError as error:
        return _refused(error)
    if request is None:
        nearest, _ = nearest_of(candidates, body)
        return Improvised(nearest.answer, f"fallback, {nearest.file}")
    kinds = [_kind_in(each) for each in candidates]
    apart = [_apart(kind, kind_of(request)) for kind in kinds]
    nearest, _ = nearest_of([each for each, far in zip(candidates, apart, strict=True) if far == min(apart)], body)
    return Improvised(_as_asked(nearest.answer, request), f"fallback, {nearest.file}")


def improvise(recordings: Recordings, method: str, path: str, body: Any) -> Improvised | None:
    """Answer by the nearest recorded interaction of the same kind, else by a made-up answer; `None` if neither can."""
    if method == "GET" and (path == _MODELS or path.startswith(f"{_MODELS}/")):
        return _models(recordings, path.removeprefix(_MODELS).removeprefix("/"))
    if method != _POST or not isinstance(body, dict):
        return None
    if path == _RESPONSES:
        return _response(recordings, body)
    if path != _CHAT:
        return None
    try:
        request = ChatRequest.read(body)
    except WrongRequestError as error:
        return _refused(error)
    if (found := _nearest_chat(recordings, request, body)) is not None:
        return found
    return _made_up(request, "response_format", lambda choices: chat_answer(request, choices))


def _nearest_chat(recordings: Recordings, request: ChatRequest, body: dict[str, Any]) -> Improvised | None:
    """Answer by the nearest recording of the same kind; where any text is an answer, of the same messages too."""
    kind = kind_of(request)
    serving = [
        each
        for each in recordings.at(_POST, _CHAT)
        if (its := _kind_in(each)) is not None and its[1:] == kind[1:]
        if not kind.is_plain or each.body["messages"] == body["messages"]
        if (choices := choices_of(each.answer)) and serves(choices, request)
    ]
    if not serving:
        return None
    same_form = [each for each in serving if (each.answer.frames is not None) == request.stream]
    nearest, differences = nearest_of(same_form or serving, body)
    return Improvised(_as_asked(nearest.answer, request), f"nearest recorded, {nearest.file}: {in_words(differences)}")


def _response(recordings: Recordings, body: dict[str, Any]) -> Improvised:
    try:
        request = as_chat(body)
    except WrongRequestError as error:
        return _refused(error)
    if (found := _nearest_response(recordings, request, body)) is not None:
        return found
    return _made_up(request, "text.format", lambda choices: response_answer(request, body, choices[0]))


def _nearest_response(recordings: Recordings, request: ChatRequest, body: dict[str, Any]) -> Improvised | None:
    """Answer by the nearest recording of the same kind; where any text is an answer, of the same prompt too."""
    kind = kind_of(request)
    serving = [
        each
        for each in recordings.at(_POST, _RESPONSES)
        if (its := _kind_in(each)) is not None and its[1:] == kind[1:]
        if not kind.is_plain or all(each.body.get(name) == body.get(name) for name in _PROMPT)
        if response_serves(each.answer, request)
    ]
    if not serving:
        return None
    same_form = [each for each in serving if (each.answer.frames is not None) == request.stream]
    nearest, differences = nearest_of(same_form or serving, body)
    answer = adapted_response(nearest.answer, request.model)
    if not same_form:
        # Every streamed answer ends with the whole one.
        whole = whole_response(answer)
        answer = streamed_response(whole) if request.stream else json_answer(200, whole)
    return Improvised(answer, f"nearest recorded, {nearest.file}: {in_words(differences)}")


def _made_up(request: ChatRequest, format_field: str, answer_of: Callable[[list[Choice]], Answer]) -> Improvised:
    """Answer by what is made up, and say what it is; `format_field` names the field with the schema."""
    try:
        choices = canned(request)
    except NoExampleError as error:
        why = f"the replay has no recorded answer for this schema, and can make up none: {error}"
        return Improvised(error_answer(404, why, param=format_field), f"404: {why}")
    what = "canned answer"
    if request.wants_call or request.schema is not None:
        what = "made-up call of a tool" if request.wants_call else "made-up JSON"
    return Improvised(answer_of(choices), f"{what}, for nothing like it is recorded")


def _models(recordings: Recordings, name: str) -> Improvised:
    answered = [each.body for each in recordings.interactions if each.answer.status == 200]
    bodies = [body for body in answered if isinstance(body, dict)]
    names = dict.fromkeys(str(body["model"]) for body in bodies if body.get("model")) or {_MODEL: None}
    models = [{"id": each, "object": "model", "created": 0, "owned_by": "replay"} for each in names]
    if not name:
        return Improvised(json_answer(200, {"object": "list", "data": models}), "the models of the recordings")
    found = next((model for model in models if model["id"] == name), None)
    if found is None:
        why = f"the model {name!r} is not among the recorded ones: {', '.join(names)}"
        return Improvised(error_answer(404, why, param="model"), f"404: {why}")
    return Improvised(json_answer(200, found), "a model of the recordings")


def _refused(error: WrongRequestError) -> Improvised:
    return Improvised(error_answer(400, str(error), param=error.param), f"400: {error}")


def _as_asked(answer: Answer, request: ChatRequest) -> Answer:
    """Return a recorded answer in the form that a request asks for; as it is if it is not a whole completion."""
    choices = choices_of(answer)
    if choices is None:
        return answer
    if (answer.frames is not None) != request.stream:
        return chat_answer(request, choices)
    return adapted_chat(answer, request, choices)


def _kind_in(interaction: Interaction) -> Kind | None:
    try:
        is_response = interaction.path == _RESPONSES and isinstance(interaction.body, dict)
        return kind_of(as_chat(interaction.body) if is_response else ChatRequest.read(interaction.body))
    except WrongRequestError:
        return None


def _apart(kind: Kind | None, other: Kind) -> int:
    """Count the differences between two kinds; another form than asked for, streamed or not, is the smallest."""
    if kind is None:
        return 1000
    others = sum(mine != its for mine, its in zip(kind[1:], other[1:], strict=True))
    return 10 * others + (kind.stream != other.stream)

"""Parse prompts, and parse and build answers, as JSON Lines; no I/O, no clock."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai.types.chat import ChatCompletion

__all__ = ["Answer", "Prompt", "build_answer", "encode_answer", "read_answers", "read_prompts"]

Answer: TypeAlias = dict[str, Any]
"""`{"id": ..., "completion": {...}}`; a failure also has an `"error"`, and its completion is partial or `None`."""

_LINE_START = b'{"id": "'


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request, and the id of its answer.

    For example:

        [prompt] = read_prompts(['{"id": "a", "prompt": "Why are caches fast?"}'], model="gpt-4o-mini")
        print(prompt.id, prompt.request["messages"])
    """

    id: str
    """The id that the line names, else a hash of the request."""
    request: dict[str, Any]
    """The JSON body of the request."""


def read_prompts(lines: Iterable[bytes | str], **defaults: Any) -> list[Prompt]:
    """Parse lines of prompts: each plain text, or JSON: an object with `prompt` or `messages`, perhaps `id` and fields.

    A line that begins with a brace, a bracket or a quotation mark is JSON; any other is a prompt as it stands.

    `defaults` are request fields for the lines without them, such as `model`. A line without an id gets a hash of its
    request, which stays the same when lines are added or moved. A request that stands twice is sent twice.

    Raises `ValueError`, or `TypeError` for what is no text, that names the line, before the first request; `TypeError`
    for a path or one text in place of lines.
    """
    if isinstance(lines, (str, bytes, PurePath)):
        raise TypeError(f"the prompts are a {type(lines).__name__}: give lines, as open(path, 'rb') does")
    prompts: dict[str, Prompt] = {}
    for number, line in enumerate(lines, 1):
        if not isinstance(line, (bytes, str)):
            raise TypeError(
                f"line {number} of the prompts is {type(line).__name__}: give text, or json.dumps(...) of it"
            )
        if not line.strip():
            continue
        try:
            given, request = _parse_line(line, defaults)
            digest = hashlib.sha256(_canonical_json(request)).hexdigest()[:16]
        except ValueError as error:
            raise ValueError(f"line {number} of the prompts: {error}") from None
        except RecursionError:
            raise ValueError(f"line {number} of the prompts: nested too deeply for JSON") from None
        name = digest if given is None else given
        if given in prompts:
            raise ValueError(
                f"line {number} of the prompts: the id {given!r} belongs to an earlier line; ids must differ"
            )
        count = 1
        while name in prompts:
            count += 1
            name = f"{digest}-{count}"
        prompts[name] = Prompt(name, request)
    return list(prompts.values())


def _parse_line(line: bytes | str, defaults: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    value = _parse_value(line)
    fields = {"prompt": value} if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise ValueError(f"{_short_repr(value)} is no prompt: give a text or an object")
    request = {**defaults, **fields, "stream": True}
    name, prompt = request.pop("id", None), request.pop("prompt", None)
    if name is not None and (isinstance(name, bool) or not isinstance(name, (str, int))):
        raise ValueError(f"the id is {_short_repr(name)}: it must be a text or a whole number")
    if (prompt is None) == (request.get("messages") is None):
        raise ValueError("an object needs either a prompt or messages")
    if prompt is not None:
        request["messages"] = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, (str, type(None))):
        raise ValueError(f"the prompt is {_short_repr(prompt)}: it must be a text; chats and images go into messages")
    if not isinstance(request["messages"], list) or not request["messages"]:
        raise ValueError(f"messages is {_short_repr(request['messages'])}: it must be a list of at least one message")
    if not isinstance(request.get("model"), str):
        raise ValueError(f"the model is {_short_repr(request.get('model'))}: name one here or as the default")
    return None if name is None else str(name), request


def _parse_value(line: bytes | str) -> Any:
    """Return the JSON of a line that begins as JSON does; any other line is a prompt of plain text."""
    try:
        text = (line.decode("utf-8-sig") if isinstance(line, bytes) else line).strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 ({error.reason}): save the file as UTF-8") from None
    if not text.startswith(("{", "[", '"')):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"not JSON ({error}): a prompt of plain text that begins with {text[0]} needs quotes"
        ) from None


def _canonical_json(request: dict[str, Any]) -> bytes:
    try:
        return json.dumps(request, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{error.object[error.start]!r} is half a character, which UTF-8 cannot hold: remove it"
        ) from None
    except ValueError:
        raise ValueError("a number is NaN or Infinity, which JSON cannot hold: give a finite one") from None


def _short_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_answers(lines: Iterable[bytes]) -> tuple[set[str], int]:
    """Return the ids of the answers without an error, and the size of the file without a last line that is torn.

    Raises `ValueError` for a line that is no answer, so that no file of another kind is overwritten.
    """
    answered: set[str] = set()
    size = 0
    for number, line in enumerate(lines, 1):
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            # After a loss of power, a file may hold NULs where its last lines were not written yet.
            written = line.rstrip(b"\0")
            if not line.endswith(b"\n") and written.startswith(_LINE_START[: len(written)]):
                break
            answer = None
        if not isinstance(answer, dict) or "completion" not in answer or not isinstance(answer.get("id"), str):
            raise ValueError(f"line {number} of the answers is no answer: correct or remove it, or name another file")
        size += len(line)
        if answer["completion"] is not None and "error" not in answer:
            answered.add(answer["id"])
    return answered, size


def build_answer(prompt: Prompt, completion: ChatCompletion | None, error: BaseException | None = None) -> Answer:
    """Return the answer to write: the completion, and the error if the completion is partial."""
    body = None if completion is None else completion.to_dict(mode="json", warnings=False)
    answer: Answer = {"id": prompt.id, "completion": body}
    if error is not None:
        fields = {
            "type": type(error).__name__,
            "message": str(error) or "the run was stopped",
            "status": getattr(error, "status_code", None),
            "code": getattr(error, "code", None),
        }
        answer["error"] = {name: value for name, value in fields.items() if value is not None}
    return answer


def encode_answer(answer: Answer) -> bytes:
    """Return the line of an answer, with the characters of any language unescaped."""
    try:
        return json.dumps(answer, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # half a character, which a model may send
        return json.dumps(answer).encode() + b"\n"

"""What to ask, what is answered already, and what an error means for the rest: no I/O, no clock, no waiting."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable

    from openai.types.chat import ChatCompletion

__all__ = ["Answer", "Prompt", "answer_to", "encoded", "read_answers", "read_prompts"]

Answer: TypeAlias = dict[str, Any]
"""`{"id": ..., "completion": {...}}`; a failure has an `"error"`, too, and its completion is as far as it came."""

_LINE_BEGINS = b'{"id": "'


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request, under the id that its answer will have."""

    id: str
    """Given in its line, or made of the request."""
    request: dict[str, Any]
    """The JSON body that is sent."""


def read_prompts(lines: Iterable[bytes | str], **defaults: Any) -> list[Prompt]:
    """Read JSON Lines: each a text, or an object with `prompt` or `messages`, perhaps `id`, and request fields.

    `defaults` are request fields for the lines without them, such as `model`. An id that is not given is made of
    the request, so that it stays the same when lines are added or moved; the same request twice is asked twice.

    Raises `ValueError` that names the line, before anything is asked.
    """
    prompts: dict[str, Prompt] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            given, request = _read_line(line, defaults)
            made = hashlib.sha256(_canonical(request)).hexdigest()[:16]
        except ValueError as error:
            raise ValueError(f"line {number} of the prompts: {error}") from None
        except RecursionError:
            raise ValueError(f"line {number} of the prompts: nested too deeply") from None
        name = made if given is None else given
        if given in prompts:
            raise ValueError(f"line {number} of the prompts: the id {given!r} is taken by a line before it")
        count = 1
        while name in prompts:
            count += 1
            name = f"{made}-{count}"
        prompts[name] = Prompt(name, request)
    return list(prompts.values())


def _read_line(line: bytes | str, defaults: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ValueError(f"not JSON ({error}); a prompt of plain text needs quotes") from None
    fields = {"prompt": value} if isinstance(value, str) else value
    if not isinstance(fields, dict):
        raise ValueError(f"a text or an object is wanted, not {_shown(value)}")
    request = {**defaults, **fields, "stream": True}
    name, prompt = request.pop("id", None), request.pop("prompt", None)
    if name is not None and (isinstance(name, bool) or not isinstance(name, (str, int))):
        raise ValueError(f"the id must be a text or a whole number, not {_shown(name)}")
    if (prompt is None) == (request.get("messages") is None):
        raise ValueError("either a prompt or messages are wanted")
    if prompt is not None:
        request["messages"] = [{"role": "user", "content": prompt}]
    if not isinstance(prompt, (str, type(None))):
        raise ValueError(f"the prompt must be a text, not {_shown(prompt)}: chats and images go into messages")
    if not isinstance(request["messages"], list) or not request["messages"]:
        raise ValueError(f"messages must be a list with something in it, not {_shown(request['messages'])}")
    if not isinstance(request.get("model"), str):
        raise ValueError("it names no model, and there is no default")
    return None if name is None else str(name), request


def _canonical(request: dict[str, Any]) -> bytes:
    try:
        return json.dumps(request, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"half a character ({error.object[error.start]!r}) cannot be sent") from None
    except ValueError:
        raise ValueError("a number that JSON does not have (NaN or Infinity) cannot be sent") from None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_answers(lines: Iterable[bytes]) -> tuple[set[str], int]:
    """Return the ids that are answered without an error, and the bytes up to where a kill tore the last line.

    Raises `ValueError` for a line that is no answer, so that a file of another kind is never written to.
    """
    answered: set[str] = set()
    whole = 0
    for number, line in enumerate(lines, 1):
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            if not line.endswith(b"\n") and line.startswith(_LINE_BEGINS[: len(line)]):
                break
            answer = None
        if not isinstance(answer, dict) or "completion" not in answer or not isinstance(answer.get("id"), str):
            raise ValueError(f"line {number} of the answers is none: mend or remove it, or name another file")
        whole += len(line)
        if answer["completion"] is not None and "error" not in answer:
            answered.add(answer["id"])
    return answered, whole


def answer_to(prompt: Prompt, completion: ChatCompletion | None, error: BaseException | None = None) -> Answer:
    """Return the answer as it is written: what came, and the error if that is not all."""
    body = None if completion is None else completion.to_dict(mode="json", warnings=False)
    answer: Answer = {"id": prompt.id, "completion": body}
    if error is not None:
        facts = {
            "type": type(error).__name__,
            "message": str(error) or "the run was stopped",
            "status": getattr(error, "status_code", None),
            "code": getattr(error, "code", None),
        }
        answer["error"] = {name: fact for name, fact in facts.items() if fact is not None}
    return answer


def encoded(answer: Answer) -> bytes:
    """Return the line of an answer, readable in any language."""
    try:
        return json.dumps(answer, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # a model's half of a character
        return json.dumps(answer).encode() + b"\n"

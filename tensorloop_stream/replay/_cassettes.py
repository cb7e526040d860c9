"""Read cassettes of vcrpy (YAML, version 1) into interactions."""

import dataclasses
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ._answers import Answer, frames_of
from ._bodies import read_body
from ._http import reason_of
from ._matching import Interaction, Recordings
from ._replay_key import read_replay_key
from ._rules import EXACT, Rule
from ._spelling import check_file_keys, check_keys

# The replay sends its own: it frames the answer itself (RFC 9110, section 7.6.1), and decides which origins may read.
_OF_THE_SERVER = re.compile(
    r"connection|content-length|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade"
    r"|access-control-.*",
    re.IGNORECASE,
)

# A field of an event, or a comment.
_BEGINS_EVENTS = re.compile(rb"\s*(data|event|id|retry)?:").match

Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


def read_cassettes(paths: Paths, general: Rule = EXACT) -> Recordings:
    """Read cassette files, and folders of them, in the order of their names; a general rule completes theirs.

    Raises `ValueError` with one line that names the file and what is wrong, and `ModuleNotFoundError`
    without PyYAML.
    """
    each = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files = [file for path in each for file in _files(Path(path))]
    doubts: list[str] = []
    found = [interaction for file in files for interaction in _read(file, general, doubts)]
    bodies = [interaction.body for interaction in found]
    general.require_fields(bodies)
    return Recordings(found, (*doubts, *general.idle_patterns(bodies)))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix in {".yaml", ".yml"} and file.is_file())
    if not files:
        raise ValueError(f"{path}: no .yaml or .yml file in this folder")
    return files


def _read(file: Path, general: Rule, doubts: list[str]) -> list[Interaction]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}{_elsewhere(file)}") from None
    cassette = _load_yaml(file, data)
    interactions: Any = cassette.get("interactions") if isinstance(cassette, dict) else None
    _require(isinstance(interactions, list), f"{file}: not a cassette of vcrpy, it has no list of interactions")
    version = cassette.get("version")
    _require(version is not None, f"{file}: it does not say version: 1, as the cassettes of vcrpy do")
    _require(version == 1, f"{file}: a cassette of version {version}, not 1")
    _require(bool(interactions), f"{file}: no interaction was recorded")
    found: list[Interaction] = []
    try:
        check_file_keys(cassette)
        of_file = read_replay_key(cassette.get("replay"), of_file=True).rule
        for number, recorded in enumerate(interactions, 1):
            try:
                interaction, own = _interaction(str(file), recorded, of_file.over(general))
            except ValueError as error:
                raise ValueError(f"interaction {number}: {error}") from None
            found.append(interaction)
            doubts += [f"{file}: interaction {number}: {each}" for each in own.idle_patterns([interaction.body])]
        bodies = [interaction.body for interaction in found]
        of_file.require_fields(bodies)
        doubts += [f"{file}: {each}" for each in of_file.idle_patterns(bodies)]
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return found


def _elsewhere(file: Path) -> str:
    """Return where the recorded streams of this package are, if a file has the name of their folder and is not here."""
    package = Path(__file__).parents[1]
    # In a wheel, and in a clone.
    folders = [each for each in (package / "recipes/cassettes", package.parent / "cassettes") if each.is_dir()]
    return f"; those of this package are in {folders[0]}" if str(file) == "cassettes" and folders else ""


def load_yaml_module() -> Any:
    """Return the module `yaml`; raises `ModuleNotFoundError` that names the extra it belongs to."""
    try:
        import yaml  # noqa: PLC0415  # an extra: without it, the error is one sentence
    except ModuleNotFoundError:
        message = 'a replay reads YAML, which needs PyYAML: pip install "tensorloop_stream[replay]"'
        raise ModuleNotFoundError(message, name="yaml") from None
    return yaml


def _load_yaml(file: Path, data: bytes) -> Any:
    yaml = load_yaml_module()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(data, Loader=loader)  # both are safe loaders
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{file}: not YAML{line}: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: not YAML: {' '.join(str(error).split())}") from None


def _interaction(file: str, recorded: Any, general: Rule) -> tuple[Interaction, Rule]:
    """Return an interaction and its own rule."""
    check_keys(recorded)
    method, uri = (_text(recorded, "request", name) for name in ("method", "uri"))
    body = _bytes(_part(recorded, "request", "body"), "request.body")
    try:
        value = read_body(body)
    except ValueError:
        value = body.decode(errors="replace")
    if isinstance(value, dict) and isinstance(model := value.get("model"), str):
        # A program was recorded while it asked another replay for a fault.
        value["model"] = model.partition("?")[0]
    status = _part(recorded, "response", "status", "code")
    _require(
        isinstance(status, int) and 200 <= status <= 599,
        f"response.status.code is {status!r}, not an HTTP status",
    )
    message = _part(recorded, "response", "status", "message")
    reason = message if isinstance(message, str) and message.isprintable() else reason_of(status)
    headers = tuple(_headers(_part(recorded, "response", "headers")))
    content = _bytes(_part(recorded, "response", "body", "string"), "response.body.string")
    answer = _answer(status, reason, headers, content)
    key = read_replay_key(recorded.get("replay"))
    key.rule.require_fields([value])
    answer = dataclasses.replace(answer, times=_checked(key.times, answer), is_cut=key.cut)
    path = key.path or urlsplit(uri).path or "/"
    return Interaction(file, method, path, value, answer, key.rule.over(general.for_recorded(value))), key.rule


def _checked(times: tuple[float, ...] | None, answer: Answer) -> tuple[float, ...] | None:
    parts = 1 if answer.frames is None else len(answer.frames)
    if times is not None and len(times) != 1 + parts:
        what = "the body" if answer.frames is None else f"each of {parts} events and comments"
        raise ValueError(f"replay.times has {len(times)} numbers, not one for the headers and for {what}")
    return times


def _answer(status: int, reason: str, headers: tuple[tuple[str, str], ...], body: bytes) -> Answer:
    named = {name.lower(): value for name, value in headers}
    if "content-type" not in named and status == 200 and _BEGINS_EVENTS(body):
        # A cassette written by hand may lack the header: the body shows that it is an event stream.
        headers = (*headers, ("content-type", "text/event-stream"))
    elif not named.get("content-type", "").lower().startswith("text/event-stream"):
        return Answer(status, reason, headers, body)
    if named.get("content-encoding", "identity") != "identity":
        raise ValueError("a compressed event stream: record it with decode_compressed_response=True")
    return Answer(status, reason, headers, frames=tuple(frames_of(body)))


def _headers(recorded: Any) -> Iterator[tuple[str, str]]:
    for name, values in recorded.items() if isinstance(recorded, dict) else ():
        for value in values if isinstance(values, list) else [values]:
            line = f"{name}: {value}"
            if not line.isprintable():
                raise ValueError(f"response.headers has a line that cannot be sent: {line!r}")
            if not _OF_THE_SERVER.fullmatch(str(name)):
                yield str(name), str(value)


def _part(recorded: Any, *names: str) -> Any:
    """Return the value at a path of names; `None` if only the last name is missing, as in a request without a body."""
    *outer, last = names
    for depth, name in enumerate(outer, 1):
        recorded = recorded.get(name) if isinstance(recorded, dict) else None
        where = ".".join(outer[:depth])
        _require(recorded is not None, f"there is no {where}")
        _require(isinstance(recorded, dict), f"{where} is {recorded!r:.40}, where {where}.{names[depth]} is wanted")
    return recorded.get(last)


def _text(recorded: Any, *names: str) -> str:
    text = _part(recorded, *names)
    _require(isinstance(text, str), f"there is no {'.'.join(names)}")
    return str(text)


def _bytes(content: Any, where: str) -> bytes:
    if isinstance(content, bytes):
        return content
    _require(content is None or isinstance(content, str), f"{where} is neither text nor bytes")
    return (content or "").encode()


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)

"""Every cassette is readable, says where it is from, and holds nothing that it should not."""

import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cassette
import pytest

README = (cassette.FOLDER / "README.md").read_text(encoding="utf-8")
FILES = sorted(cassette.FOLDER.rglob("*.yaml"))
each_cassette = pytest.mark.parametrize(
    "path", FILES, ids=[path.relative_to(cassette.FOLDER).with_suffix("").as_posix() for path in FILES]
)

PRIVATE = {
    "a key": r"(?<![A-Za-z0-9])(?:tl_|sk-)[A-Za-z0-9.*_-]{3,}",
    "a hash of a key": r"\b[0-9a-f]{64}\b",
    "a bearer token": r"(?i)\bbearer\b|authorization",
    "a cookie": r"(?i)\bcookie",
    "a path of a machine": r"/(?:home|root|tmp|usr|var|opt|Users|work)/|[A-Z]:\\\\|site-packages|\.py\b",
    "an address of a machine": r"localhost|\b(?:127|10|192\.168|172\.(?:1[6-9]|2\d|3[01]))(?:\.\d{1,3}){2,3}\b",
}


@cache
def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = cassette.Serializer.deserialize(path.read_bytes().decode())
    return found


def interactions(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document(path)["interactions"]
    return found


def test_there_are_cassettes() -> None:
    """Else the tests below pass for nothing."""
    assert len(FILES) >= 35


@each_cassette
def test_it_holds_whole_interactions(path: Path) -> None:
    """The structure that vcrpy and the replay server read."""
    recorded = interactions(path)

    assert recorded
    for interaction in recorded:
        assert set(interaction["request"]) == {"method", "uri", "body", "headers"}
        assert set(interaction["response"]) == {"status", "headers", "body"}
        assert isinstance(interaction["response"]["body"]["string"], str)


@each_cassette
def test_the_readme_says_where_it_is_from(path: Path) -> None:
    """A recording that nobody can make again proves little."""
    name = path.relative_to(cassette.FOLDER).as_posix()

    assert f"]({name})" in README
    assert {"recorded", "source", "openai", "vcrpy"} <= set(document(path)["metadata"])


@each_cassette
def test_writing_it_again_changes_no_byte(path: Path) -> None:
    """Nobody edited it, and nothing in it is lost in YAML."""
    text = path.read_bytes().decode()

    assert cassette.Serializer.serialize(cassette.Serializer.deserialize(text)) == text


@each_cassette
def test_scrubbing_it_again_changes_nothing(path: Path) -> None:
    """It was recorded with the rules of today."""
    for interaction in interactions(path):
        response = interaction["response"]
        body = {"string": response["body"]["string"].encode()}

        assert cassette.scrub_response(response | {"body": body}) == response | {"body": body}


@each_cassette
def test_it_holds_nothing_private(path: Path) -> None:
    """Keys, tokens, cookies, and what tells of the machine it was recorded on."""
    text = path.read_bytes().decode()

    assert {what: found[0] for what, pattern in PRIVATE.items() if (found := re.search(pattern, text))} == {}


@each_cassette
def test_it_was_asked_of_the_service(path: Path) -> None:
    """Cassettes replay under the address that people use."""
    service = urlsplit(cassette.SERVICE)

    for interaction in interactions(path):
        asked = urlsplit(interaction["request"]["uri"])
        assert (asked.scheme, asked.netloc) == (service.scheme, service.netloc)
        api = "responses" if path.parent.name == "responses" else "chat/completions"
        assert asked.path == f"{service.path}/{api}"


@each_cassette
def test_it_has_only_headers_that_somebody_reads(path: Path) -> None:
    """An allow-list, in requests down to the content type."""
    for interaction in interactions(path):
        assert {name.lower() for name in interaction["request"]["headers"]} == {"content-type"}
        assert all(cassette.KEPT_HEADERS.fullmatch(name) for name in interaction["response"]["headers"])


def test_no_two_cassettes_answer_the_same_request() -> None:
    """A folder can be served as one: which answer is meant is then plain."""
    bodies = [interaction["request"]["body"] for path in FILES for interaction in interactions(path)]

    assert len(set(bodies)) == len(bodies)

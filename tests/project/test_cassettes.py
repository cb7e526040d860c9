"""The cassettes: readable, of known origin, and without private data."""

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
    """The tests below would pass without any."""
    assert len(FILES) >= 35


@each_cassette
def test_a_cassette_has_whole_interactions(path: Path) -> None:
    """vcrpy and the replay server read this structure."""
    recorded = interactions(path)

    assert recorded
    for interaction in recorded:
        assert set(interaction["request"]) == {"method", "uri", "body", "headers"}
        assert set(interaction["response"]) == {"status", "headers", "body"}
        assert isinstance(interaction["response"]["body"]["string"], str)


@each_cassette
def test_the_readme_says_where_a_cassette_is_from(path: Path) -> None:
    """A recording proves little if it cannot be repeated."""
    name = path.relative_to(cassette.FOLDER).as_posix()

    assert f"]({name})" in README
    assert {"recorded", "source", "openai", "vcrpy"} <= set(document(path)["metadata"])


@each_cassette
def test_serializing_a_cassette_again_changes_no_byte(path: Path) -> None:
    """The file was not edited, and YAML loses nothing."""
    text = path.read_bytes().decode()

    assert cassette.Serializer.serialize(cassette.Serializer.deserialize(text)) == text


@each_cassette
def test_scrubbing_a_cassette_again_changes_nothing(path: Path) -> None:
    """The recording followed the present rules."""
    for interaction in interactions(path):
        response = interaction["response"]
        body = {"string": response["body"]["string"].encode()}

        assert cassette.scrub_response(response | {"body": body}) == response | {"body": body}


@each_cassette
def test_a_cassette_has_no_private_data(path: Path) -> None:
    """Private are keys, tokens, cookies, and names of the recording machine."""
    text = path.read_bytes().decode()

    assert {what: found[0] for what, pattern in PRIVATE.items() if (found := re.search(pattern, text))} == {}


@each_cassette
def test_the_requests_of_a_cassette_have_the_services_address(path: Path) -> None:
    """Cassettes replay under the address that users have."""
    service = urlsplit(cassette.SERVICE)

    for interaction in interactions(path):
        url = urlsplit(interaction["request"]["uri"])
        assert (url.scheme, url.netloc) == (service.scheme, service.netloc)
        api = "responses" if path.parent.name == "responses" else "chat/completions"
        # A response is taken up again by its id.
        assert re.fullmatch(rf"{service.path}/{api}(/resp_[\w=-]+)?", url.path)


@each_cassette
def test_a_cassette_has_only_allowed_headers(path: Path) -> None:
    """Requests keep their content type alone."""
    for interaction in interactions(path):
        kept = {"content-type"} if interaction["request"]["method"] == "POST" else set()
        assert {name.lower() for name in interaction["request"]["headers"]} == kept
        assert all(cassette.KEPT_HEADERS.fullmatch(name) for name in interaction["response"]["headers"])


def test_no_two_cassettes_answer_the_same_request() -> None:
    """A folder can be served as one, because the answer to a request is unique."""
    bodies = [interaction["request"]["body"] for path in FILES for interaction in interactions(path)]

    assert len(set(bodies)) == len(bodies)

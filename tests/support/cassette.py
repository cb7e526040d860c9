"""Settings for recording, writing and replaying cassettes, shared by the recording and the tests."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import vcr  # type: ignore[import-untyped]  # vcrpy publishes no types
import yaml
from vcr.persisters.filesystem import CassetteNotFoundError  # type: ignore[import-untyped]  # as above
from vcr.serialize import deserialize, serialize  # type: ignore[import-untyped]  # as above

SERVICE = "https://litellm.tensorloop.tech/v1"
FOLDER = Path(__file__).parents[2] / "cassettes"
# Plays the cassette of this name.
Play = Callable[[str], None]

KEPT_HEADERS = re.compile(
    r"content-type|retry-after|llm_provider-retry-after|rate_limit_type|reset_at|x-request-id"
    r"|x-litellm-(call-id|model-id|version|key-spend|key-max-budget)|x-ratelimit-.+",
    re.IGNORECASE,
)
# The forms of a key that LiteLLM and OpenAI repeat: whole, shortened with dots or stars, or as its SHA-256.
_KEY = re.compile(rb"(?<![A-Za-z0-9])(?:tl_|sk-)(?:[A-Za-z0-9_-]*(?:\.{3}|\*+)[A-Za-z0-9]{0,4}|[A-Za-z0-9_-]{8,})")
_KEY_HASH = re.compile(rb"\b[0-9a-f]{64}\b")
# The loader in C is thirty times as fast; not every PyYAML has it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Request(Protocol):
    """The part of vcrpy's request that this module reads and changes."""

    uri: str
    headers: Mapping[str, Any]
    body: bytes | None


class Serializer:
    """Cassettes as text, in vcrpy's structure."""

    @staticmethod
    def serialize(cassette: Mapping[str, Any]) -> str:
        # No folding: a line of the file is a line of the body, however long.
        return yaml.dump(cassette, Dumper=_ReadableDumper, allow_unicode=True, sort_keys=False, width=float("inf"))

    @staticmethod
    def deserialize(text: str) -> Any:
        return yaml.load(text, Loader=_LOADER)


class Persister:
    """Cassettes as UTF-8 files with LF; vcrpy's own persister uses the encoding of the locale."""

    @staticmethod
    def load_cassette(path: str, serializer: Serializer) -> Any:
        try:
            data = Path(path).read_bytes()
        except FileNotFoundError as error:
            raise CassetteNotFoundError from error
        return deserialize(data.decode(), serializer)

    @staticmethod
    def save_cassette(path: str, cassette: Mapping[str, Any], serializer: Serializer) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(serialize(cassette, serializer).encode())


class _ReadableDumper(yaml.SafeDumper):
    """A dumper that writes literal blocks if YAML can hold the text unchanged, else quotes, one line per line."""

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        self.write_indicator('"', need_whitespace=True)
        lines = [json.dumps(line, ensure_ascii=False)[1:-1] for line in text.split("\n")]
        for number, line in enumerate(lines):
            if number:
                self.stream.write("\\n\\")
                self.write_line_break()
                self.write_indent()
            escaped = _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
            # The reader drops the spaces that a continued line begins with.
            self.stream.write(f"\\{escaped}" if escaped.startswith(" ") else escaped)
        self.column += 1
        self.write_indicator('"', need_whitespace=False)


# YAML 1.1 takes the first three for line breaks (and PyYAML reads U+0085 back as LF), YAML 1.2 does not.
_UNSAFE = re.compile("[\x85\u2028\u2029\x7f-\x9f\ufeff\ufffe\uffff]")


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text or text.startswith(("{", "[")):
        style = '"' if _UNSAFE.search(text) else "|"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_ReadableDumper.add_representer(str, _represent_text)


def scrub_request(request: Request) -> Request:
    """Keep the content type and the body, indented."""
    request.headers = {name: value for name, value in request.headers.items() if name.lower() == "content-type"}
    if request.body:
        request.body = json.dumps(json.loads(request.body), ensure_ascii=False, indent=2).encode()
    return request


def scrub_response(response: dict[str, Any]) -> dict[str, Any]:
    """Keep the allowed headers, and remove every form of the key from the body."""
    headers = {name.lower(): value for name, value in response["headers"].items() if KEPT_HEADERS.fullmatch(name)}
    body = _KEY_HASH.sub(b"[hash]", _KEY.sub(b"[key]", response["body"]["string"]))
    return response | {"headers": headers, "body": {"string": body}}


def cassettes(record_mode: str, *, recorded_at: str = SERVICE) -> vcr.VCR:
    """Return the VCR for this record mode; it records the base URL ``recorded_at`` as the service's."""

    def scrub(request: Request) -> Request:
        if request.uri.startswith(recorded_at):
            request.uri = SERVICE + request.uri.removeprefix(recorded_at)
        return scrub_request(request)

    configured = vcr.VCR(
        cassette_library_dir=str(FOLDER),
        record_mode=record_mode,
        serializer="readable",
        match_on=("method", "scheme", "host", "port", "path", "query", "body"),
        decode_compressed_response=True,
        before_record_request=scrub,
        before_record_response=scrub_response,
    )
    configured.register_serializer("readable", Serializer)
    configured.register_persister(Persister)
    return configured

"""Remove keys from an exchange: allow listed headers alone, and clear bodies and addresses; no I/O."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

_KEPT_REQUEST_HEADERS = re.compile("content-type", re.IGNORECASE)
_KEPT_RESPONSE_HEADERS = re.compile(
    r"content-type|retry-after(-ms)?|llm_provider-retry-after(-ms)?|rate_limit_type|reset_at|x-request-id"
    r"|x-litellm-(call-id|model-id|version|key-spend|key-max-budget)|x-ratelimit-.+",
    re.IGNORECASE,
)
_KEY_HEADERS = ("authorization", "proxy-authorization", "api-key", "x-api-key")
_KEY_FIELDS = re.compile(r".*(key|token|secret|sig|signature|password|auth).*", re.IGNORECASE)
# Shorter ones would be found in other words; no service gives them out.
_SHORTEST_KEY = 8
# What gateways echo of a key: whole, or shortened with dots or stars; and, in errors, as its SHA-256.
_KEY = re.compile(rb"(?<![A-Za-z0-9])(?:tl_|sk-)(?:[A-Za-z0-9_-]*(?:\.{3}|\*+)[A-Za-z0-9]{0,4}|[A-Za-z0-9_-]{8,})")
_HASH = re.compile(rb"\b[0-9a-f]{64}\b")


@dataclass(frozen=True, slots=True)
class Scrubber:
    """Takes the keys of one request out of all that is kept of its exchange."""

    secrets: tuple[bytes, ...]

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        """Return the scrubber for the keys in the headers of a request, whose names are in lower case."""
        values = [headers.get(name, "").rpartition(" ")[2] for name in _KEY_HEADERS]
        keys = [value.encode() for value in values if len(value) >= _SHORTEST_KEY]
        return cls((*keys, *(hashlib.sha256(key).hexdigest().encode() for key in keys)))

    def body(self, data: bytes, *, is_error: bool = False) -> bytes:
        """Return a body without keys; without any hashes too, if it is that of an error."""
        for secret in self.secrets:
            data = data.replace(secret, b"[key]")
        data = _KEY.sub(b"[key]", data)
        return _HASH.sub(b"[hash]", data) if is_error else data

    def uri(self, uri: str) -> str:
        """Return an address without a user's name and password, and without the keys in its query."""
        parts = urlsplit(uri)
        query = [(name, value) for name, value in parse_qsl(parts.query, True) if not _KEY_FIELDS.fullmatch(name)]
        clean = parts._replace(netloc=parts.netloc.rpartition("@")[2], query=urlencode(query), fragment="")
        return self.body(urlunsplit(clean).encode()).decode()


def kept_request_headers(headers: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the headers of a request that a cassette keeps."""
    return _kept(headers.items(), _KEPT_REQUEST_HEADERS)


def kept_response_headers(headers: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the headers of a response that a cassette keeps."""
    return _kept(headers, _KEPT_RESPONSE_HEADERS)


def _kept(headers: Iterable[tuple[str, str]], names: re.Pattern[str]) -> dict[str, list[str]]:
    kept: dict[str, list[str]] = {}
    for name, value in headers:
        if names.fullmatch(name):
            kept.setdefault(name.lower(), []).append(value)
    return kept

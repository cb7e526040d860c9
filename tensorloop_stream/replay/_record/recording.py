"""One exchange as it is recorded: its parts and their times, to an interaction of a cassette. No I/O."""

import json
import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tensorloop_stream.replay._answers import data_of, frames_of
from tensorloop_stream.replay._http import Request

from .scrub import Scrubber, kept_request_headers, kept_response_headers

# After these events of the Responses API nothing more is to come; a chat completion ends with [DONE].
_LAST_EVENT = re.compile(rb'"type":\s*"response\.(completed|failed|incomplete)"')


class NotKeptError(ValueError):
    """An exchange cannot be kept as a cassette."""


@dataclass(slots=True)
class Recording:
    """Collects an exchange; all times are in seconds of one clock."""

    request: Request
    uri: str
    asked: float
    status: int = 0
    reason: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    is_cut: bool = False
    """Whether the end is missing."""
    _answered: float = 0.0
    _body: bytearray = field(default_factory=bytearray)
    _reads: list[tuple[int, float]] = field(default_factory=list)

    def begin(self, status: int, reason: str, headers: list[tuple[str, str]], now: float) -> None:
        """Take the head of the response."""
        self.status, self.reason, self.headers, self._answered = status, reason, headers, now

    def add(self, data: bytes, now: float) -> None:
        """Take the bytes of one read."""
        self._body += data
        self._reads.append((len(self._body), now))

    @property
    def is_stream(self) -> bool:
        """Whether the response is an event stream."""
        return self._header("content-type").startswith("text/event-stream")

    @property
    def is_over(self) -> bool:
        """Whether a client knows that nothing more is to come, although the body has not ended."""
        if not self.is_stream:
            return False
        end = len(self._body)
        while end and self._body[end - 1] in b"\r\n":
            end -= 1
        start = max(self._body.rfind(blank, 0, end) for blank in (b"\n\n", b"\n\r\n", b"\r\r"))
        data = data_of(bytes(self._body[max(start, 0) : end]))
        return data == b"[DONE]" or _LAST_EVENT.search(data) is not None

    @property
    def events(self) -> int:
        """The number of events so far."""
        return sum(frame.is_event for frame in frames_of(bytes(self._body))) if self.is_stream else 0

    @property
    def duration(self) -> float:
        """The time from the request to the last read."""
        return (self._reads[-1][1] if self._reads else self._answered) - self.asked

    def interaction(self) -> dict[str, Any]:
        """Return what a cassette holds of the exchange, without keys; raises `NotKeptError`."""
        if self.is_cut and not self.is_stream:
            raise NotKeptError("the answer is not whole, and no stream")
        if (coding := self._header("content-encoding")) not in {"", "identity"}:
            raise NotKeptError(f"the body is compressed by {coding}, although that was not asked for")
        scrubber = Scrubber.of(self.request.headers)
        body = bytes(self._body)
        kept: dict[str, Any] = {"times": self._times(body)}
        if self.is_cut:
            kept["cut"] = True
        if urlsplit(self.uri).path != self.request.path:
            kept["path"] = self.request.path
        return {
            "request": {
                "method": self.request.method,
                "uri": scrubber.uri(self.uri),
                "body": _text(scrubber.body(_laid_out(self.request.body))) or None,
                "headers": kept_request_headers(self.request.headers),
            },
            "response": {
                "status": {"code": self.status, "message": self.reason},
                "headers": kept_response_headers(self.headers),
                "body": {"string": _text(scrubber.body(body, is_error=self.status >= 400))},
            },
            "replay": kept,
        }

    def _times(self, body: bytes) -> list[float]:
        """Return the times of the headers and of each event: that of the read with its last byte."""
        times, end, reads = [self._answered], 0, iter(self._reads)
        read, now = next(reads, (0, self._answered))
        for size in [len(frame.data) for frame in frames_of(body)] if self.is_stream else [len(body)]:
            end += size
            while read < end:
                read, now = next(reads)
            times.append(now)
        return [round(time - self.asked, 3) for time in times]

    def _header(self, name: str) -> str:
        return next((value.strip().lower() for key, value in self.headers if key.lower() == name), "")


def _laid_out(body: bytes) -> bytes:
    """Return a JSON body on lines of its own, to be read; any other as it is."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body
    return json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8", "surrogatepass") if value else body


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data

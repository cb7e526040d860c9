"""The log of a server: what was asked, and who left before the end. No I/O."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._answers import Answer, json_answer
from ._bodies import read_body
from ._http import Request

_SECRET = frozenset(["api-key", "authorization", "cookie", "proxy-authorization", "x-api-key"])


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request that a replay received.

    For example:

        with ReplayServer("cassettes") as server:
            client = Tensorloop(base_url=server.base_url, api_key="none")
            ChatStream(client.chat.completions.create(**request, stream=True)).until_done()
        [received] = server.requests
        print(received.method, received.path, received.body["model"])
    """

    method: str
    """The HTTP method, such as `POST`."""
    path: str
    """The path of the URL, without the query."""
    headers: Mapping[str, str]
    """The headers, with names in lower case; of a key, only the scheme is kept (`Bearer ***`)."""
    body: Any
    """The JSON value of the body, any other text unchanged, or `None`."""
    time: float
    """The arrival, in seconds of `time.monotonic()`."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A client that disconnected before its answer was complete.

    For example:

        with ReplayServer("cassettes", stall_after=7) as server:
            client = Tensorloop(base_url=server.base_url, api_key="none")
            with ChatStream(client.chat.completions.create(**request, stream=True)) as stream:
                next(stream.text_stream)  # and leave
            server.wait_until_idle()
        print([disconnect.events for disconnect in server.disconnects])
    """

    request: ReceivedRequest
    """The request."""
    events: int
    """The number of events sent before."""
    time: float
    """The moment of notice, in seconds of `time.monotonic()`."""


@dataclass(slots=True)
class Exchange:
    """A request and the progress of its answer; `complete` once no event is left to send."""

    request: ReceivedRequest
    problem: str | None = None
    """Why the body cannot be read as JSON."""
    events: int = 0
    complete: bool = False


@dataclass(slots=True)
class Log:
    """All exchanges of a server so far."""

    requests: list[ReceivedRequest] = field(default_factory=list)
    disconnects: list[Disconnect] = field(default_factory=list)
    finished: int = 0

    def begin(self, request: Request) -> Exchange:
        """Add a request."""
        problem = None
        try:
            body = read_body(request.body)
        except ValueError as error:
            body, problem = request.body.decode(errors="replace"), str(error)
        headers = {name: _redacted(name, value) for name, value in request.headers.items()}
        received = ReceivedRequest(request.method, request.path, headers, body, time.monotonic())
        self.requests.append(received)
        return Exchange(received, problem)

    def end(self, exchange: Exchange, *, left: bool = False) -> None:
        """Close an exchange; `left` tells that the client went away."""
        if left and not exchange.complete:
            self.disconnects.append(Disconnect(exchange.request, exchange.events, time.monotonic()))
        else:
            self.finished += 1

    @property
    def active(self) -> int:
        """The number of requests in progress."""
        return len(self.requests) - self.finished - len(self.disconnects)

    def stats(self) -> Answer:
        """Return the answer to `GET /stats`; its times are Unix times in seconds."""
        epoch = time.time() - time.monotonic()
        left_early = [
            {
                "path": each.request.path,
                "model": each.request.body.get("model") if isinstance(each.request.body, dict) else None,
                "events": each.events,
                "started": epoch + each.request.time,
                "noticed": epoch + each.time,
            }
            for each in self.disconnects
        ]
        started = len(self.requests)
        return json_answer(
            200,
            {"started": started, "finished": self.finished, "left_early": left_early, "active": self.active},
        )


def _redacted(name: str, value: str) -> str:
    if name not in _SECRET:
        return value
    scheme, space, _ = value.partition(" ")
    return f"{scheme} ***" if space and name.endswith("authorization") else "***"

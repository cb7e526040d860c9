"""What the replay answers to each request, and its log. No I/O."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._answers import Answer, error_answer, json_answer
from ._faults import Faults, split_model
from ._http import Request, reason_of
from ._matching import Key, Recordings, key_of, read_body

_SECRET = frozenset(["api-key", "authorization", "cookie", "proxy-authorization", "x-api-key"])


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request that a replay was asked."""

    method: str
    """`POST` and the like."""
    path: str
    """That of the URL, without the query."""
    headers: Mapping[str, str]
    """The names in lower case; of keys only the scheme is kept (`Bearer ***`)."""
    body: Any
    """The JSON value, other text as it came, or `None`."""
    time: float
    """When it came, in seconds of `time.monotonic()`."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """A client that left before its answer was whole."""

    request: ReceivedRequest
    """What it had asked."""
    events: int
    """How many had been sent."""
    time: float
    """When it was noticed, in seconds of `time.monotonic()`."""


@dataclass(slots=True)
class Exchange:
    """A request and how far its answer has come; `complete` once there is no more event to come."""

    request: ReceivedRequest
    answer: Answer
    faults: Faults
    events: int = 0
    complete: bool = False


@dataclass(slots=True)
class Playback:
    """Chooses the answers and remembers what was asked and who left."""

    recordings: Recordings
    faults: Faults
    requests: list[ReceivedRequest] = field(default_factory=list)
    disconnects: list[Disconnect] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)
    finished: int = 0
    _played: Counter[Key] = field(default_factory=Counter)
    _failed: Counter[Key] = field(default_factory=Counter)

    def begin(self, request: Request) -> Exchange:
        """Take a request into the log and choose its answer."""
        problem = None
        try:
            body = read_body(request.body)
            key = key_of(request.method, request.path, body)
        except ValueError as error:
            body, problem = request.body.decode(errors="replace"), str(error)
            key = key_of(request.method, request.path, body)
        headers = {name: _redacted(name, value) for name, value in request.headers.items()}
        received = ReceivedRequest(request.method, request.path, headers, body, time.monotonic())
        self.requests.append(received)
        return Exchange(received, *self._choose(received, key, problem))

    def end(self, exchange: Exchange, *, left: bool = False) -> None:
        """Close the log of an exchange; `left` tells that the client went away."""
        if left and not exchange.complete:
            self.disconnects.append(Disconnect(exchange.request, exchange.events, time.monotonic()))
        else:
            self.finished += 1

    @property
    def active(self) -> int:
        """How many requests are being answered."""
        return len(self.requests) - self.finished - len(self.disconnects)

    def stats(self) -> Answer:
        """Answer `GET /stats`; its times are Unix times in seconds."""
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

    def _choose(self, request: ReceivedRequest, asked: Key, problem: str | None) -> tuple[Answer, Faults]:
        body, faults, key = request.body, self.faults, asked
        if isinstance(body, dict) and isinstance(model := body.get("model"), str) and "?" in model:
            try:
                model, options = split_model(model)
                faults = faults.changed(options)
            except ValueError as error:
                return error_answer(400, str(error), param="model"), Faults()
            body = {**body, "model": model}
            key = key_of(request.method, request.path, body)
        if faults.fails is not None:
            if self._failed[asked] == faults.fails:
                faults = faults.without_failure()
            else:
                self._failed[asked] += 1
        if faults.status is not None:
            message = f"{faults.status} {reason_of(faults.status)}, as the replay was asked to answer"
            return error_answer(
                faults.status, message, error_type=faults.error_type, retry_after=faults.retry_after
            ), faults
        recorded = self.recordings.matching(key)
        if recorded:
            turn = min(self._played[key], len(recorded) - 1)
            self._played[key] += 1
            return recorded[turn].answer, faults
        if problem is not None:
            return error_answer(400, f"Invalid JSON payload: {problem}", param="request_body"), Faults()
        why = self.recordings.why_none(request.method, request.path, body)
        self.unmatched.append(why)
        return error_answer(404, why), Faults()


def _redacted(name: str, value: str) -> str:
    if name not in _SECRET:
        return value
    scheme, space, _ = value.partition(" ")
    return f"{scheme} ***" if space and name.endswith("authorization") else "***"

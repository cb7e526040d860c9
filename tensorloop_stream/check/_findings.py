"""The findings about a stream whose reads were timed. No I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from openai.types.chat import ChatCompletionChunk
from pydantic import ValidationError

from tensorloop_stream._chat.accumulator import ChatAccumulator
from tensorloop_stream._errors import StreamDecodeError
from tensorloop_stream._http.error_object import error_message
from tensorloop_stream._sse import SSEDecoder
from tensorloop_stream._stream.error_events import bare_error

# Reads that are no further apart belong to one burst: they arrived together, and were read one by one.
_TOGETHER = 0.003
# A proxy that buffers sends this many events at once, in so few bursts that each has several events.
_BURST = 8
_EVENTS_PER_BURST = 4
# A stream that is over so soon shows nothing: a fast model looks like a slow buffer.
_TOO_FAST = 0.3
_TOO_FEW = 12
_WAY_OUT = (
    "a proxy in between, such as nginx, buffers it. It stops if the response has the header X-Accel-Buffering: no "
    "(tensorloop_stream.SSE_HEADERS), or with proxy_buffering off"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; a problem makes the check fail."""

    label: str
    text: str
    is_problem: bool = False


@dataclass(frozen=True)
class Observed:
    """A stream as it was read; all times are in seconds since the request."""

    duration: float
    reads: tuple[tuple[float, bytes], ...] = ()
    content_type: str = ""
    asked_for_usage: bool = True
    cut: str | None = None
    """Why the connection broke."""
    error: str | None = None
    """Why there was no stream at all."""

    @cached_property
    def events(self) -> list[tuple[float, str]]:
        """The data of each event, with its time."""
        decoder = SSEDecoder()
        return [(at, event.data) for at, data in self.reads for event in decoder.feed(data)]

    @property
    def comments(self) -> int:
        """The number of comments, which keep a connection alive."""
        lines = b"".join(data for _, data in self.reads).splitlines()
        return sum(line.startswith(b":") for line in lines)

    @cached_property
    def bursts(self) -> list[int]:
        """The sizes of the bursts in which the events arrived."""
        sizes: list[int] = []
        began = float("-inf")
        for at, _ in self.events:
            if at - began > _TOGETHER:
                sizes.append(0)
                began = at
            sizes[-1] += 1
        return sizes


def findings_of(stream: Observed, model: str) -> Iterator[Finding]:
    """Yield the findings about a stream, in the order of the report."""
    if stream.error is not None:
        yield Finding("stream", f"none of {model}: {stream.error}", is_problem=True)
        return
    if not stream.content_type.startswith("text/event-stream"):
        kind = stream.content_type or "without a content type"
        yield Finding("stream", f"the answer is {kind}, not an event stream: is the base URL right?", is_problem=True)
        return
    try:
        events = stream.events
    except StreamDecodeError as error:
        yield Finding("stream", f"it cannot be read: {error}", is_problem=True)
        return
    if not events:
        why = "" if stream.cut is None else f": {stream.cut}"
        yield Finding("stream", f"no event arrived{why}", is_problem=True)
        return
    yield _pace(stream)
    yield _delivery(stream)
    yield from _content(stream)


def _pace(stream: Observed) -> Finding:
    times = [at for at, _ in stream.events]
    gap = max((later - earlier for earlier, later in pairwise(times)), default=0.0)
    text = (
        f"{len(times)} over {times[-1] - times[0]:.2f} s; first byte after {stream.reads[0][0]:.2f} s, "
        f"longest gap {gap:.2f} s"
    )
    return Finding("events", text)


def _delivery(stream: Observed) -> Finding:
    events, bursts = len(stream.events), len(stream.bursts)
    if events < _TOO_FEW:
        return Finding("delivery", f"not known: {events} events are too few to tell")
    if bursts * _EVENTS_PER_BURST > events or max(stream.bursts) < _BURST:
        return Finding("delivery", "each event comes when it is made")
    if stream.events[-1][0] < _TOO_FAST:
        return Finding(
            "delivery", "not known: the whole answer arrived at once, and too soon to tell a buffer from speed"
        )
    text = f"collapsed: {events} events arrived in {bursts} burst{'' if bursts == 1 else 's'}: {_WAY_OUT}"
    return Finding("delivery", text, is_problem=True)


def _content(stream: Observed) -> Iterator[Finding]:
    texts = [text for _, text in stream.events]
    accumulator, repaired = ChatAccumulator(), _Repairs(stream.comments)
    wrong = None
    for text in texts:
        if text == "[DONE]":
            break
        try:
            value = json.loads(text)
        except ValueError:
            wrong = f"an event is not JSON: {text!r:.60}"
            break
        if not isinstance(value, Mapping):
            wrong = f"an event is no chunk: {text!r:.60}"
            break
        if error := value.get("error") or (None if value.get("choices") else bare_error(value)):
            wrong = f"the gateway sent an error inside the stream: {error_message(error) or error!s:.200}"
            break
        accumulator.add(value)
        repaired.see(value)
    done = "[DONE]" in texts
    finish = accumulator.finish_reason
    if wrong is not None:
        yield Finding("stream", wrong, is_problem=True)
    if stream.cut is not None:
        yield Finding("stream", f"cut after {len(texts)} events: {stream.cut}", is_problem=True)
    is_whole = finish is not None or done
    is_silent = not is_whole and wrong is None and stream.cut is None
    why = ": a StreamTruncatedError here, and silence in the SDK" if is_silent else ""
    yield Finding("finish", f"{finish or 'no finish reason'}{why}", is_problem=not is_whole)
    yield Finding("[DONE]", "yes" if done else "no: the end of the connection is the end")
    usage = accumulator.usage
    if usage is not None:
        yield Finding("usage", f"{usage.prompt_tokens} tokens asked, {usage.completion_tokens} answered")
    else:
        yield Finding("usage", "none" if stream.asked_for_usage else "none: the gateway refuses stream_options")
    yield Finding("repaired", "; ".join(repaired.in_words()) or "nothing needs it")


class _Repairs:
    """Counts what is odd about chunks."""

    def __init__(self, comments: int) -> None:
        self._comments = comments
        self._chunks = 0
        self._roles = 0
        self._nulls = 0
        self._not_valid = 0
        self._fields: set[str] = set()

    def see(self, chunk: Mapping[str, Any]) -> None:
        """Look at one chunk."""
        self._chunks += 1
        choices = chunk.get("choices")
        deltas = [choice.get("delta") for choice in choices or () if isinstance(choice, Mapping)]
        self._nulls += choices is None or None in deltas
        self._roles += any(isinstance(delta, Mapping) and bool(delta.get("role")) for delta in deltas)
        try:
            ChatCompletionChunk.model_validate(chunk)
        except ValidationError as error:
            self._not_valid += 1
            places = [[part for part in each["loc"] if isinstance(part, str)] for each in error.errors()]
            self._fields |= {".".join(place) for place in places}

    def in_words(self) -> Iterator[str]:
        """Yield each oddity, with what becomes of it."""
        if self._nulls:
            yield f"{self._nulls} chunks without choices or delta, on which the SDK's accumulator raises"
        if self._roles > 1:
            yield f"the role in {self._roles} chunks, which the SDK's accumulator repeats"
        if self._not_valid:
            fields = ", ".join(sorted(self._fields))
            yield f"{self._not_valid} of {self._chunks} chunks that are not as the SDK's types say ({fields})"
        if self._comments:
            yield f"{self._comments} comments, which idle_timeout does not take for chunks"

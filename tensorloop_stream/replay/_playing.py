"""Send an answer event by event, at its pace and with its faults: the only place where a replay waits."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import inf

from ._answers import PING, Answer, in_band_error, with_crlf
from ._connection import Connection
from ._faults import Faults
from ._http import Request
from ._log import Exchange
from ._pace import Pace
from ._playback import Playback


@dataclass(frozen=True, slots=True)
class Player:
    """Answers requests with what the playback chooses."""

    playback: Playback

    async def respond(self, connection: Connection, exchange: Exchange, request: Request) -> bool:
        """Answer a request; return whether the connection is whole afterwards."""
        answer, faults = self.playback.choose(exchange)
        pace = Pace.of(answer, faults)
        if answer.frames is None or request.method == "HEAD":
            await asyncio.sleep(faults.first_delay + pace.until_whole)
            connection.send_whole(answer, bodiless=request.method == "HEAD")
            exchange.complete = True
            await connection.writable()
            if answer.status == 200:
                self.playback.note_fault(exchange, faults, answer)
            return True
        note = partial(self.playback.note_fault, exchange, faults, answer)
        return await _Stream(connection, exchange, answer, faults, pace, note).play()


@dataclass(frozen=True, slots=True)
class _Stream:
    """One event stream on its way to a client."""

    connection: Connection
    exchange: Exchange
    answer: Answer
    faults: Faults
    pace: Pace
    note: Callable[[], None]
    """Is called once the events are sent, up to the fault: a client that has them may leave at once."""

    async def play(self) -> bool:
        """Send the head and the events; return whether the connection is whole afterwards."""
        answer, faults = self.answer, self.faults
        headers = answer.headers
        early = bool(faults.first_delay and faults.ping)
        if early:
            # A proxy that sends headers before its upstream answers knows no headers of the upstream yet.
            headers = tuple(each for each in headers if not each[0].lower().startswith("x-litellm-"))
        else:
            await asyncio.sleep(faults.first_delay)
        asked = _now()
        await asyncio.sleep(self.pace.until_head)
        self.connection.send_head(answer.status, answer.reason, headers)
        if early:
            await self._pause(faults.first_delay)
            asked += faults.first_delay
        return await self._send_events(asked)

    async def _send_events(self, asked: float) -> bool:
        """Send the events of what was asked at a time; return whether the connection is whole afterwards."""
        exchange, faults, frames = self.exchange, self.faults, self.answer.frames or ()
        (_, allowed), sent = faults.ending, 0
        for frame in frames:
            if exchange.events == allowed:
                break
            await self._pause(self.pace.before(sent, _now() - asked))
            await self._send(frame.data)
            exchange.events += frame.is_event
            sent += 1
        exchange.complete = sent == len(frames)
        self.note()
        if exchange.events == allowed:
            if faults.stall_after is not None:
                await self._pause(inf)
            if faults.cut_after is not None:
                self.connection.cut()
                return False
            if faults.error_after is not None:
                await self._pause(faults.delay)
                await self._send(in_band_error(exchange.request.path, exchange.events, faults.error_type))
            exchange.complete = True
        elif self.answer.is_cut:
            self.connection.cut()
            return False
        if faults.linger:
            await self._pause(faults.linger)
        self.connection.end()
        return True

    async def _pause(self, seconds: float) -> None:
        ping = self.faults.ping
        while ping is not None and seconds > ping:
            await asyncio.sleep(ping)
            await self._send(PING)
            seconds -= ping
        await asyncio.sleep(seconds)

    async def _send(self, data: bytes) -> None:
        """Write one event; no await follows the last write, so that the event counts at once."""
        if self.faults.crlf:
            data = with_crlf(data)
        size = self.faults.split or len(data)
        for start in range(0, len(data), size):
            if start:
                await asyncio.sleep(0)
            await self.connection.writable()
            self.connection.send(data[start : start + size])


def _now() -> float:
    return asyncio.get_running_loop().time()

"""One client's connection: the only place where a replay waits."""

import asyncio
import socket
import struct
from collections.abc import Callable, Iterable
from math import inf

from ._answers import IN_BAND_ERROR, PING, Answer, error_answer, with_crlf
from ._faults import Faults
from ._http import (
    CONTINUE,
    LAST_CHUNK,
    MAX_BODY,
    MAX_HEAD,
    BadRequestError,
    Request,
    RequestParser,
    chunk,
    response_head,
)
from ._playback import Exchange, Playback

# Seconds in which a client may still send after an invalid request, until its connection is closed.
_LAST_WORDS = 1.0


class Connection(asyncio.Protocol):
    """Answer the requests of one client in turn, and notice at once when it disconnects.

    A protocol rather than a pair of streams, because it is told of the end of the connection while it is
    silent itself.
    """

    transport: asyncio.Transport

    def __init__(self, playback: Playback, cors: str | None, on_end: Callable[["Connection"], None]) -> None:
        self._playback = playback
        self._cors = cors
        self._on_end = on_end
        self._parser = RequestParser()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._exchange: Exchange | None = None
        self._in_chunks = True
        self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        # asyncio sets this option only on connections of a listener of its own.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._task = asyncio.get_running_loop().create_task(self._serve())
        # Whatever ends the task, the client is not left waiting.
        self._task.add_done_callback(lambda _: transport.close())

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._parser.feed(data)
        self._arrived.set()
        if self._parser.buffered > 2 * (MAX_HEAD + MAX_BODY):  # the client sends requests without reading answers
            self.transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> None:
        # A client that only stops sending looks the same; gateways treat it as disconnected, too.
        unfinished = self._exchange is not None and not self._exchange.complete
        self._gone()
        if unfinished:
            self.transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._gone()
        self._on_end(self)

    def abandon(self) -> None:
        """Close the connection because the server stops; the client does not count as disconnected."""
        self._exchange = None
        self.transport.abort()

    def _gone(self) -> None:
        if self._exchange is not None:
            self._playback.end(self._exchange, left=True)
            self._exchange = None
        self._task.cancel()

    async def _serve(self) -> None:
        try:
            while await self._answer_next():
                pass
        except BadRequestError as error:
            # Closing a connection with unread bytes would reset it, and lose the answer.
            self._deaf = True
            self._send_whole(error_answer(error.status, str(error)), keep=False)
            self.transport.write_eof()
            await asyncio.sleep(_LAST_WORDS)

    async def _answer_next(self) -> bool:
        """Answer one request; tell whether another may follow."""
        while (request := self._parser.next_request()) is None:
            if self._parser.take_continue():
                self.transport.write(CONTINUE)
            self._arrived.clear()
            await self._arrived.wait()
        keep = request.keeps_connection
        if request.method in {"GET", "HEAD"} and request.path == "/stats":
            self._send_whole(self._playback.stats(), keep=keep, bodiless=request.method == "HEAD")
            return keep
        if self._cors is not None and _is_preflight(request):
            self._send_whole(_preflight_answer(request), keep=keep)
            return keep
        self._exchange = exchange = self._playback.begin(request)
        keep = await self._play(exchange, request, keep=keep)
        self._exchange = None
        self._playback.end(exchange)
        return keep

    async def _play(self, exchange: Exchange, request: Request, *, keep: bool) -> bool:
        answer, faults = exchange.answer, exchange.faults
        if answer.frames is None or request.method == "HEAD":
            await asyncio.sleep(faults.first_delay)
            self._send_whole(answer, keep=keep, bodiless=request.method == "HEAD")
            exchange.complete = True
            await self._writable.wait()
            return keep
        self._in_chunks = not request.is_http_1_0
        headers = answer.headers
        if faults.first_delay and faults.ping:
            # A proxy that must show life before its upstream does knows nothing yet to say about it.
            headers = tuple(each for each in headers if not each[0].lower().startswith("x-litellm-"))
        else:
            await asyncio.sleep(faults.first_delay)
        framing = [("transfer-encoding", "chunked")] if self._in_chunks else []
        self._send_head(answer, [*headers, *framing], keep=keep)
        if faults.first_delay and faults.ping:
            await self._pause(faults.first_delay, faults)
        return await self._stream(exchange) and keep

    async def _stream(self, exchange: Exchange) -> bool:
        """Send the events; tell whether the connection is whole afterwards."""
        faults, frames = exchange.faults, exchange.answer.frames or ()
        allowed, sent = faults.events_allowed, 0
        for frame in frames:
            if exchange.events == allowed:
                break
            if sent:
                await self._pause(faults.delay, faults)
            await self._send(frame.data, faults)
            exchange.events += frame.is_event
            sent += 1
        exchange.complete = sent == len(frames)
        if exchange.events == allowed:
            if faults.stall_after is not None:
                await self._pause(inf, faults)
            if faults.cut_after is not None:
                self._cut()
                return False
            if faults.error_after is not None:
                await self._pause(faults.delay, faults)
                await self._send(IN_BAND_ERROR, faults)
            exchange.complete = True
        if faults.linger:
            await self._pause(faults.linger, faults)
        if self._in_chunks:
            self.transport.write(LAST_CHUNK)
        return True

    async def _pause(self, seconds: float, faults: Faults) -> None:
        while faults.ping is not None and seconds > faults.ping:
            await asyncio.sleep(faults.ping)
            await self._send(PING, faults)
            seconds -= faults.ping
        await asyncio.sleep(seconds)

    async def _send(self, data: bytes, faults: Faults) -> None:
        """Write one event; there is no await behind the last write, so that it counts at once."""
        if faults.crlf:
            data = with_crlf(data)
        size = faults.split or len(data)
        for start in range(0, len(data), size):
            if start:
                await asyncio.sleep(0)
            await self._writable.wait()
            piece = data[start : start + size]
            self.transport.write(chunk(piece) if self._in_chunks else piece)

    def _send_whole(self, answer: Answer, *, keep: bool, bodiless: bool = False) -> None:
        body = answer.body
        length = [] if answer.status in {204, 304} else [("content-length", str(len(body)))]
        self._send_head(answer, [*answer.headers, *length], keep=keep)
        if length and not bodiless:
            self.transport.write(body)

    def _send_head(self, answer: Answer, headers: Iterable[tuple[str, str]], *, keep: bool) -> None:
        added = [] if keep else [("connection", "close")]
        if self._cors is not None:
            added += [("access-control-allow-origin", self._cors), ("access-control-expose-headers", "*")]
        self.transport.write(response_head(answer.status, answer.reason, [*headers, *added]))

    def _cut(self) -> None:
        if self._in_chunks:
            return  # the missing last chunk shows the cut
        # Without chunks, the end of the connection ends the body: only a reset shows the cut.
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and "access-control-request-method" in request.headers


def _preflight_answer(request: Request) -> Answer:
    headers = [
        ("access-control-allow-methods", request.headers["access-control-request-method"]),
        ("access-control-allow-headers", request.headers.get("access-control-request-headers", "*")),
        ("access-control-max-age", "600"),
    ]
    return Answer(204, "No Content", tuple(headers))

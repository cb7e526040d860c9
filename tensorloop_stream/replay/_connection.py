"""One client's connection: requests in, answers out, and the moment that the client leaves."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable

from ._answers import Answer, error_answer
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
from ._log import Exchange, Log

# Seconds in which a client may still send after an invalid request, until its connection is closed.
_LAST_WORDS = 1.0


class Connection(asyncio.Protocol):
    """Answer the requests of one client in turn, and notice at once when it disconnects.

    The class is a protocol, not a pair of streams: the event loop reports a disconnect to it also while the
    connection only waits. `respond` sends the answer of each request; it returns whether the connection is whole
    afterwards, and is cancelled if the client leaves.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        log: Log,
        respond: "Callable[[Connection, Exchange, Request], Awaitable[bool]]",
        cors: str | None,
        on_end: Callable[["Connection"], None],
    ) -> None:
        self._log = log
        self._respond = respond
        self._cors = cors
        self._on_end = on_end
        self._parser = RequestParser()
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._exchange: Exchange | None = None
        self._keep = True
        self._in_chunks = True
        self._deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        # asyncio sets this option only on connections of a listener of its own.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._task = asyncio.get_running_loop().create_task(self._serve())
        self._task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        # Close the connection when the task ends, also by an error: the client must not wait.
        self.transport.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            context = {"message": "the replay failed to answer a request", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)

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
            self._log.end(self._exchange, left=True)
            self._exchange = None
        self._task.cancel()

    async def _serve(self) -> None:
        try:
            while await self._answer_next():
                pass
        except BadRequestError as error:
            # Closing a connection with unread bytes would reset it, and lose the answer.
            self._deaf = True
            self._keep = False
            self.send_whole(error_answer(error.status, str(error)))
            self.transport.write_eof()
            await asyncio.sleep(_LAST_WORDS)

    async def _answer_next(self) -> bool:
        """Answer one request; return whether another may follow."""
        while (request := self._parser.next_request()) is None:
            if self._parser.take_continue():
                self.transport.write(CONTINUE)
            self._arrived.clear()
            await self._arrived.wait()
        self._keep, self._in_chunks = request.keeps_connection, not request.is_http_1_0
        if request.method in {"GET", "HEAD"} and request.path == "/stats":
            self.send_whole(self._log.stats(), bodiless=request.method == "HEAD")
            return self._keep
        if self._cors is not None and _is_preflight(request):
            self.send_whole(_preflight_answer(request))
            return self._keep
        self._exchange = exchange = self._log.begin(request)
        is_whole = await self._respond(self, exchange, request)
        self._exchange = None
        self._log.end(exchange)
        return is_whole and self._keep

    async def writable(self) -> None:
        """Wait until the client has read enough for more to be sent."""
        await self._writable.wait()

    def send_whole(self, answer: Answer, *, bodiless: bool = False) -> None:
        """Send an answer that is no stream; without its body for `HEAD`."""
        length = [] if answer.status in {204, 304} else [("content-length", str(len(answer.body)))]
        self._send_head(answer.status, answer.reason, [*answer.headers, *length])
        if length and not bodiless:
            self.transport.write(answer.body)

    def send_head(self, status: int, reason: str, headers: Iterable[tuple[str, str]]) -> None:
        """Begin an answer whose body follows by `send`, up to `end` or `cut`."""
        framing = [("transfer-encoding", "chunked")] if self._in_chunks else []
        self._send_head(status, reason, [*headers, *framing])

    def send(self, data: bytes) -> None:
        """Send a part of the body."""
        self.transport.write(chunk(data) if self._in_chunks else data)

    def end(self) -> None:
        """End the body."""
        if self._in_chunks:
            self.transport.write(LAST_CHUNK)

    def cut(self) -> None:
        """Make the body look unfinished once the connection is closed."""
        if self._in_chunks:
            return  # the missing last chunk shows the cut
        # Without chunks, the end of the connection ends the body: only a reset shows the cut.
        raw = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _send_head(self, status: int, reason: str, headers: Iterable[tuple[str, str]]) -> None:
        added = [] if self._keep else [("connection", "close")]
        if self._cors is not None:
            added += [("access-control-allow-origin", self._cors), ("access-control-expose-headers", "*")]
        self.transport.write(response_head(status, reason, [*headers, *added]))


def _is_preflight(request: Request) -> bool:
    return request.method == "OPTIONS" and "access-control-request-method" in request.headers


def _preflight_answer(request: Request) -> Answer:
    headers = [
        ("access-control-allow-methods", request.headers["access-control-request-method"]),
        ("access-control-allow-headers", request.headers.get("access-control-request-headers", "*")),
        ("access-control-max-age", "600"),
    ]
    return Answer(204, "No Content", tuple(headers))

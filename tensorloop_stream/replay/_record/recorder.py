"""A server on loopback that passes requests to a service, and keeps each exchange as a cassette."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tensorloop_stream.replay._answers import Answer, error_answer
from tensorloop_stream.replay._connection import Connection
from tensorloop_stream.replay._http import Request
from tensorloop_stream.replay._log import Exchange, Log
from tensorloop_stream.replay._loopback import Loopback
from tensorloop_stream.replay._matching import first_words

from .cassette_file import CassetteFiles
from .recording import NotKeptError, Recording
from .upstream import CutError, UnreachableError, Upstream, UpstreamCall, forwarded


@dataclass(frozen=True, slots=True)
class Recorder:
    """Passes requests to the service, byte for byte and as they come."""

    upstream: Upstream
    files: CassetteFiles
    report: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    statuses: dict[str, set[int]] = field(default_factory=dict)
    """The statuses of all answers to what was posted, by address."""

    async def respond(self, connection: Connection, exchange: Exchange, request: Request) -> bool:
        """Answer one request; return whether the connection is whole afterwards."""
        number = self.files.next_number()
        recording = Recording(request, self.upstream.url_of(request), self.clock())
        call = self.upstream.call(request)
        # A thread of its own: reading the service blocks, and others are being read meanwhile.
        executor = ThreadPoolExecutor(1, "record")
        try:
            return await self._pass(connection, exchange, recording, call, executor)
        except UnreachableError as error:
            connection.send_whole(error_answer(502, str(error)))
            exchange.complete = True
            return True
        except CutError:
            recording.is_cut = True
            connection.cut()
            return False
        except asyncio.CancelledError:  # the client left, or the server stops
            recording.is_cut = not recording.is_over
            raise
        finally:
            call.close()
            executor.submit(call.release)
            executor.shutdown(wait=False)
            self._keep(number, exchange, recording)

    async def _pass(
        self,
        connection: Connection,
        exchange: Exchange,
        recording: Recording,
        call: UpstreamCall,
        executor: ThreadPoolExecutor,
    ) -> bool:
        loop = asyncio.get_running_loop()
        status, reason, headers = await loop.run_in_executor(executor, call.open)
        recording.begin(status, reason, headers, self.clock())
        passed_on, body = forwarded(headers), bytearray()
        if recording.is_stream:
            connection.send_head(status, reason, passed_on)
        while data := await loop.run_in_executor(executor, call.read):
            recording.add(data, self.clock())
            if recording.is_stream:
                connection.send(data)
                exchange.complete = recording.is_over
                await connection.writable()
            else:
                body += data
        exchange.complete = True
        if recording.is_stream:
            connection.end()
        else:
            answer = Answer(status, reason, tuple(passed_on), bytes(body))
            connection.send_whole(answer, bodiless=recording.request.method == "HEAD")
            await connection.writable()
        return True

    def _keep(self, number: int, exchange: Exchange, recording: Recording) -> None:
        asked = exchange.request
        model = asked.body.get("model") if isinstance(asked.body, dict) else None
        what = f"{asked.method} {asked.path}{f' {model}' if model else ''}"
        if not recording.status:
            self.report(f"{what}: not kept, for there was no answer")
            return
        if asked.method == "POST":
            address = self.upstream.address_of(recording.request)
            self.statuses.setdefault(address, set()).add(recording.status)
        words = first_words(asked.body) or asked.path.rpartition("/")[2]
        count = recording.events
        answer = f"{count} event{'' if count == 1 else 's'}" if recording.is_stream else f"{recording.status}"
        cut = ", cut," if recording.is_cut else ""
        try:
            path = self.files.keep(number, words, recording.interaction())
        except (NotKeptError, OSError) as error:
            self.report(f"{what}: {answer}{cut} not kept: {error}")
        else:
            self.report(f"{what}: {answer}{cut} in {recording.duration:.2f} s, kept in {path}")


class RecordingServer:
    """Serve a `Recorder` on 127.0.0.1 inside a `with` block."""

    def __init__(
        self,
        path: Path,
        upstream: str,
        *,
        port: int = 0,
        cors: str | None = None,
        report: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.files = CassetteFiles(path)
        self._recorder = Recorder(Upstream.at(upstream), self.files, report, clock)
        self._log = Log()
        self._cors = cors
        self._asked_port = port
        self._loopback = Loopback(self._connect)

    def __enter__(self) -> Self:
        self._loopback.start(self._asked_port)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loopback.stop()

    @property
    def upstream(self) -> str:
        """The base URL of the service, without a user's name and a password."""
        return str(self._recorder.upstream)

    @property
    def not_found(self) -> list[str]:
        """One sentence per address that answered all that was posted to it with 404."""
        hint = "" if self._recorder.upstream.has_version else ": does the address of the upstream end in /v1?"
        found = [address for address, statuses in self._recorder.statuses.items() if statuses == {404}]
        return [f"{address} answered 404 each time{hint}" for address in found]

    @property
    def port(self) -> int:
        """The port that the server listens on; raises `RuntimeError` outside the `with` block."""
        return self._loopback.port

    @property
    def base_url(self) -> str:
        """The base URL for the program that is to be recorded."""
        return f"http://127.0.0.1:{self.port}/v1"

    def _connect(self, on_end: Callable[[Connection], None]) -> Connection:
        return Connection(self._log, self._recorder.respond, self._cors, on_end)

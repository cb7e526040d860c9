"""A server that sends given bytes, whatever they are."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

Answer = Callable[[socket.socket, int], None]


class RawServer:
    """A server on which `answer` sends what it likes for each request, whose number it gets."""

    def __init__(self, answer: Answer, certificate: Path | None = None) -> None:
        self.connections = 0
        self.requests = 0
        self._answer = answer
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._context: ssl.SSLContext | None = None
        if certificate is not None:
            self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._context.load_cert_chain(certificate)
        self.url = f"http{'s' * bool(certificate)}://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        # A thread that accepts is not woken by closing.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError, ValueError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            unread = b""
            while True:
                while b"\r\n\r\n" not in unread:
                    data = connection.recv(65536)
                    if not data:
                        break
                    unread += data
                else:
                    head, _, unread = unread.partition(b"\r\n\r\n")
                    length = head.lower().partition(b"content-length:")[2].split()
                    while len(unread) < int(length[0] if length else 0):
                        data = connection.recv(65536)
                        if not data:
                            raise ConnectionError("the client left")
                        unread += data
                    unread = b""
                    self.requests += 1
                    self._answer(connection, self.requests)
                    continue
                break
        connection.close()


def chunked(*parts: bytes) -> bytes:
    """Return the parts as chunks, without the last chunk."""
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)

"""The server of recorded streams: one thread, one event loop, any number of clients."""

import re
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self, Unpack

from ._cassettes import Paths, read_cassettes
from ._connection import Connection
from ._faults import FaultOptions, faults_of
from ._log import Disconnect, Log, ReceivedRequest
from ._loopback import Loopback
from ._playback import Playback
from ._playing import Player
from ._rules import Rule

_NAP = 0.002
_ORIGIN = re.compile(r"\*|null|[a-z][a-z0-9+.-]*://[^/\s]+")


class ReplayServer:
    """Serve recorded streams on 127.0.0.1 inside a `with` block.

    `paths` are cassette files of vcrpy or folders of them; `port` 0 takes an unused one; `cors` is the origin
    of the pages that may call the server (`*` for all). The faults are those of the command line: `delay` (0
    here), `first_delay`, `ping`, `linger`, `retry_after` in seconds; `cut_after`, `end_after`, `stall_after`,
    `error_after` in events; `split` in bytes; `crlf`, `status`, `error_type`, `fails`; `speed`, the pace at which
    recorded times are played. A request may ask for its own in the name of its model:
    `gpt-4o-mini?cut-after=7&delay=0.03`.

    A request that nobody recorded gets a 404, which says what differs. With `strict=False` it gets the nearest
    recorded answer of its kind, else a made-up one; with `fallback`, the nearest answer of these cassettes.
    `ignore` lists fields that do not count in a comparison: `["messages.0", "temperature"]`. `match` lists the only
    fields that count, `["model", "messages.-1.content"]`, or gives a regular expression for each:
    `{"messages.-1.content": "(?i)weather"}`. A cassette may have its own `ignore` and `match` under the key `replay`,
    at its top or in an interaction. `report` is called with a line about each request and its answer.

    Warns (`UserWarning`) of a regular expression that the recorded request does not fit.
    Leaving the block warns of each fault that changed no answer: such a test tests nothing. An exception that leaves
    the block has the same as a note, and a note of each fault that came so late that many clients do not notice it.

    Raises `ValueError` for unreadable cassettes and bad settings, `ModuleNotFoundError` without PyYAML, and
    `OSError` on entering if the port is taken.

    For example:

        with ReplayServer("cassettes/chat/haiku.yaml", cut_after=7) as server:
            client = Tensorloop(base_url=server.base_url, api_key="none")
            stream = ChatStream(client.chat.completions.create(**request, stream=True))
            with suppress(StreamError):
                stream.until_done()
        print(stream.text, server.unmatched)
    """

    def __init__(
        self,
        paths: Paths = (),
        *,
        port: int = 0,
        cors: str | None = None,
        strict: bool = True,
        fallback: Paths = (),
        ignore: Iterable[str] = (),
        match: Iterable[str] | Mapping[str, str] = (),
        report: Callable[[str], None] | None = None,
        **faults: Unpack[FaultOptions],
    ) -> None:
        if cors is not None and not _ORIGIN.fullmatch(cors):
            raise ValueError(f"cors must be an origin such as http://localhost:5173, or *, not {cors!r}")
        recordings = read_cassettes(paths, Rule.read(match, ignore))
        others = read_cassettes(fallback)
        if strict and not recordings.interactions and not others.interactions:
            raise ValueError("no cassette was given")
        for doubt in recordings.doubts:
            warnings.warn(doubt, stacklevel=2)
        self._playback = Playback(
            recordings, faults_of(faults), strict, others if others.interactions else None, report
        )
        self._asked_port = port
        self._cors = cors
        self._log = Log()
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
        if exc is not None:
            # Perhaps the reason: a test that waits for an error in vain.
            for sentence in (*self._playback.unused_faults, *self._playback.late_faults):
                exc.add_note(sentence)
        elif self._playback.report is None:
            for sentence in self._playback.unused_faults:
                warnings.warn(sentence, stacklevel=2)

    def _connect(self, on_end: Callable[[Connection], None]) -> Connection:
        return Connection(self._log, Player(self._playback).respond, self._cors, on_end)

    @property
    def port(self) -> int:
        """The port that the server listens on; raises `RuntimeError` outside the `with` block."""
        return self._loopback.port

    @property
    def base_url(self) -> str:
        """The base URL for an OpenAI client; ends in `/v1`."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def served(self) -> list[str]:
        """One line per recorded interaction: method, path, model and the first words of the prompt."""
        return [str(interaction) for interaction in self._playback.recordings.interactions]

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests so far, in order, without `/stats` and preflights."""
        return list(self._log.requests)

    @property
    def disconnects(self) -> list[Disconnect]:
        """The clients that disconnected before their answer was complete, in the order of their disconnects."""
        return list(self._log.disconnects)

    @property
    def unmatched(self) -> list[str]:
        """One sentence per request that no recording matches; the server answered each with a 404.

        The 404 says the same, with long values shortened. A request that got the error of a `status` is not looked for.
        """
        return list(self._playback.unmatched)

    def wait_until_idle(self, timeout: float = 5.0) -> None:
        """Wait until no request is being answered; the server notices a disconnect a moment after it.

        `timeout` is in seconds; raises `TimeoutError`. Blocks, also in async code.
        """
        until = time.monotonic() + timeout
        while active := self._log.active:
            if time.monotonic() > until:
                raise TimeoutError(f"{active} of {len(self.requests)} requests are still being answered")
            time.sleep(_NAP)

    @property
    def connections(self) -> int:
        """The number of connections accepted so far."""
        return self._loopback.accepted

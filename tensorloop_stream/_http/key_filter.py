"""Pass on the bytes of an event stream without a key, wherever its reads cut them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .redact import Redactor

# An event of this size is forwarded in parts, of which the last characters may be the first of a key.
_MAX_HELD, _OVERLAP = 64 * 1024, 2048
_BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r")


class KeyFilter:
    """Passes on the bytes of an event stream without a key, whole events at a time where the reads cut them."""

    __slots__ = ("_held", "_redactor")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Take one read and return what may be passed on, perhaps nothing; each byte is searched about once."""
        redactor, held = self._redactor, self._held
        if not redactor.is_active:
            return data
        if not held and data.endswith(b"\n\n"):
            return redactor.data(data)
        # A blank line may have begun in the read before.
        start = max(0, len(held) - 3)
        held += data
        end = max(place + len(line) if (place := held.rfind(line, start)) >= 0 else 0 for line in _BLANK_LINES)
        passed = redactor.data(bytes(held[:end])) if end else b""
        del held[:end]
        if len(held) > _MAX_HELD:
            # Before it is cut: a key must not stand on both sides.
            part = redactor.data(bytes(held))
            passed += part[:-_OVERLAP]
            held[:] = part[-_OVERLAP:]
        return passed

    def finish(self) -> bytes:
        """Return what is left at the end of the stream."""
        held, self._held = self._redactor.cut_data(bytes(self._held)), bytearray()
        return held

"""The keyword arguments of a stream."""

from __future__ import annotations

from dataclasses import dataclass, replace
from numbers import Real


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """The keyword arguments of a stream; raises `ValueError` for one that makes no sense."""

    first_chunk_timeout: float | None = None
    idle_timeout: float | None = None
    total_timeout: float | None = None
    require_finish: bool = True
    restarts: int = 0
    continue_broken: int = 0

    def __post_init__(self) -> None:
        for name in ("first_chunk_timeout", "idle_timeout", "total_timeout"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, Real) and float(value) > 0):
                raise ValueError(f"{name} is {value!r}: it must be a number of seconds above 0, or None for no limit")
        for name in ("restarts", "continue_broken"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"{name} is {value!r}: it must be a whole number, 0 or more")

    def require_function(self, *, opens: bool) -> None:
        """Raise `ValueError` for restarts of a source that cannot be opened anew."""
        if self.restarts and not opens:
            raise ValueError(
                f"restarts is {self.restarts}, and the source cannot be opened anew: give a function that opens it, "
                "for example a lambda that calls create(..., stream=True)"
            )

    def require_request(self, *, is_known: bool) -> None:
        """Raise `ValueError` for `continue_broken` of a source whose request is not known."""
        if self.continue_broken and not is_known:
            raise ValueError(
                f"continue_broken is {self.continue_broken}, and the source names no request that could be made again: "
                "give the stream that create(..., stream=True) of a client returns, or a function that opens one"
            )

    @property
    def has_timeout(self) -> bool:
        """Whether items are waited for with a limit."""
        return (self.first_chunk_timeout, self.idle_timeout, self.total_timeout) != (None, None, None)

    def with_timeouts_of(self, other: StreamSettings) -> StreamSettings:
        """Return these settings with the timeouts of another stream."""
        return replace(
            self,
            first_chunk_timeout=other.first_chunk_timeout,
            idle_timeout=other.idle_timeout,
            total_timeout=other.total_timeout,
        )

    def over(self, other: StreamSettings) -> StreamSettings:
        """Return these settings, with those of a stream that is taken over where these say nothing."""
        return replace(
            self,
            first_chunk_timeout=self.first_chunk_timeout or other.first_chunk_timeout,
            idle_timeout=self.idle_timeout or other.idle_timeout,
            total_timeout=self.total_timeout or other.total_timeout,
            require_finish=self.require_finish and other.require_finish,
            restarts=self.restarts or other.restarts,
            continue_broken=self.continue_broken or other.continue_broken,
        )

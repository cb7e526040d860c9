"""The pace of an answer: at recorded times, or with a delay between events. No I/O."""

from dataclasses import dataclass
from typing import Self

from ._answers import Answer
from ._faults import Faults


@dataclass(frozen=True, slots=True)
class Pace:
    """Decides how long each part of an answer waits; all numbers are seconds."""

    times: tuple[float, ...]
    """The times of the headers and of each part of the body, in seconds since the request; empty if not recorded."""
    delay: float

    @classmethod
    def of(cls, answer: Answer, faults: Faults) -> Self:
        """Return the pace at which an answer is to be played."""
        times = answer.times if answer.times is not None and faults.speed is not None else ()
        return cls(tuple(each / (faults.speed or 1) for each in times), faults.delay)

    @property
    def until_head(self) -> float:
        """The seconds until the headers."""
        return self.times[0] if self.times else 0.0

    @property
    def until_whole(self) -> float:
        """The seconds until an answer that is no stream."""
        return self.times[-1] if self.times else 0.0

    def before(self, part: int, elapsed: float) -> float:
        """Return how long a part of the body waits, from 0 on, when so much time has passed since the request."""
        if self.times:
            return max(0.0, self.times[part + 1] - elapsed)
        return self.delay if part else 0.0

"""Odd but real streams: the bytes that gateways send, their sources, and the expected results."""

from __future__ import annotations

from odd_streams.build import OddStream, Silence
from odd_streams.choices import CHOICES
from odd_streams.endings import ENDINGS
from odd_streams.envelopes import ENVELOPES
from odd_streams.errors import ERRORS
from odd_streams.finish_reasons import FINISH_REASONS
from odd_streams.framing import FRAMING
from odd_streams.reasoning import REASONING
from odd_streams.text import TEXT
from odd_streams.tools import TOOLS
from odd_streams.usage import USAGE

__all__ = ["ODD_STREAMS", "OddStream", "Silence"]

ODD_STREAMS = (
    *TEXT,
    *CHOICES,
    *FINISH_REASONS,
    *REASONING,
    *TOOLS,
    *USAGE,
    *ENVELOPES,
    *FRAMING,
    *ENDINGS,
    *ERRORS,
)

"""Decide which errors merit another request, and how long to wait before it; no I/O, no clock.

Three callers share these rules:

| caller                          | asks                                                    |
|---------------------------------|---------------------------------------------------------|
| a client, before a stream       | `is_budget_spent`, `retry_after`; the rest is the SDK's |
| a stream with `restarts`        | `may_restart`, `backoff`                                |
| a run of many prompts           | `classify_error`, `retry_after`, `backoff`              |
"""

from __future__ import annotations

import math
import re
from email.utils import mktime_tz, parsedate_tz
from typing import TYPE_CHECKING, Literal, TypeAlias

import openai

from ._errors import (
    StreamConnectionError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

ErrorClass: TypeAlias = Literal["stop", "wait", "retry", "fail"]
"""The meaning of an error for a run: end the run, pause all requests, send this request again, or give it up."""

# The SDK's own back-off: half a second, doubled up to eight, less up to a quarter.
FIRST_DELAY, MAX_DELAY, JITTER = 0.5, 8.0, 0.25

# LiteLLM's word, and OpenAI's.
_SPENT = frozenset({"budget_exceeded", "insufficient_quota"})
# Words in a code or a type that blame the request, the key or the account: the same request meets them again.
_REFUSAL = re.compile(
    r"invalid(?!_response)|authenti|unauthori[sz]ed|permission|forbidden|denied|not_?found|unsupported|unknown_(?:url|model)"
    r"|insufficient|billing|payment|arrear|context_(?:length|window)|too_(?:long|large)"
    r"|content_(?:policy|filter)|moderation|safety|bad_request|unprocessable"
)
# Words of a rate limit, where a host sends no status: those of OpenAI, Anthropic, LiteLLM, Bedrock and Azure.
_RATE_LIMIT = re.compile(r"rate_limit|too_many_requests|throttl")
_RETRIED_STATUS = frozenset({408, 409, 429})
# LiteLLM forwards the headers of its upstream under names of its own.
_PREFIXES = ("", "llm_provider-")
# The seconds that stand for a number beyond any float: more than the two minutes that the SDK waits at most.
_OVERFLOW = 121.0


def backoff(failures: int, *, jitter: float = 0.0) -> float:
    """Return the seconds to wait after a number of failed requests, if the gateway names no time.

    `jitter`, from 0 to 1, shortens the wait by that share of a quarter, so that clients do not return in step.
    """
    # The tenth delay exceeds the maximum, and 2.0 ** 1024 would overflow.
    delay = min(FIRST_DELAY * 2.0 ** min(failures - 1, 10), MAX_DELAY)
    return delay * (1 - JITTER * jitter)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return the seconds that the headers of a response ask to wait; `None` if they name no time in the future.

    The gateway's own `retry-after-ms` and `retry-after` (seconds or an HTTP date) win over those of its upstream.
    `now` is the Unix time.
    """
    for prefix in _PREFIXES:
        wait = _named_wait(headers, prefix, now)
        if wait is not None:
            return wait if 0 < wait < math.inf else None
    return None


def _named_wait(headers: Mapping[str, str], prefix: str, now: float) -> float | None:
    for name, divisor in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(prefix + name, "")
        try:
            seconds = float(value) / divisor
        except ValueError:
            continue
        return _OVERFLOW if seconds == math.inf and "inf" not in value.lower() else seconds
    try:
        date = parsedate_tz(headers.get(f"{prefix}retry-after", ""))
        return None if date is None else mktime_tz(date) - now
    except (ValueError, OverflowError):
        return None


def is_budget_spent(error: object) -> bool:
    """Tell whether an error, or the body of one, names a spent budget, in any nesting.

    LiteLLM and OpenAI name it in `type` or in `code`; a proxy before a proxy wraps the error in one of its own.
    """
    if isinstance(error, openai.APIError):
        error = {"type": error.type, "code": error.code, "error": error.body}
    while isinstance(error, dict):
        if any(isinstance(word, str) and word in _SPENT for word in (error.get("type"), error.get("code"))):
            return True
        error = error.get("error")
    return False


def is_retried(status: int) -> bool:
    """Tell whether an HTTP status merits another request, as in the SDK."""
    return status in _RETRIED_STATUS or status >= 500


def may_restart(error: Exception, codes: frozenset[str] | None = None) -> bool:
    """Tell whether a stream that broke with this error may be opened again, where nothing of it was delivered.

    Cuts, truncation and timeouts merit it. So do errors of the gateway with a retried status, and those without a
    status, unless a word in their code or type blames the request, the key or the account; with `codes`, of those whose
    code is a word only these.
    """
    if isinstance(error, StreamProviderError):
        status, code = error.status_code, error.code
        if is_budget_spent(error):
            return False
        if status is not None:
            return is_retried(status)
        if any(_REFUSAL.search(_snake_case(word)) for word in (code, error.type) if word):
            return False
        return codes is None or not code or code in codes
    return isinstance(error, (StreamConnectionError, StreamTruncatedError, StreamTimeoutError))


def _names_rate_limit(error: openai.APIError) -> bool:
    return any(_RATE_LIMIT.search(_snake_case(word)) for word in (error.code, error.type) if word)


def _snake_case(word: object) -> str:
    """Return a word as its parts in lower case: `InvalidParameter` and `invalid-parameter` are `invalid_parameter`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[^A-Za-z]+", "_", str(word)).lower()


def classify_error(error: openai.APIError) -> ErrorClass:
    """Return what an error of one request means for a run of many on the same key."""
    if is_budget_spent(error) or isinstance(error, openai.AuthenticationError):
        return "stop"
    status: int | None = getattr(error, "status_code", None)
    if status == 429 or (status is None and _names_rate_limit(error)):
        return "wait"
    if isinstance(error, StreamError):
        return "retry" if may_restart(error) else "fail"
    if isinstance(error, openai.APIConnectionError):
        return "retry"
    return "retry" if status is not None and is_retried(status) else "fail"

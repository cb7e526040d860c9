"""The rules of a retry: which errors merit another request, and how long to wait before it."""

from __future__ import annotations

import email.utils
import math
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tensorloop_stream import (
    StreamConnectionError,
    StreamDecodeError,
    StreamError,
    StreamProviderError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from tensorloop_stream._retry import backoff, classify_error, is_budget_spent, is_retried, may_restart, retry_after

NOW = 1_795_359_264.0
BUDGET = {"message": "Budget has been exceeded!", "type": "budget_exceeded", "code": "429"}
REQUEST = httpx2.Request("POST", "http://test")
SDK = openai.OpenAI(api_key="none")


def status_error(status: int, kind: str = "", **more: Any) -> openai.APIStatusError:
    body = {"type": kind, "message": "no", "code": str(status), **more}
    made = openai.AuthenticationError if status == 401 else openai.APIStatusError
    return made("no", response=httpx2.Response(status, request=REQUEST), body=body)


def provider_error(**body: Any) -> StreamProviderError:
    return StreamProviderError("no", body=body)


def http_date(seconds: float) -> str:
    return email.utils.formatdate(seconds, usegmt=True)


def encodable(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers that HTTP can carry."""
    return {name: value.encode("ascii", "replace").decode() for name, value in headers.items()}


# The back-off


def test_backoff_doubles_from_half_a_second_to_eight() -> None:
    """The waits are those of the SDK."""
    waits = [backoff(failures) for failures in range(1, 8)]

    assert waits == [0.5, 1, 2, 4, 8, 8, 8]


def test_backoff_is_eight_seconds_after_any_number_of_failures() -> None:
    """A restart has no highest number, and a power of two has."""
    assert backoff(100_000) == 8


def test_backoff_is_shorter_by_up_to_a_quarter_with_jitter() -> None:
    """Clients that failed together do not return together."""
    waits = [backoff(2, jitter=jitter) for jitter in (0, 0.5, 1)]

    assert waits == [1, 0.875, 0.75]


# The wait that a response asks for


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after-ms": "2500"}, 2.5),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": http_date(NOW + 90)}, 90.0),
        ({"retry-after": "Thu Nov 22 16:54:24 2096"}, pytest.approx(2_209_000_000, rel=0.01)),
        ({"llm_provider-retry-after-ms": "2500"}, 2.5),
        ({"llm_provider-retry-after": "7"}, 7.0),
        ({"llm_provider-retry-after": http_date(NOW + 90)}, 90.0),
    ],
    ids=str,
)
def test_retry_after_reads_every_form(headers: dict[str, str], wait: float) -> None:
    """Milliseconds, seconds and HTTP dates count, from the gateway or, as LiteLLM names it, from its upstream."""
    assert retry_after(httpx2.Headers(headers), NOW) == wait


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("retry-after-ms", "retry-after"),
        ("retry-after", "llm_provider-retry-after-ms"),
        ("llm_provider-retry-after-ms", "llm_provider-retry-after"),
    ],
)
def test_retry_after_prefers_the_gateway_and_milliseconds(first: str, second: str) -> None:
    """The most exact form of the nearest server wins."""
    headers = {second: "9000", first: "3000"}

    assert retry_after(headers, NOW) == (3.0 if first.endswith("ms") else 3000.0)


@pytest.mark.parametrize("value", ["soon", "", "1h", "Fri, 99 Foo 2026 25:61:00 GMT"])
def test_retry_after_passes_to_the_next_header_when_a_value_is_none(value: str) -> None:
    """A value of no form is as good as no header."""
    headers = {"retry-after-ms": value, "retry-after": value, "llm_provider-retry-after": "3"}

    assert retry_after(headers, NOW) == 3


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "-inf", http_date(NOW - 60)])
def test_retry_after_is_none_when_no_wait_follows(value: str) -> None:
    """A time that has passed or never comes leaves the back-off; the upstream's header does not replace it."""
    headers = {"retry-after": value, "llm_provider-retry-after": "3"}

    assert retry_after(headers, NOW) is None


def test_retry_after_is_none_without_a_header() -> None:
    """Other headers say nothing about a wait."""
    assert retry_after({"x-request-id": "5"}, NOW) is None


def test_retry_after_exceeds_the_sdks_bound_when_the_number_overflows() -> None:
    """A number beyond a float is a long wait, which the SDK refuses: it is not a missing one."""
    wait = retry_after({"retry-after": "1e999"}, NOW)

    assert wait is not None
    assert 120 < wait < math.inf


def bounds_overflow() -> bool:
    """Tell whether the SDK takes a number beyond a float for a long wait, as since some release of openai 3."""
    wait = SDK._parse_retry_after_header(httpx2.Headers({"retry-after": "1e999"}))
    return wait is not None and wait < math.inf


@pytest.mark.skipif(not bounds_overflow(), reason="this openai takes a wait of infinity for none")
# The first text of a machine builds a table of all characters, which takes seconds.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(["retry-after-ms", "retry-after"]),
        st.text() | st.floats().map(str) | st.floats(0, 1e11).map(http_date) | st.sampled_from(["1e999", "1_0"]),
    )
)
def test_retry_after_agrees_with_the_sdk(headers: dict[str, str]) -> None:
    """The same headers mean the same wait in a run of many prompts and in the SDK's own retries."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: NOW)
        expected = SDK._parse_retry_after_header(httpx2.Headers(encodable(headers)))

    usable = expected if expected is not None and 0 < expected < math.inf else None
    assert retry_after(httpx2.Headers(encodable(headers)), NOW) == usable


# A spent budget


@pytest.mark.parametrize(
    "error",
    [
        BUDGET,
        {"error": BUDGET},
        {"error": {"error": BUDGET}},
        {"type": None, "code": "budget_exceeded"},
        provider_error(**BUDGET),
        provider_error(error=BUDGET),
        provider_error(code="budget_exceeded"),
        status_error(429, "budget_exceeded"),
        status_error(400, "budget_exceeded"),  # older LiteLLM
        status_error(429, error=BUDGET),
        status_error(429, "insufficient_quota"),  # OpenAI's
        {"error": {"code": "insufficient_quota"}},
    ],
    ids=repr,
)
def test_a_budget_is_spent_when_type_or_code_says_so(error: object) -> None:
    """The error or its body counts, in whatever nesting and with whatever status."""
    assert is_budget_spent(error)


@pytest.mark.parametrize(
    "error",
    [
        None,
        "budget_exceeded",
        ["budget_exceeded"],
        {"error": "budget_exceeded"},
        {"message": "budget_exceeded"},
        {"error": {"type": "rate_limit_error", "code": "429"}},
        provider_error(code="429"),
        status_error(429, "rate_limit_error"),
        ValueError("budget_exceeded"),
    ],
    ids=repr,
)
def test_a_budget_is_not_spent_when_only_words_say_so(error: object) -> None:
    """Other limits pass by themselves, and no text is searched."""
    assert not is_budget_spent(error)


# Statuses


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529, 599])
def test_a_status_is_retried(status: int) -> None:
    """Timeouts, conflicts, limits and errors of the server pass."""
    assert is_retried(status)


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422, 499])
def test_a_status_is_not_retried(status: int) -> None:
    """A request that is refused stays refused."""
    assert not is_retried(status)


# Restarts of a stream


@pytest.mark.parametrize(
    "error",
    [
        StreamConnectionError("no"),
        StreamTruncatedError("no"),
        StreamTimeoutError("no"),
        provider_error(code="429"),
        provider_error(code="500"),
        provider_error(type="overloaded_error"),
        provider_error(code="server_error", type="server_error"),
        provider_error(code="rate_limit_exceeded", type="requests"),
        provider_error(code="invalid_response", type="upstream_error"),
        provider_error(code="load_balancer_error"),
        provider_error(code="an_unknown_word"),
        provider_error(code="503", type="invalid_request_error"),
        StreamProviderError("no", body="words"),
    ],
    ids=repr,
)
def test_a_stream_may_restart_when_the_error_may_pass(error: Exception) -> None:
    """Cuts, truncation and timeouts pass, as do retried statuses, and words that blame the service or nobody."""
    assert may_restart(error)


@pytest.mark.parametrize(
    "error",
    [
        StreamDecodeError("no"),
        StreamError("no"),
        provider_error(code="400"),
        provider_error(**BUDGET),
        provider_error(message="no", error=BUDGET),
        provider_error(code="insufficient_quota", type="insufficient_quota"),
        provider_error(code="429", type="insufficient_quota"),
        provider_error(code="invalid_api_key", type="invalid_request_error"),
        provider_error(code="context_length_exceeded"),
        provider_error(code="content_policy_violation"),
        provider_error(code="InvalidParameter"),
        provider_error(code="DataInspectionFailed", type="Arrearage"),
        provider_error(type="authentication_error"),
        provider_error(type="permission-error"),
        provider_error(type="not_found_error"),
        provider_error(code="model_not_found"),
        status_error(503),
        openai.APIConnectionError(request=REQUEST),
        RuntimeError("no"),
    ],
    ids=repr,
)
def test_a_stream_may_not_restart_when_the_error_stays(error: Exception) -> None:
    """A word that blames the request, the key or the account stays; so do the SDK's errors, after its retries."""
    assert not may_restart(error)


# A run of many prompts


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (status_error(429, "budget_exceeded"), "stop"),
        (status_error(429, code="budget_exceeded"), "stop"),
        (status_error(400, "budget_exceeded"), "stop"),  # older LiteLLM
        (provider_error(**BUDGET), "stop"),
        (status_error(401), "stop"),
        (status_error(429, "rate_limit_error"), "wait"),
        (status_error(429, "throttling_error"), "wait"),
        (provider_error(type="rate_limit_error", code="429"), "wait"),
        (status_error(408), "retry"),
        (status_error(409), "retry"),
        (status_error(500), "retry"),
        (status_error(503), "retry"),
        (openai.APITimeoutError(REQUEST), "retry"),
        (openai.APIConnectionError(request=REQUEST), "retry"),
        (StreamTruncatedError("no"), "retry"),
        (provider_error(code="500"), "retry"),
        (provider_error(code="429"), "wait"),
        (provider_error(code="rate_limit_exceeded", type="requests"), "wait"),
        (provider_error(type="rate_limit_error"), "wait"),
        (provider_error(code="TooManyRequests"), "wait"),
        (provider_error(code="ThrottlingException"), "wait"),
        (provider_error(code="503", type="rate_limit_error"), "retry"),
        (StreamProviderError("no", body="words"), "retry"),
        (provider_error(code="400"), "fail"),
        (StreamDecodeError("no"), "fail"),
        (status_error(400), "fail"),
        (status_error(403), "fail"),
        (status_error(404), "fail"),
        (status_error(422), "fail"),
        (openai.APIError("no", REQUEST, body=None), "fail"),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'code', value)}",
)
def test_an_error_is_classified_for_a_run(error: openai.APIError, kind: str) -> None:
    """A spent budget and a refused key stop the run; all wait for a limit; only an error that may pass is retried."""
    assert classify_error(error) == kind

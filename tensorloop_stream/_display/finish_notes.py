"""The sentences for an answer that the gateway ended before the model had finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion
    from openai.types.responses import Response

_OUTCOMES = {
    "length": "Cut off at the limit of tokens",
    "max_output_tokens": "Cut off at the limit of tokens",
    "content_filter": "Stopped by the content filter",
}


def finish_note(result: ChatCompletion | Response) -> str | None:
    """Return the sentence for the finish reason of choice 0, or of a response; `None` if nothing cut the answer."""
    answer: Any = result
    if hasattr(answer, "output"):
        if answer.status != "incomplete":
            return None
        reason = str(getattr(answer.incomplete_details, "reason", None) or "unknown")
        return f"{_OUTCOMES.get(reason, 'Not complete')} (incomplete: {reason})."
    reason = str(answer.choices[0].finish_reason) if answer.choices else ""
    return f"{_OUTCOMES[reason]} (finish reason: {reason})." if reason in _FINISH_REASONS else None


_FINISH_REASONS = frozenset({"length", "content_filter"})

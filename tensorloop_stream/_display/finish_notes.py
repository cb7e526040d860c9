"""The sentences for an answer that the gateway ended before the model had finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tensorloop_stream._chat.vocabulary import is_complete

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion
    from openai.types.responses import Response

_OUTCOMES = {
    "length": "Cut off at the limit of tokens",
    "max_output_tokens": "Cut off at the limit of tokens",
    "content_filter": "Stopped by the content filter",
}


def finish_note(result: ChatCompletion | Response) -> str | None:
    """Return the sentence for the finish reason of choice 0, or of a response; `None` if the answer is complete.

    A finish reason that the package does not know is named: hosts have dozens of names for a cut.
    """
    answer: Any = result
    if hasattr(answer, "output"):
        if answer.status != "incomplete":
            return None
        reason = str(getattr(answer.incomplete_details, "reason", None) or "unknown")
        return f"{_OUTCOMES.get(reason, 'Not complete')} (incomplete: {reason})."
    reason = str(answer.choices[0].finish_reason or "") if answer.choices else ""
    if not reason or is_complete(reason):
        return None
    return f"{_OUTCOMES.get(reason.strip().lower(), 'Perhaps not complete')} (finish reason: {reason})."

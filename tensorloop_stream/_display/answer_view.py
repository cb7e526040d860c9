"""Render an answer as Markdown while it grows, and decide when to show the next state."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from numbers import Real
from typing import TYPE_CHECKING, Any

from .finish_notes import finish_note
from .markdown import closing_fence, code_block, harmless, keep_lines, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tensorloop_stream._stream.base import StreamView

__all__ = ["AnswerView", "not_opened", "require_interval", "side_by_side"]

# A front end renders the whole answer at each update: the longer the answer, the rarer its updates.
_CHARACTERS_PER_SECOND = 50_000


class AnswerView:
    """The part of a stream that a notebook shows, as Markdown; no front end is needed."""

    def __init__(
        self,
        stream: StreamView[Any],
        *,
        min_interval: float,
        footer: bool,
        trusted: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream
        self._min_interval = min_interval
        self._footer = footer
        self._trusted = trusted
        self._clock = clock
        self._due = float("-inf")
        self._seen = 0

    def update(self) -> str | None:
        """Return the Markdown of the answer so far; `None` if nothing is new, or the last update was too recent."""
        state = self._stream._state  # noqa: SLF001 - of this package
        if state.count == self._seen or not state.accumulation.has_token or self._clock() < self._due:
            return None
        self._seen = state.count
        markdown = "\n\n".join(self._parts())
        if not markdown:
            return None
        self._due = self._clock() + max(self._min_interval, len(markdown) / _CHARACTERS_PER_SECOND)
        return markdown

    def last(self, error: BaseException | None = None) -> tuple[str, str]:
        """Return the last state, as Markdown and as plain text."""
        parts, notes = self._parts(), self._notes(error)
        answer = self._stream._state.accumulation  # noqa: SLF001 - of this package
        calls = [f"{name}({arguments})" for name, arguments, _ in map(_name_and_arguments, answer.tool_calls)]
        text = "\n\n".join(filter(None, (answer.text or answer.refusal, *calls, *notes)))
        parts += [f"> ⚠️ {_escape_lines(note)}" for note in notes]
        if self._footer:
            parts.append(f"<small>{self._figures()}</small>")
        return "\n\n".join(parts), text

    def _parts(self) -> list[str]:
        """Return the reasoning, the text and the tool calls, each as Markdown."""
        answer = self._stream._state.accumulation  # noqa: SLF001 - of this package
        parts = []
        if text := answer.text or answer.refusal:
            parts.append(keep_lines(text + closing_fence(text) if self._trusted else harmless(text)))
        parts += map(_tool_call_block, answer.tool_calls)
        if reasoning := answer.reasoning.strip():
            # Escaped, so that no markup in the reasoning affects the answer. Unfolded until the answer begins.
            lines = "\n\n".join(_escape_lines(paragraph) for paragraph in reasoning.split("\n\n") if paragraph.strip())
            unfolded = "" if parts else " open"
            parts.insert(0, f"<details{unfolded}><summary>Reasoning</summary>\n\n{lines}\n\n</details>")
        return parts

    def _notes(self, error: BaseException | None) -> list[str]:
        """Return the sentences that tell a reader why the answer may not be complete."""
        result = self._stream._state.accumulation.result  # noqa: SLF001 - of this package
        choices = getattr(result, "choices", ())
        is_empty = not self._parts()
        notes = []
        if isinstance(error, Exception) and not self._stream._state.is_left:  # noqa: SLF001 - of this package
            notes.append(_failure(error, is_empty=is_empty))
        elif error is not None:
            outcome = "Stopped" if isinstance(error, Exception) else "Interrupted"
            notes.append(f"{outcome} before any output." if is_empty else f"{outcome}: the answer may be incomplete.")
        elif is_empty:
            notes.append("The answer is empty.")
        if note := finish_note(result):
            notes.append(note)
        if len(choices) > 1:
            notes.append(f"This is one of {len(choices)} choices; all are in the completion.")
        return notes

    def _figures(self) -> str:
        """Return the footer: the model, the size of the answer and its timing."""
        state, timing = self._stream._state, self._stream.timing  # noqa: SLF001 - of this package
        chunks, tokens = len(timing.chunk_times), timing.completion_tokens
        figures = [plain(str(getattr(state.accumulation.result, "model", "") or ""))]
        if tokens is not None:
            figures.append(f"{tokens:,} token{'' if tokens == 1 else 's'}")
        else:
            figures.append(f"{chunks:,} {state.dialect.item_name}{'' if chunks == 1 else 's'}")
        if timing.time_to_first_token is not None:
            figures.append(f"first token after {timing.time_to_first_token:.2f} s")
        if timing.tokens_per_second is not None:
            figures.append(f"{timing.tokens_per_second:.0f} tokens/s")
        figures.append(f"{timing.duration:.2f} s in all")
        return " · ".join(filter(None, figures))


def not_opened(error: BaseException) -> tuple[str, str]:
    """Return the view of a stream that could not be opened, as Markdown and as plain text."""
    note = _failure(error, is_empty=True) if isinstance(error, Exception) else "Interrupted before any output."
    return f"> ⚠️ {_escape_lines(note)}", note


def side_by_side(columns: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Return several views, each as Markdown and as plain text, as columns of one.

    The blank lines end the HTML, so that Markdown stands in the cells of the table.
    """
    width = 100 // max(len(columns), 1)
    cell = f'<td style="width:{width}%;text-align:left;vertical-align:top">'
    cells = (f"{cell}\n\n{markdown}{closing_fence(markdown)}\n\n</td>" for markdown, _ in columns)
    rows = "".join(cells)
    return f'<table style="width:100%;table-layout:fixed"><tr>{rows}</tr></table>', "\n\n".join(
        filter(None, (text for _, text in columns))
    )


def require_interval(min_interval: object) -> None:
    """Raise `ValueError` for a value that is no number of seconds."""
    if not (isinstance(min_interval, Real) and float(min_interval) >= 0):
        raise ValueError(
            f"min_interval is {min_interval!r}: it must be a number of seconds, 0 or more; 0 shows each chunk at once"
        )


def _failure(error: Exception, *, is_empty: bool) -> str:
    outcome = "Failed before any output." if is_empty else "Failed: the answer may be incomplete."
    return f"{outcome} {type(error).__name__}: {error}"


def _name_and_arguments(call: Any) -> tuple[str, str, str]:
    """Return the name of a tool call of either API, its input, and the language of the input."""
    if call.type == "function_call":
        return call.name or "", call.arguments or "", "json"
    if call.type == "custom_tool_call":
        return call.name or "", call.input or "", ""
    if call.type == "function":
        return call.function.name or "", call.function.arguments or "", "json"
    return call.custom.name or "", call.custom.input or "", ""


def _tool_call_block(call: Any) -> str:
    name, arguments, language = _name_and_arguments(call)
    # The JSON may still be incomplete, or nested too deeply.
    with suppress(ValueError, RecursionError):
        arguments = json.dumps(json.loads(arguments), indent=2, ensure_ascii=False) if language else arguments
    return f"**Tool call** <code>{plain(name)}</code>\n\n{code_block(arguments, language)}"


def _escape_lines(text: str) -> str:
    return "<br>".join(plain(line.strip()) for line in text.strip().split("\n"))

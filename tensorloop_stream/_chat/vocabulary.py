"""The names that providers give to the same things. A new provider's name is added here, and nowhere else.

A field whose name says by itself that it is text or reasoning (`reasoning_text`) needs no entry: see `merge`.
"""

from __future__ import annotations

# The fields of a delta that are reasoning, as text or as a list of parts. The same reasoning under two of these names
# in one chunk counts once.
REASONING_FIELDS = ("reasoning_content", "reasoning")
# Lists of thoughts that most hosts send beside one of these fields, and some alone (MiniMax).
REASONING_LISTS = ("reasoning_details", "thinking_blocks")
# The types of the parts of a content list that come in pieces. All but the first are reasoning.
JOINED_PARTS = ("text", "thinking", "reasoning", "summary_text", "reasoning_text", "thought")
REASONING_PARTS = JOINED_PARTS[1:]
# The fields of a part that hold its text. All but the first may hold parts in its place (Mistral, Databricks).
PART_TEXTS = ("text", "thinking", "summary", "content", "reasoning")
PART_LISTS = PART_TEXTS[1:]
# The finish reasons of a complete answer, in lower case. After any other, the arguments of a call may be valid JSON by
# chance (vllm#53269): hosts have dozens of names for a cut, a block and a failure (houston#1211, agenc-core#2492).
COMPLETE = frozenset({"stop", "tool_calls", "function_call", "eos", "end_turn", "tool_use"})
# Values of the field, in lower case, that hosts send in place of null before the end (DashScope).
_NO_REASON = frozenset({"", "null", "none", "undefined"})


def is_reason(finish_reason: object) -> bool:
    """Tell whether the value of the field is a finish reason: null in words, in any case, and blanks are none."""
    if isinstance(finish_reason, str):
        return finish_reason.strip().lower() not in _NO_REASON
    return bool(finish_reason)


def is_complete(finish_reason: str) -> bool:
    """Tell whether a finish reason, in any case and between blanks, says that the model had finished."""
    return finish_reason.strip().lower() in COMPLETE

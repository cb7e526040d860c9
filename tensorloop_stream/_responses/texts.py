"""Text that arrives in pieces, and as a whole beside them; no I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tensorloop_stream._stream.text import TextBuffer, as_text

if TYPE_CHECKING:
    from collections.abc import Callable


# The fields of an object that stands in the place of a text.
_TEXT_NAMES = ("text", "value", "content", "refusal", "thinking", "reasoning", "summary")
# Those of an object that stands in the place of a piece of an input.
_INPUT_NAMES = ("arguments", "input", "code", "partial_json", "text", "value")


def piece_text(value: Any) -> str:
    """Return the text of a delta, or of a whole: a string, an object with a text, a list of both, or a number."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(map(piece_text, value))
    if isinstance(value, dict):
        return next((text for name in _TEXT_NAMES if (text := piece_text(value.get(name)))), "")
    return as_text(value) if type(value) in {int, float} else ""


class Text:
    """One text of an answer: its pieces, and the wholes that repeat them.

    Of two versions of which one is the beginning of the other, the longer is right: hosts send an empty whole, a whole
    after the first piece, and a whole with pieces that never came (agentgateway#2281, OmniRoute#13693,
    vercel/ai#13844). Else the later is.
    """

    __slots__ = ("_matched", "_pieces", "_whole", "is_told")

    def __init__(self) -> None:
        self._pieces = TextBuffer()
        # The whole that is the text, where the pieces are not.
        self._whole: str | None = None
        # The characters of the pieces with which that whole begins; below 0 if the pieces are another text.
        self._matched = 0
        # Whether the text still begins with all that came before: else its rest does not continue what was told.
        self.is_told = True

    def __str__(self) -> str:
        return str(self._pieces) if self._whole is None else self._whole

    @property
    def appending(self) -> Callable[[str], str]:
        """A function that appends pieces as long as no whole comes."""
        return self._pieces.append if self._whole is None and self.is_told else self.append

    def append(self, piece: str) -> str:
        """Take a piece and return the text that it adds; nothing if the text is not that which was told."""
        shown = self._pieces.append(piece)
        whole = self._whole
        if whole is None:
            return shown if self.is_told else ""
        if self._matched >= 0:
            if whole.startswith(piece, self._matched):
                self._matched += len(piece)
                return ""
            rest = whole[self._matched :]
            if piece.startswith(rest):
                self._whole = None
                return piece[len(rest) :] if self.is_told else ""
        self._whole, self.is_told = None, False
        return ""

    def replace(self, whole: str) -> None:
        """Take a whole."""
        known = str(self)
        if known.startswith(whole):
            return
        self._whole = whole
        self.is_told = self.is_told and whole.startswith(known)
        pieces = str(self._pieces)
        self._matched = len(pieces) if whole.startswith(pieces) else -1


class Input:
    """The input of a call: arguments, code, or a text. A whole replaces the pieces, and ends them if it is JSON.

    pydantic-ai#5757 is of a host that sends pieces after the whole. An empty object is the weakest of wholes: it ends
    no pieces, and replaces none (litellm#17254).
    """

    __slots__ = ("_is_empty", "_is_whole", "_pieces", "has_come")

    def __init__(self) -> None:
        self._pieces = TextBuffer()
        # Whether a whole came that is JSON, and whether an empty object came before anything else.
        self._is_whole = self._is_empty = False
        # Whether the gateway sent any, were it empty.
        self.has_come = False

    def __str__(self) -> str:
        return str(self._pieces) or ("{}" if self._is_empty else "")

    @property
    def appending(self) -> Callable[[str], str]:
        """A function that appends pieces as long as no whole comes."""
        return self.append if self._is_whole else self._pieces.append

    def append(self, piece: str) -> str:
        """Take a piece; return nothing, since no input is text of the answer."""
        self.has_come = True
        if not self._is_whole:
            self._pieces.append(piece)
        return ""

    def append_value(self, value: Any, *, is_json: bool) -> None:
        """Take a delta that is no string: an object or a list with a piece, or the input itself, which is an object.

        Where the input `is_json`, an object is a piece if its text can be one of JSON, and else the arguments.
        """
        if isinstance(value, (dict, list)) and not value:
            return
        texts = [_input_text(each) for each in value] if isinstance(value, list) else [_input_text(value)]
        text = "".join(each for each in texts if each is not None)
        if None not in texts and (self._pieces or not is_json or text.lstrip().startswith("{")):
            if text:
                self.append(text)
        else:
            self.replace(value)

    def replace(self, whole: Any) -> None:
        """Take a whole; one that is empty says nothing."""
        self.has_come = self.has_come or whole is not None
        if whole is None or whole == "":
            return
        text = as_text(whole)
        if text.replace(" ", "") == "{}":
            self._is_empty = True
            return
        self._pieces = TextBuffer()
        self._pieces.append(text)
        self._is_whole = is_json(text)

    def is_valid(self) -> bool:
        """Tell whether the input is JSON, or empty."""
        return self._is_whole or not (text := str(self)).strip() or is_json(text)


def _input_text(value: Any) -> str | None:
    """Return the piece of an input in an object, or a string; `None` if there is none."""
    if isinstance(value, dict):
        return next((text for name in _INPUT_NAMES if isinstance(text := value.get(name), str)), None)
    return value if isinstance(value, str) else None


def is_json(text: str) -> bool:
    """Tell whether a text is one JSON value."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True

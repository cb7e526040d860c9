"""Run a command against a server on loopback."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from types import FrameType

_TEST_RUNNERS = {"pytest", "py.test"}


class CannotRunError(Exception):
    """The command cannot be run; `status` is the exit status that a shell has for it."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def is_test_run(command: Sequence[str]) -> bool:
    """Return whether a command runs pytest: by its name, as a module of Python, or through another program."""
    return any(PurePath(word).name.lower().removesuffix(".exe") in _TEST_RUNNERS for word in command)


def command_word(words: Sequence[str], *, first_may_be: bool, separated: bool) -> str | None:
    """Return the first of the words given as cassettes that begins a command, `None` if none does.

    Such a word is neither a folder nor a `.yaml` file. The first word, and each word if the command was `separated`
    by `--`, must also be the name of a program.
    """
    for number, word in enumerate(words):
        path = Path(word)
        if word.startswith("-") or path.suffix in {".yaml", ".yml"} or path.is_dir():
            continue
        if (number or first_may_be) and not separated:
            return word
        if not path.exists() and shutil.which(word):
            return word
    return None


def run(command: Sequence[str], settings: Mapping[str, str]) -> int:
    """Run the command to its end and return its exit status, 128 + n for signal n as shells do.

    The settings are added to its environment. Raises `CannotRunError`.
    """
    environment = {**os.environ, **settings}
    if sys.prefix != sys.base_prefix:
        # In a virtual environment that is not activated, `python` must be its own: the command imports from it.
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    # Ctrl-C signals the whole process group: let the command decide, and wait for its end. A handler does that;
    # the command would inherit SIG_IGN.
    with _handler(signal.SIGINT, lambda *_: None):
        try:
            process = subprocess.Popen(command, env=environment)  # noqa: S603  # the user asked to run it
        except FileNotFoundError:
            raise CannotRunError(f"there is no command {command[0]}", 127) from None
        except OSError as error:
            raise CannotRunError(f"cannot run {command[0]}: {error.strerror}", 126) from None
        with _handler(signal.SIGTERM, lambda *_: process.terminate()):
            status = process.wait()
    return 128 - status if status < 0 else status


@contextmanager
def _handler(number: signal.Signals, function: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Handle a signal by a function inside of the block: the program that runs this goes on afterwards."""
    before = signal.signal(number, function)
    try:
        yield
    finally:
        # None stands for a handler that is not Python's, and that Python cannot set.
        signal.signal(number, signal.SIG_DFL if before is None else before)

"""The options of the command line."""

import argparse
from pathlib import Path
from typing import Any

from ._faults import OPTIONS

PROGRAM = "python -m tensorloop_stream.replay"
PORT = 8787
DELAY = "0.03"
SERVICE = "https://litellm.tensorloop.tech/v1"

_DESCRIPTION = (
    "Answer chat completions and responses on loopback, without a key: while COMMAND runs, with TENSORLOOP_BASE_URL, "
    "OPENAI_BASE_URL and dummies of TENSORLOOP_KEY and OPENAI_API_KEY in its environment, or without a COMMAND until "
    "Ctrl-C. A request that was recorded gets its answer. Any other gets the nearest recorded answer of its kind "
    "(tools, structured output, n), or a canned one; a line on stderr says which."
)
_EPILOG = (
    "A request may ask for its own faults in the name of its model: "
    '"gpt-4o-mini?cut-after=7&delay=0.03". GET /stats at the root of the server tells who left early.'
)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog=PROGRAM,
        usage="%(prog)s [CASSETTE ...] [options] [-- COMMAND ...]\n       %(prog)s --record FOLDER [--upstream URL] "
        "[-- COMMAND ...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    made.add_argument("cassettes", metavar="CASSETTE", nargs="*", help="a cassette of vcrpy, or a folder of them")
    made.add_argument(
        "--record",
        metavar="FOLDER",
        type=Path,
        help="pass requests to the service instead, and keep each exchange as a cassette in this folder (or all of "
        "them in one file that ends in .yaml), without keys and with its times",
    )
    made.add_argument(
        "--upstream",
        metavar="URL",
        help=f"the base URL of the service to record (default: TENSORLOOP_BASE_URL, else {SERVICE})",
    )
    made.add_argument("--port", type=_port, help=f"listen here (default: {PORT}; with COMMAND an unused one)")
    made.add_argument("--cors", metavar="ORIGIN", help="let pages of this origin call, * for all")
    made.add_argument(
        "--strict",
        action=argparse.BooleanOptionalAction,
        help="answer 404 to what was not recorded (default: in front of pytest)",
    )
    made.add_argument("--quiet", action="store_true", help="write no line about each request to stderr")
    made.add_argument(
        "--fallback",
        metavar="CASSETTE",
        action="append",
        default=[],
        help="answer what was not recorded from this cassette",
    )
    made.add_argument(
        "--ignore",
        metavar="FIELD",
        action="append",
        default=[],
        help="a field that does not count when requests are compared: temperature, messages.0",
    )
    for option in OPTIONS:
        # The table of faults parses the value, as in model names: argparse only keeps its text.
        how: dict[str, Any] = {"metavar": option.metavar} if option.metavar else {"action": "store_const", "const": ""}
        default = {"delay": f" (default: {DELAY})", "speed": " (default: 1)"}.get(option.name, "")
        made.add_argument(f"--{option.name}", dest=option.name, help=option.help + default, **how)
    return made


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"a number from 0 to 65535 is wanted, not {text!r}")
    return int(text)

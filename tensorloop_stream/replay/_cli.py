"""Define the command line `python -m tensorloop_stream.replay`."""

import argparse
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ._faults import OPTIONS, read_options
from ._server import ReplayServer

_PROGRAM = "python -m tensorloop_stream.replay"
_PORT = 8787
_KEY = "tl_replay"
_DELAY = "0.03"

_DESCRIPTION = (
    "Serve recorded chat completions on loopback: while COMMAND runs, with TENSORLOOP_BASE_URL and a dummy "
    "TENSORLOOP_KEY in its environment, or without a COMMAND until Ctrl-C."
)
_EPILOG = (
    "A request may ask for its own faults in the name of its model: "
    '"gpt-4o-mini?cut-after=7&delay=0.03". GET /stats at the root of the server tells who left early.'
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: that of COMMAND, or 2 for wrong arguments or cassettes."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = None
    if "--" in arguments:
        at = arguments.index("--")
        arguments, command = arguments[:at], arguments[at + 1 :]
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    if command == []:
        parser.error("there is no COMMAND after --")
    port = options["port"] if options["port"] is not None else _PORT if command is None else 0
    try:
        faults = read_options((each.name, text) for each in OPTIONS if (text := options[each.name]) is not None)
        server = ReplayServer(options["cassettes"], port=port, cors=options["cors"], **faults)
    except (ValueError, ModuleNotFoundError) as error:
        return _complain(str(error))
    with ExitStack() as stack:
        try:
            stack.enter_context(server)
        except OSError as error:
            # Its own text repeats the address.
            reason = os.strerror(error.errno or 0)
            return _complain(f"cannot listen on port {port}: {reason}; give another with --port")
        return _serve(server) if command is None else _run(command, server.base_url)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        usage="%(prog)s CASSETTE... [options] [-- COMMAND ...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    parser.add_argument("cassettes", metavar="CASSETTE", nargs="+", help="a cassette of vcrpy, or a folder of them")
    parser.add_argument("--port", type=_port, help=f"listen here (default: {_PORT}; with COMMAND an unused one)")
    parser.add_argument("--cors", metavar="ORIGIN", help="let pages of this origin call, * for all")
    for option in OPTIONS:
        # Read by the table, as in the names of models, and only then: argparse is handed mere text.
        how: dict[str, Any] = {"metavar": option.metavar} if option.metavar else {"action": "store_const", "const": ""}
        parser.add_argument(
            f"--{option.name}",
            dest=option.name,
            help=option.help + (f" (default: {_DELAY})" if option.name == "delay" else ""),
            **how,
        )
    parser.set_defaults(delay=_DELAY)  # for a person to watch; a test in Python does not wait
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"a number from 0 to 65535 is wanted, not {text!r}")
    return int(text)


def _complain(why: str, *, status: int = 2) -> int:
    sys.stderr.write(f"{_PROGRAM}: {why}\n")
    return status


def _serve(server: ReplayServer) -> int:
    lines = [
        f"Replaying on {server.base_url} until Ctrl-C. For another shell:",
        "",
        f"  export TENSORLOOP_BASE_URL={server.base_url}",
        f"  export TENSORLOOP_KEY={_KEY}",
        "",
        *server.served,
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    # A reader behind a pipe waits for the address.
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    return 0


def _run(command: list[str], base_url: str) -> int:
    """Run the command to its end and return its exit status, 128 + n for signal n as shells do."""
    environment = {**os.environ, "TENSORLOOP_BASE_URL": base_url, "TENSORLOOP_KEY": _KEY}
    if sys.prefix != sys.base_prefix:
        # A virtual environment that was not activated: its python, not another, has what the command imports.
        environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", os.defpath)])
    # Ctrl-C goes to the whole process group: the command decides, and its end is waited for. A handler and
    # not SIG_IGN, which the command would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen(command, env=environment)  # noqa: S603  # running it is what was asked for
    except FileNotFoundError:
        return _complain(f"there is no command {command[0]}", status=127)
    except OSError as error:
        return _complain(f"cannot run {command[0]}: {error.strerror}", status=126)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    status = process.wait()
    return 128 - status if status < 0 else status

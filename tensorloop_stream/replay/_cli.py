"""`python -m tensorloop_stream.replay`: the command line."""

import os
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from typing import Any

from ._command import CannotRunError, is_test_run, run
from ._faults import OPTIONS, FaultOptions, read_options
from ._options import DELAY, PORT, PROGRAM, parser
from ._server import ReplayServer

_KEY = "tl_replay"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: COMMAND's own, or 2 for what cannot be served."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    command = None
    if "--" in arguments:
        at = arguments.index("--")
        arguments, command = arguments[:at], arguments[at + 1 :]
    reader = parser()
    options = vars(reader.parse_args(arguments))
    if command == []:
        reader.error("there is no COMMAND after --")
    port = options["port"] if options["port"] is not None else PORT if command is None else 0
    strict = options["strict"] if options["strict"] is not None else command is not None and is_test_run(command)
    try:
        server = ReplayServer(
            options["cassettes"],
            port=port,
            cors=options["cors"],
            strict=strict,
            fallback=options["fallback"],
            ignore=options["ignore"],
            tell=None if strict else _tell,
            **_faults(options),
        )
    except (ValueError, ModuleNotFoundError) as error:
        return _complain(str(error))
    with ExitStack() as stack:
        try:
            stack.enter_context(server)
        except OSError as error:
            # Its own text repeats the address.
            reason = os.strerror(error.errno or 0)
            return _complain(f"cannot listen on port {port}: {reason}; give another with --port")
        if command is None:
            return _serve(server, strict=strict)
        try:
            return run(command, {"TENSORLOOP_BASE_URL": server.base_url, "TENSORLOOP_KEY": _KEY})
        except CannotRunError as error:
            return _complain(str(error), status=error.status)


def _faults(options: dict[str, Any]) -> FaultOptions:
    """Read the faults; a person watches at the recorded pace, and else at a readable one."""
    written = {each.name: text for each in OPTIONS if (text := options[each.name]) is not None}
    if "delay" not in written:
        written = {"speed": "1", "delay": DELAY, **written}
    return read_options(written.items())


def _complain(why: str, *, status: int = 2) -> int:
    sys.stderr.write(f"{PROGRAM}: {why}\n")
    return status


def _tell(line: str) -> None:
    sys.stderr.write(f"replay: {line}\n")
    sys.stderr.flush()


def _serve(server: ReplayServer, *, strict: bool) -> int:
    lines = [
        f"Replaying on {server.base_url} until Ctrl-C. For another shell:",
        "",
        f"  export TENSORLOOP_BASE_URL={server.base_url}",
        f"  export TENSORLOOP_KEY={_KEY}",
        "",
        *server.served,
        *([] if strict else ["Any other prompt gets the nearest of these of its kind, or a canned answer."]),
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    # A reader behind a pipe waits for the address.
    sys.stdout.flush()
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    return 0

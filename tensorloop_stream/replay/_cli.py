"""Define the command line `python -m tensorloop_stream.replay`."""

import os
import shlex
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from ._command import CannotRunError, command_word, is_test_run, run
from ._faults import OPTIONS, FaultOptions, read_options
from ._options import DELAY, PORT, PROGRAM, SERVICE, parser
from ._record.recorder import RecordingServer
from ._server import ReplayServer

_KEY = "tl_replay"
_MOST_TOLD = 5
_NOT_ASKED = (
    "no request came; a client with a base_url of its own must read it from TENSORLOOP_BASE_URL or OPENAI_BASE_URL"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: that of COMMAND, or 2 for wrong arguments or cassettes."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    arguments, command = given, None
    if "--" in given:
        at = given.index("--")
        arguments, command = given[:at], given[at + 1 :]
    reader = parser()
    parsed, unknown = reader.parse_known_args(arguments)
    options = vars(parsed)
    words = [*options["cassettes"], *unknown[:1]]
    in_command = command_word(words, first_may_be=options["record"] is not None, separated=command is not None)
    if unknown:
        reader.error(f"unrecognized arguments: {' '.join(unknown)}{_separated(given, in_command)}")
    if command == []:
        reader.error("there is no COMMAND after --")
    if options["port"] is None:
        options["port"] = PORT if command is None else 0
    try:
        return _record(options, command) if options["record"] else _replay(options, command)
    except (ValueError, ModuleNotFoundError) as error:
        about = in_command is not None and str(error).startswith((f"{Path(in_command)}: ", "--record only"))
        return _complain(f"{error}{_separated(given, in_command) if about else ''}")
    except _PortTakenError as error:
        return _complain(f"cannot listen on port {options['port']}: {error}; give another with --port")
    except CannotRunError as error:
        return _complain(str(error), status=error.status)


def _replay(options: dict[str, Any], command: list[str] | None) -> int:
    if options["upstream"] is not None:
        raise ValueError("--upstream goes with --record")
    strict = options["strict"] if options["strict"] is not None else command is not None and is_test_run(command)
    with _unwarned(_reporter("replay"), quiet=options["quiet"]):
        server = ReplayServer(
            options["cassettes"],
            port=options["port"],
            cors=options["cors"],
            strict=strict,
            fallback=options["fallback"],
            ignore=options["ignore"],
            report=None if strict or options["quiet"] else _reporter("replay"),
            **_faults(options),
        )
    with _unwarned(_reporter("replay"), quiet=options["quiet"]), _listening(server):
        if command is not None:
            # A plain `OpenAI()` must not ask the true service, and be billed, in a program that is tried here.
            settings = {"BASE_URL": server.base_url, "KEY": _KEY}
            own = {f"TENSORLOOP_{name}": value for name, value in settings.items()}
            status = run(command, {**own, "OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": _KEY})
            for sentence in () if options["quiet"] else _at_the_end(server, strict=strict):
                _reporter("replay")(sentence)
            return status
        others = [] if strict else ["Any other prompt gets the nearest of these of its kind, or a canned answer."]
        settings = {f"{who}_BASE_URL": server.base_url for who in ("TENSORLOOP", "OPENAI")}
        settings |= {"TENSORLOOP_KEY": _KEY, "OPENAI_API_KEY": _KEY}
        return _serve("Replaying", settings, [*server.served, *others])


def _at_the_end(server: ReplayServer, *, strict: bool) -> Iterator[str]:
    """Yield what a program may have hidden: that it asked nothing, or what nobody recorded."""
    if not server.requests:
        yield _NOT_ASKED
    if strict and (unmatched := server.unmatched):
        yield f"{len(unmatched)} of {len(server.requests)} requests got a 404:"
        yield from unmatched[:_MOST_TOLD]
        if len(unmatched) > _MOST_TOLD:
            yield f"and {len(unmatched) - _MOST_TOLD} more"


def _record(options: dict[str, Any], command: list[str] | None) -> int:
    given = [each.name for each in OPTIONS if options[each.name] is not None]
    given += [name for name in ("fallback", "ignore") if options[name]]
    if options["cassettes"] or given or options["strict"] is not None:
        wrong = options["cassettes"] or [f"--{name}" for name in given] or ["--strict"]
        raise ValueError(f"--record only passes requests on, and takes no {wrong[0]}")
    upstream = options["upstream"] or os.environ.get("TENSORLOOP_BASE_URL", "").strip() or SERVICE
    report = _reporter("record")
    server = RecordingServer(options["record"], upstream, port=options["port"], cors=options["cors"], report=report)
    if server.files.earlier:
        report(f"{options['record']} holds cassettes already: for an equal request, the older one is played first")
    with _listening(server):
        if command is None:
            status = _serve(f"Recording {server.upstream}", {"TENSORLOOP_BASE_URL": server.base_url}, [])
        else:
            # Its key is its own, from wherever it has it: the recorder passes it on.
            status = run(command, {"TENSORLOOP_BASE_URL": server.base_url})
    count = server.files.count
    if server.files.asked and not count:
        report(f"0 of {server.files.asked} exchanges kept: {server.upstream} gave no answer that can be kept")
        return status
    if not count:
        report("0 exchanges kept: no request came; a plain OpenAI() does not read TENSORLOOP_BASE_URL")
        return status
    for sentence in server.not_found:
        report(sentence)
    report(f"{count} exchange{'' if count == 1 else 's'} kept; to play: {PROGRAM} {options['record']} -- COMMAND")
    return status


class _PortTakenError(Exception):
    """The port cannot be listened on."""


@contextmanager
def _listening(server: ReplayServer | RecordingServer) -> Iterator[None]:
    """Keep a server open; raises `_PortTakenError`."""
    with ExitStack() as stack:
        try:
            stack.enter_context(server)
        except OSError as error:
            # The text of the error itself repeats the address.
            raise _PortTakenError(os.strerror(error.errno or 0)) from None
        yield


@contextmanager
def _unwarned(report: Callable[[str], None], *, quiet: bool) -> Iterator[None]:
    """Print what the server warns of as lines of the command."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for each in () if quiet else caught:
        report(str(each.message))


def _reporter(who: str) -> Callable[[str], None]:
    def report(line: str) -> None:
        sys.stderr.write(f"{who}: {line}\n")
        sys.stderr.flush()

    return report


def _faults(options: dict[str, Any]) -> FaultOptions:
    """Read the faults; a person watches at the recorded pace, and else at a readable one."""
    written = {each.name: text for each in OPTIONS if (text := options[each.name]) is not None}
    if "delay" not in written:
        written = {"speed": "1", "delay": DELAY, **written}
    return read_options(written.items())


def _separated(given: list[str], word: str | None) -> str:
    """Return the end of a sentence that shows the arguments with `--` before the word that begins a command."""
    if word is None:
        return ""
    at = given.index(word)
    return f"; did you forget -- before the command? {PROGRAM} {shlex.join([*given[:at], '--', *given[at:]])}"


def _complain(why: str, *, status: int = 2) -> int:
    sys.stderr.write(f"{PROGRAM}: {why}\n")
    return status


def _serve(doing: str, settings: dict[str, str], more: list[str]) -> int:
    base_url = settings["TENSORLOOP_BASE_URL"]
    lines = [
        f"{doing} on {base_url} until Ctrl-C. For another shell:",
        "",
        *(f"  export {name}={value}" for name, value in settings.items()),
        "",
        *more,
    ]
    with suppress(KeyboardInterrupt):
        sys.stdout.write("\n".join(lines).rstrip("\n") + "\n")
        # A program that reads the pipe waits for the address.
        sys.stdout.flush()
        threading.Event().wait()
    return 0

"""Define the command line `python -m tensorloop_stream.recipes`."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from . import _files


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
    try:
        if options.action == "show":
            _show(options.name)
        elif options.action == "copy":
            _copy(options.names, options.to, force=options.force)
        else:
            _list()
    except BrokenPipeError:  # a reader such as head has left
        sys.stderr.close()
    except (LookupError, OSError) as error:
        print(f"recipes: {error.args[0] if isinstance(error, LookupError) else error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _list() -> None:
    listed = [name for name in _files.names() if not name.endswith(".json")]
    width = max(map(len, listed))
    for name in listed:
        print(f"{name:{width}}  {_files.summary(name)}")  # noqa: T201 - what a command line does
    print("\nshow NAME prints one; copy NAME... [--to FOLDER] copies some, with the files that they read.")  # noqa: T201


def _show(name: str) -> None:
    # Bytes, since a terminal of another encoding must not change what is redirected to a file.
    sys.stdout.flush()
    sys.stdout.buffer.write((_files.folder() / _files.find(name)).read_bytes())
    sys.stdout.buffer.flush()


def _copy(names: Sequence[str], to: Path, *, force: bool) -> None:
    chosen = dict.fromkeys(each for name in names for each in _files.with_companions(_files.find(name)))
    # Beside each other, whatever their folder was: but for the deeper paths that a framework requires.
    targets = {each: to / (Path(each).name if each.count("/") < 2 else each) for each in chosen}
    taken = [str(target) for target in targets.values() if target.exists()]
    if taken and not force:
        raise FileExistsError(f"{', '.join(taken)} exists already: --force replaces it")
    for each, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_files.folder() / each, target)
        print(target)  # noqa: T201
    if any(map(_files.needs_cassettes, chosen)):
        shutil.copytree(_files.cassettes(), to / "cassettes", dirs_exist_ok=True)
        print(to / "cassettes")  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tensorloop_stream.recipes", description="List, show or copy the recipes."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION")
    actions.add_parser("list", help="name them all (the default)")
    show = actions.add_parser("show", help="print one")
    show.add_argument("name", metavar="NAME", help="such as stream, or javascript/stream.mjs")
    copy = actions.add_parser("copy", help="copy some, with the files that they read")
    copy.add_argument("names", metavar="NAME", nargs="+")
    copy.add_argument("--to", metavar="FOLDER", type=Path, default=Path(), help="where to (here)")
    copy.add_argument("--force", action="store_true", help="replace files that exist")
    return parser

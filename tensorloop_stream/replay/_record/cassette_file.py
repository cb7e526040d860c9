"""Write cassettes: a file for each exchange in a folder, or one file for all of them."""

import datetime as dt
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorloop_stream.replay._cassettes import load_yaml_module

_SHOWN = 40
# YAML 1.1 takes the first three for line breaks; PyYAML reads U+0085 back as LF unless it is quoted.
_QUOTED = re.compile("[\x85\u2028\u2029]")
_NUMBERED = re.compile(r"(\d+)_.*\.yaml")


class CassetteFiles:
    """Writes each exchange as soon as it has ended, numbered in the order of the requests.

    A path that ends in `.yaml` is one file for all; any other is a folder, and what is in it stays. Raises
    `ValueError` for a file that is there already, and `ModuleNotFoundError` without PyYAML.
    """

    def __init__(self, path: Path) -> None:
        self._yaml = load_yaml_module()
        self._path = path
        self._is_file = path.suffix in {".yaml", ".yml"}
        self._kept: dict[int, Mapping[str, Any]] = {}
        if path.exists() and self._is_file:
            raise ValueError(f"{path}: there is such a file already; give another, or delete it")
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path}: a folder is wanted, or a file that ends in .yaml")
        found = [] if self._is_file else [_NUMBERED.fullmatch(file.name) for file in path.glob("*.yaml")]
        self._last = max((int(name[1]) for name in found if name), default=0)
        self.earlier = self._last
        """The number of the last cassette that was in the folder before."""

    def next_number(self) -> int:
        """Return the number of the next request."""
        self._last += 1
        return self._last

    def keep(self, number: int, words: str, interaction: Mapping[str, Any]) -> Path:
        """Write an exchange, named by its number and some words; return its file."""
        self._kept[number] = interaction
        if self._is_file:
            path, interactions = self._path, [self._kept[each] for each in sorted(self._kept)]
        else:
            path, interactions = self._path / f"{number:04}_{_slug(words)}.yaml", [interaction]
        metadata = {"recorded": dt.datetime.now(dt.UTC).date().isoformat(), "by": "tensorloop_stream.replay --record"}
        text = self._dump({"version": 1, "metadata": metadata, "interactions": interactions})
        path.parent.mkdir(parents=True, exist_ok=True)
        half_written = path.with_suffix(".part")
        half_written.write_bytes(text.encode())
        half_written.replace(path)
        return path

    @property
    def asked(self) -> int:
        """The number of requests."""
        return self._last - self.earlier

    @property
    def count(self) -> int:
        """The number of exchanges kept."""
        return len(self._kept)

    def _dump(self, cassette: Mapping[str, Any]) -> str:
        yaml = self._yaml

        class Dumper(yaml.SafeDumper):  # type: ignore[misc,name-defined]  # the module is loaded late
            """A line of the body is a line of the file, wherever YAML can hold it unchanged."""

        def text(dumper: Any, value: str) -> Any:
            style = "|" if "\n" in value else None
            return dumper.represent_scalar(
                "tag:yaml.org,2002:str", value, style='"' if _QUOTED.search(value) else style
            )

        def numbers(dumper: Any, value: list[Any]) -> Any:
            flow = bool(value) and all(isinstance(each, float) for each in value)
            return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flow)

        Dumper.add_representer(str, text)
        Dumper.add_representer(list, numbers)
        dumped: str = yaml.dump(cassette, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=float("inf"))
        return dumped


def _slug(words: str) -> str:
    slug = "_".join(re.findall(r"[a-z0-9]+", words.lower()))[:_SHOWN].strip("_")
    return slug or "exchange"

"""The tables in cassettes/README.md, made from the catalogue and from the metadata of each cassette."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cassette
from catalogue import CATALOGUE

README = cassette.FOLDER / "README.md"
BEGIN, END = "<!-- made by record.py: begin -->\n", "<!-- made by record.py: end -->\n"
SOFTWARE = ("litellm", "xllamacpp", "weights", "openai", "vcrpy")


def write_tables() -> None:
    """Write the tables between the two marks of the README."""
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_bytes((before + BEGIN + tables() + END + after).encode())


def tables() -> str:
    """Return the tables: the contents of each cassette, its source, and the software of the recording."""
    recorded = [one for one in CATALOGUE if _file(one.name).exists()]
    metadata = {one.name: _metadata(one.name) for one in recorded}
    rows = [
        (f"[{one.name}]({one.name}.yaml)", one.shows, metadata[one.name]["source"], metadata[one.name]["recorded"])
        for one in recorded
    ]
    used = Counter(
        (own["recorded"], own["source"], *(own.get(name, "") for name in SOFTWARE)) for own in metadata.values()
    )
    return "\n".join(
        [
            *_table(("cassette", "shows", "answered by", "recorded"), rows),
            "",
            *_table(
                ("recorded", "answered by", *SOFTWARE, "cassettes"),
                [(*versions, str(number)) for versions, number in used.items()],
            ),
            "",
        ]
    )


def _file(name: str) -> Path:
    return cassette.FOLDER / f"{name}.yaml"


def _metadata(name: str) -> dict[str, Any]:
    text = _file(name).read_text(encoding="utf-8")
    found: dict[str, Any] = cassette.Serializer.deserialize(text)["metadata"]
    return found


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (header, ("---",) * len(header), *rows)]

"""The README: its commands, links, tables and examples."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import cassette
import pages
import pytest
import recorded
from odd_streams import ODD_STREAMS

from tensorloop_stream import ChatStream, Tensorloop
from tensorloop_stream.replay import ReplayServer

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def block(marker: str) -> str:
    """Return the code block that follows a comment."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```\n", README, re.DOTALL)
    assert found, f"README.md has no block marked {marker}"
    return found[1]


def test_the_example_is_the_recipe() -> None:
    """The tests run the code that the README shows."""
    assert block("recipes/stream.py") == (ROOT / "recipes/stream.py").read_text("utf-8")


def test_the_output_is_the_recorded_one() -> None:
    """The README shows the output of the first command."""
    haiku = recorded.text("chat/haiku")

    assert block("output of the first command") == f"{haiku}\n--- final ({len(haiku)} chars) ---\n"


def test_the_two_commands_stand_at_the_top() -> None:
    """A new machine needs only these commands."""
    top = README[: README.index("\n## ")]

    assert (
        'pip install -e ".[replay]" && python -m tensorloop_stream.replay cassettes -- python recipes/stream.py' in top
    )
    assert 'pip install -e ".[test]" && pytest' in top


def test_every_named_file_exists() -> None:
    """Links and commands name files of the repository."""
    named = re.findall(r"(?:\]\(|python |`)((?:tests|recipes|cassettes|\.ci)/[\w./-]+)", README)

    assert named
    assert not [name for name in named if not (ROOT / name).exists()]


def test_every_anchor_and_picture_exists() -> None:
    """A link within the page ends at a heading, a picture at a file."""
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in re.findall(r"(?m)^#+ (.*)$", prose)
    }
    anchors = re.findall(r"\]\(#([^)]*)\)", prose)
    pictures = re.findall(r'(?:!\[[^\]]*\]\(|src(?:set)?=")([^)"]*)', prose)

    assert len(anchors) > 3
    assert set(anchors) <= headings
    assert len(pictures) > 3
    assert not [picture for picture in pictures if not (ROOT / picture).exists()]


def test_the_comparison_has_a_row_per_odd_stream() -> None:
    """Each stream from a real gateway has its row, and the totals are those of the rows."""
    names = [odd.name for odd in ODD_STREAMS if not odd.seen.startswith("by hand")]
    table = README[README.index("Stream by stream") : README.index("</details>")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in re.findall(r"(?m)^\|.*$", table)]
    header, _, *streams, last = rows
    right = [str(sum(row[column] == "right" for row in streams)) for column in range(1, len(header))]

    assert [row[0] for row in streams] == names
    assert last[1:] == [f"**{count}**" for count in right]
    assert f"| of {len(names)} streams |" in README
    for peer, count in zip(header[1:], right, strict=True):
        assert f"| {peer} | {count} |" in README
    assert f"[{len(ODD_STREAMS)} odd streams](tests/support/odd_streams), {len(names)} of them seen" in README
    assert f"[{len(names) - int(right[1])} of {len(names)} streams](#who-gets-it-right)" in README


def test_the_shown_cassette_plays(tmp_path: Path) -> None:
    """A cassette can be written by hand as the README shows."""
    found = re.search(r"```yaml\n(.*?)```\n", README, re.DOTALL)
    assert found
    path = tmp_path / "hello.yaml"
    path.write_text(found[1])
    with ReplayServer(path) as server, Tensorloop(base_url=server.base_url, api_key="none") as client:
        stream = client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello?"}], stream=True
        )

        assert ChatStream(stream).get_final_text() == "Hello!"
        assert server.unmatched == []


@pytest.mark.parametrize("recipe", sorted(path.name for path in ROOT.glob("recipes/*.py")))
def test_every_recipe_is_in_the_table(recipe: str) -> None:
    """A reader finds recipes by this table."""
    assert f"](recipes/{recipe})" in README


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_every_block_of_python_runs(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shown code runs against recorded answers."""
    with ReplayServer(cassette.FOLDER) as server:
        monkeypatch.setenv("TENSORLOOP_BASE_URL", server.base_url)
        monkeypatch.setenv("TENSORLOOP_KEY", "tl_none")
        with pages.closing_clients():
            exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})

        assert all(request.path.startswith("/v1/") for request in server.requests)


def extras() -> set[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return set(tomllib.load(file)["project"]["optional-dependencies"])


def test_every_extra_is_in_the_table() -> None:
    """A reader finds extras by this table."""
    install = README[README.index("## Install") : README.index("## Recipes")]

    assert set(re.findall(r"`([a-z]+)`", install)) >= extras() - {"fuzz", "peers"}


def test_every_recipe_names_its_extra() -> None:
    """The extra in a recipe's row installs every import but those of the package; no recipe imports an HTTP library."""
    brought = {*sys.stdlib_module_names, "tensorloop_stream", "openai", "pydantic", "jiter", "dotenv"}
    rows = dict(re.findall(r"\]\(recipes/(\w+\.py)\) \| ?(?:`([a-z,]+)` )?\|", README))
    for path in ROOT.glob("recipes/*.py"):
        imported = set(re.findall(r"(?m)^ *(?:from|import) (\w+)", path.read_text("utf-8"))) - brought
        named = set(filter(None, rows[path.name].split(",")))

        assert bool(imported) == bool(named), (path.name, imported)
        assert named <= extras()

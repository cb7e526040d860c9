"""The snippets of the service's Streaming page, unedited but for the base URL, under the replay."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import cassette
import pytest
import recorded
import requirements
from npm import npm_install

from tensorloop_stream.replay import ReplayServer

SNIPPETS = Path(__file__).parent / "documented"
SERVICE = "https://litellm.tensorloop.tech/v1"
NODE_MODULES = Path(__file__).parents[2] / "recipes/javascript/node_modules"
REQUEST = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "Stream a haiku about caching."}],
    "stream": True,
}
HAIKU = recorded.text("chat/haiku")
PRINTED = {
    "streaming.py": f"{HAIKU}\n\n--- final ({len(HAIKU)} chars) ---\n",
    "streaming.ts": f"{HAIKU}\n--- final ({len(HAIKU)} chars) ---\n",
    # The stored text of the page ends inside the loop over the lines; the loop's body is the usual one.
    "raw_fetch.ts": HAIKU,
}


def run_snippet(name: str, base_url: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a snippet as a file of its own; from TypeScript only the `!` are removed, which node does not know."""
    source = (SNIPPETS / name).read_text("utf-8")
    assert SERVICE in source
    program = folder / Path(name).with_suffix(".mjs" if name.endswith(".ts") else ".py")
    runner = sys.executable
    if name.endswith(".ts"):
        runner = requirements.program("node")
        source = re.sub(r"!(?=[.,])", "", source)
    if 'from "openai"' in source:
        if requirements.REQUIRE_ALL:
            npm_install(folder, "openai")
        elif (NODE_MODULES / "openai").is_dir():
            (folder / "node_modules").symlink_to(NODE_MODULES)
        else:
            requirements.unmet("needs the packages of the recipes: npm install --prefix recipes/javascript")
    program.write_text(source.replace(SERVICE, base_url), "utf-8")
    environment = os.environ | {"TENSORLOOP_KEY": "tl_none"}
    return subprocess.run(
        [runner, program], env=environment, capture_output=True, text=True, timeout=60, check=False, cwd=folder
    )


@pytest.mark.parametrize("name", PRINTED)
def test_a_documented_snippet_prints_the_haiku(name: str, tmp_path: Path) -> None:
    """A strict server has the recorded answer to exactly this request."""
    with ReplayServer([cassette.FOLDER]) as server:
        done = run_snippet(name, server.base_url, tmp_path)

        assert (done.returncode, done.stdout, done.stderr) == (0, PRINTED[name], "")
        assert [request.body for request in server.requests] == [REQUEST]

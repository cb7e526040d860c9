"""JupyterLab in a browser. The script leaves the screenshots:

PYTHONPATH=tests/support python tests/display/test_jupyterlab.py FOLDER [THEME]
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requirements
from chunks import DONE, chunk, event, finish, usage

LOOPBACK = re.compile(r"(?:(?:http|ws)://127\.0\.0\.1:|data:|blob:)")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
REASONING = """\
The question is about eviction. A table of the usual policies helps, then a few lines of Python.
An OrderedDict keeps the order of use, so LRU is short."""
ANSWER = """\
A cache is full sooner or later. Its **eviction policy** decides what has to go:

| policy | evicts what was | good for |
|---|---|---|
| LRU | used longest ago | most programs |
| LFU | used least often | a stable set of favourites |
| FIFO | stored first | streams |

Here is `LRU[K, V]` in Python, and yes, `a < b` stays `a < b`:

```python
class LRU(OrderedDict):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def __getitem__(self, key):
        self.move_to_end(key)          # used just now
        return super().__getitem__(key)

    def __setitem__(self, key, value) -> None:
        super().__setitem__(key, value)
        if len(self) > self.size:      # the one used longest ago
            self.popitem(last=False)
```

Reading costs $O(1)$, and so does writing.
"""
HOSTILE = [
    "<img src=http://evil.test/1.png onerror=pwned=1>",
    "![a](http://evil.test/2.png) !![b](http://evil.test/3.png) \\![c](http://evil.test/4.png)",
    "![x]\n\n[x]: http://evil.test/5.png",
    '[d]: /url "\n```\n"\n<img src=http://evil.test/6.png>\n```',
    "$x$ `<img src=http://evil.test/7.png>`\n$$\n```\n$$\n<img src=http://evil.test/8.png>\n```",
    "- a\n\n  ```\ntext\n  ```\nb\n  ```\n<img src=http://evil.test/9.png>",
    "|a|\n|-|\n|`|<img src=http://evil.test/10.png>`|",
    "\\begin{a}\n```\n\\end{a}\n<img src=http://evil.test/11.png>\n```\n<script>pwned=1</script>",
    "```\n$\n```\n$\n```\n<img src=http://evil.test/12.png>\n```",
    "~~~\n```\n~~~\n<iframe src=http://evil.test/13></iframe>\n```",
    "> ```\n```\n> <svg onload=pwned=1>\n```",
    "<details open ontoggle=pwned=1>\n\n<style>@import 'http://evil.test/14.css'</style>",
]
CELLS = [
    """\
from tensorloop_stream import Tensorloop
from tensorloop_stream.notebook import display_stream

client = Tensorloop()""",
    """\
stream = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "What should a cache evict? Show me LRU."}],
    stream=True,
    stream_options={"include_usage": True},
)
completion = display_stream(stream)""",
    "stream.timing",
    f"""\
from tensorloop_stream import StreamError

for text in {HOSTILE!r}:
    delta = {{"reasoning_content": text, "content": text}}
    completion = display_stream([{{"choices": [{{"index": 0, "delta": delta, "finish_reason": "stop"}}]}}])
try:
    completion = display_stream([{{"choices": [{{"index": 0, "delta": delta}}]}}])
except StreamError:
    print("all", "done")""",
]


class Model(BaseHTTPRequestHandler):
    """A model that begins late, sends words at an uneven pace, and pauses until the test has seen half of them."""

    seen = threading.Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        pace = random.Random(6)
        time.sleep(0.6)
        self.send(chunk({"role": "assistant", "content": ""}))
        for name, text in (("reasoning_content", REASONING), ("content", ANSWER)):
            for word in re.findall(r"\s*\S+", text):
                time.sleep(pace.expovariate(80))
                self.send(chunk({name: word}))
                if word == " size":
                    time.sleep(0.4)
                    self.seen.wait(60)
        self.send(finish())
        self.send({**usage(298), "usage": {"prompt_tokens": 20, "completion_tokens": 278, "total_tokens": 298}})
        self.wfile.write(DONE)

    def send(self, value: Any) -> None:
        self.wfile.write(event(value))

    def log_message(self, *arguments: object) -> None:
        pass


def notebook() -> dict[str, Any]:
    cells: list[dict[str, Any]] = [
        {
            "id": f"c{number}",
            "cell_type": "code",
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        for number, source in enumerate(CELLS)
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """Serve a folder, with none of the machine's own settings, beside a model."""
    model = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=model.serve_forever, daemon=True).start()
    settings = folder / ".jupyter"
    (settings / "labconfig").mkdir(parents=True)
    quiet = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (settings / "labconfig/page_config.json").write_text(json.dumps(quiet))
    environment = {
        **os.environ,
        "HOME": str(folder),
        "JUPYTER_CONFIG_DIR": str(settings),
        "JUPYTER_DATA_DIR": str(folder / ".data"),
        "JUPYTER_RUNTIME_DIR": str(folder / ".runtime"),
        "IPYTHONDIR": str(folder / ".ipython"),
        "TENSORLOOP_BASE_URL": f"http://127.0.0.1:{model.server_port}/v1",
        "TENSORLOOP_KEY": "tl_none",
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", "--port=0", "--allow-root"]
    command += ["--IdentityProvider.token=none", "--expose-app-in-browser", f"--ServerApp.root_dir={folder}"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)
    try:
        while not (written := [*(folder / ".runtime").glob("jpserver-*.json")]):
            assert server.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield json.loads(written[0].read_text())["url"]
    finally:
        server.terminate()
        server.wait()
        model.shutdown()
        model.server_close()


@dataclass
class Seen:
    """The content of the page in the browser, and the saved notebook."""

    halfway: str
    end: str
    saved: dict[str, Any]
    rendered: int
    # Elements that a model must not produce, and addresses outside of this machine.
    elements: list[str]
    fetched: list[str]


def look(folder: Path, theme: str = "JupyterLab Light") -> Seen:
    """Run the notebook in JupyterLab, and take screenshots."""
    from playwright.sync_api import sync_playwright

    (folder / "answers.ipynb").write_text(json.dumps(notebook()))
    fetched: list[str] = []
    chromium = requirements.program("chromium", "chromium-browser", "google-chrome")
    with jupyterlab(folder) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 860, "height": 1300})
        page.on("request", lambda request: None if LOOPBACK.match(request.url) else fetched.append(request.url))
        page.goto(f"{url}doc/tree/answers.ipynb?token=none")
        page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=60_000)
        page.evaluate("theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        page.evaluate("void jupyterapp.commands.execute('notebook:run-all-cells')")
        answer = page.locator(".jp-OutputArea-output.jp-RenderedMarkdown").first
        page.wait_for_selector(".jp-OutputArea-output >> text=class LRU(OrderedDict):", timeout=60_000)
        halfway = answer.inner_text()
        page.screenshot(path=folder / "halfway.png")
        Model.seen.set()
        page.wait_for_selector("text=all done", timeout=60_000)
        end = answer.inner_text()
        page.get_by_text("all done").scroll_into_view_if_needed()
        page.wait_for_timeout(300)
        elements = page.evaluate(
            "[...document.querySelectorAll('.jp-RenderedMarkdown :is(img, svg, script, iframe, style)')]"
            ".map(element => element.outerHTML).concat(window.pwned ? ['pwned'] : [])"
        )
        rendered = page.locator(".jp-RenderedMarkdown").count()
        page.screenshot(path=folder / "hostile.png")
        page.evaluate("document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0")
        page.wait_for_timeout(300)
        page.screenshot(path=folder / "end.png")
        page.evaluate("jupyterapp.commands.execute('docmanager:save')")
        page.wait_for_timeout(300)
        browser.close()
    saved = json.loads((folder / "answers.ipynb").read_text("utf-8"))
    return Seen(halfway, end, saved, rendered, elements, fetched)


def test_jupyterlab_shows_growing_answers_and_no_hostile_elements(tmp_path: Path) -> None:
    """The answer grows in the page and is saved in the file; hostile answers fetch and run nothing."""
    for module in ("jupyterlab", "ipykernel", "playwright"):
        requirements.module(module, "jupyter")
    seen = look(tmp_path)
    outputs = [output for cell in seen.saved["cells"] for output in cell["outputs"]]
    answer, timing, *hostile = outputs

    assert "class LRU(OrderedDict):" in seen.halfway
    assert "and so does writing" not in seen.halfway
    assert "and so does writing" in seen.end
    assert "278 tokens" in seen.end
    assert "".join(answer["data"]["text/plain"]) == ANSWER.strip()
    assert "".join(timing["data"]["image/svg+xml"]).startswith("<svg ")
    assert seen.rendered >= len(HOSTILE) + 2
    assert len(hostile) == len(HOSTILE) + 2
    assert seen.elements == []
    assert seen.fetched == []


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True)
    look(Path(sys.argv[1]).absolute(), *sys.argv[2:])

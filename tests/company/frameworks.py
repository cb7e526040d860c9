"""Use frameworks that pin openai below 3 with this package's clients, all in one environment.

    python tests/company/frameworks.py

The frameworks are installed from the package registry, in an environment of their own, and run against the replay.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ENVIRONMENT = ROOT / ".company/frameworks"
REQUIREMENTS = ("openai<3", "crewai>=1.15", "llama-index-llms-openai>=0.8")
PROMPT = "Stream a haiku about caching."
_UNWANTED = ("OPENAI_", "TENSORLOOP_", "OTEL_", "CREWAI_", "PYTHONDONTWRITEBYTECODE")


def use_llama_index(client: Any) -> str:
    """Return a streamed answer of llama-index, which takes a client."""
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.openai import OpenAI

    llm = OpenAI(model="gpt-4o-mini", openai_client=client)
    return "".join(each.delta or "" for each in llm.stream_chat([ChatMessage(role="user", content=PROMPT)]))


def use_crewai(client: Any) -> str:
    """Return a streamed answer of crewai, which makes its client in a method that a subclass may override."""
    from crewai.llms.providers.openai.completion import OpenAICompletion

    class TensorloopCompletion(OpenAICompletion):  # type: ignore[misc] # not installed where this is checked
        def _build_sync_client(self) -> Any:
            return client

    llm = TensorloopCompletion(model="gpt-4o-mini", api_key="tl_none", stream=True)
    return str(llm.call([{"role": "user", "content": PROMPT}]))


def use_all() -> int:
    """Use each framework, and tell whether each read a stream of this package to its end."""
    import openai

    from tensorloop_stream import ChatStream, Tensorloop
    from tensorloop_stream.replay import ReplayServer

    frameworks: list[Callable[[Any], str]] = [use_llama_index, use_crewai]
    is_wrong = False
    made: list[Any] = []

    class Client(Tensorloop):
        """A client that keeps the streams that the SDK makes for it."""

        def request(self, *args: Any, **kwargs: Any) -> Any:
            made.append(result := super().request(*args, **kwargs))
            return result

    with ReplayServer([ROOT / "cassettes"], strict=False) as server:
        for use in frameworks:
            made.clear()
            with Client(api_key="tl_none", base_url=server.base_url) as client:
                text = use(client)
            ours = [stream for stream in made if isinstance(stream, ChatStream)]
            is_right = bool(text) and [stream.text for stream in ours] == [text]
            is_wrong |= not is_right
            print(f"{use.__name__}, openai {openai.VERSION}: {text!r}: {'right' if is_right else f'WRONG: {made}'}")
    return int(is_wrong)


def main() -> int:
    """Make the environment if it is not there, and run this program in it."""
    python = ENVIRONMENT / "bin/python"
    if not python.exists():
        ENVIRONMENT.parent.mkdir(exist_ok=True)
        uv = shutil.which("uv") or "uv"
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, ENVIRONMENT], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", python, "-e", ROOT, *REQUIREMENTS], check=True)
    settings = {name: value for name, value in os.environ.items() if not name.startswith(_UNWANTED)}
    quiet = {"PYTHONPATH": str(ROOT), "no_proxy": "*", "CREWAI_DISABLE_TELEMETRY": "true", "OTEL_SDK_DISABLED": "true"}
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [python, __file__, "inside"], env={**settings, **quiet, "HOME": home}, cwd=home, check=False
        )
    return done.returncode


if __name__ == "__main__":
    sys.exit(use_all() if sys.argv[1:] == ["inside"] else main())

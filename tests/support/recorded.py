"""The contents of cassettes, read without the package."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import cassette


@cache
def interactions(name: str) -> list[dict[str, Any]]:
    text = (cassette.FOLDER / f"{name}.yaml").read_text("utf-8")
    loaded: list[dict[str, Any]] = cassette.Serializer.deserialize(text)["interactions"]
    return loaded


def request(name: str) -> dict[str, Any]:
    """Return the recorded request as keyword arguments of `create`."""
    body: dict[str, Any] = json.loads(interactions(name)[0]["request"]["body"])
    # The gateway's own field, which `create` does not accept by name.
    extra = {field: body.pop(field) for field in ("thinking",) if field in body}
    return {**body, "extra_body": extra} if extra else body


def chunks(name: str) -> list[dict[str, Any]]:
    """Return the chunks of a recorded stream."""
    lines = interactions(name)[0]["response"]["body"]["string"].split("\n")
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]


def text(name: str) -> str:
    """Return the text of a recorded stream with one choice."""
    return "".join(choice["delta"].get("content") or "" for chunk in chunks(name) for choice in chunk["choices"])


def cassette_with_body(name: str, folder: Path, body: bytes) -> Path:
    """Write a cassette in which another stream answers a recorded request, and return its path."""
    interaction = copy.deepcopy(interactions(name)[0])
    interaction["response"]["body"]["string"] = body.decode()
    path = folder / f"{Path(name).name}.yaml"
    path.write_text(cassette.Serializer.serialize({"version": 1, "interactions": [interaction]}), encoding="utf-8")
    return path

"""One entry of the catalogue."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from environments import LITELLM

STREAMED: dict[str, Any] = {"stream": True}


class Origin(Enum):
    """The component that made the answer."""

    MODEL = "real model"
    SCRIPT = "scripted upstream"
    PROXY = "the proxy itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One cassette: its request, and the way to record the answer.

    ``sent_before`` is the number of unrecorded requests that use up the limit of the key; ``on_service`` tells whether
    the service can be asked for the same; ``seed`` is that of the local model, found by trying.
    """

    name: str
    shows: str
    request: dict[str, Any]
    origin: Origin
    follow_ups: tuple[str, ...] = ()
    key: str = "tl_recording_model"
    script: str | None = None
    status: int = 200
    on_service: bool = False
    sent_before: int = 0
    seed: int = 5
    litellm: str = LITELLM
    # The script of the answers to the follow-ups.
    follow_up_script: str = ""
    # The response is also asked for by its id, from after its first events.
    taken_up: bool = False

    @property
    def prompt(self) -> str:
        """The last text of the request, by which the scripted upstream chooses its answer."""
        return prompt_of(self.request)


def prompt_of(request: dict[str, Any]) -> str:
    """Return the last text of a request to either API."""
    said = request["input"] if "input" in request else request["messages"]
    last = said if isinstance(said, str) else said[-1].get("content") or said[-1].get("output")
    return str(last)


def ask(prompt: str, **settings: Any) -> dict[str, Any]:
    """Return a request as most people write it."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]} | settings


def respond(prompt: str, **settings: Any) -> dict[str, Any]:
    """Return a request to the Responses API."""
    return {"model": "gpt-4o-mini", "input": prompt} | settings


def twins(recording: Recording) -> tuple[Recording, Recording]:
    """Return the same request, streamed and not."""
    return (
        replace(recording, request=recording.request | STREAMED),
        replace(
            recording,
            name=f"{recording.name}_not_streamed",
            shows=f"the same request as `{recording.name}` without `stream`",
        ),
    )

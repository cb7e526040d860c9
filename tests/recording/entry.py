"""One entry of the catalogue."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

STREAMED: dict[str, Any] = {"stream": True}


class Origin(Enum):
    """Who made the answer that the proxy passed on."""

    MODEL = "real model"
    SCRIPT = "scripted upstream"
    PROXY = "the proxy itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One cassette: what is asked, and how to come by the answer.

    ``sent_before`` says how often the request is sent unrecorded first, to use up the limit of the key;
    ``on_service``, whether the service can be asked for the same.
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

    @property
    def prompt(self) -> str:
        """The last thing that is said, by which the scripted upstream knows what to answer."""
        return str(self.request.get("input") or self.request["messages"][-1]["content"])


def ask(prompt: str, **settings: Any) -> dict[str, Any]:
    """A request as most people write it."""
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]} | settings


def respond(prompt: str, **settings: Any) -> dict[str, Any]:
    """The same to the Responses API."""
    return {"model": "gpt-4o-mini", "input": prompt} | settings


def twins(recording: Recording) -> tuple[Recording, Recording]:
    """The same request streamed and not."""
    return (
        replace(recording, request=recording.request | STREAMED),
        replace(
            recording,
            name=f"{recording.name}_not_streamed",
            shows=f"the same request as `{recording.name}` without `stream`",
        ),
    )

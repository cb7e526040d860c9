"""Cassettes that a test writes, and a client of a few lines for the server that replays them."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tensorloop_stream.replay import ReplayServer

CHAT = "/v1/chat/completions"
PATIENCE = 10


def chat(prompt: Any = "Hi", model: str = "gpt-4o-mini", **more: Any) -> dict[str, Any]:
    """Return the body of a request; `messages` takes the place of the prompt."""
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **more}


def completion(text: str | None = None, finish_reason: str = "stop", **message: Any) -> dict[str, Any]:
    """Return a completion as it comes unstreamed."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "choices": [choice]}


def events(*deltas: dict[str, Any], finish_reason: str = "stop") -> str:
    """Return an event stream of these deltas, with its end."""
    envelope = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
    choices = [{"index": 0, "delta": delta} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish_reason})
    chunks = [json.dumps({**envelope, "choices": [choice]}, ensure_ascii=False) for choice in choices]
    return "".join(f"data: {data}\n\n" for data in [*chunks, "[DONE]"])


def interaction(
    body: Any, answer: Any, *, path: str = CHAT, status: int = 200, replay: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a cassette holds of one exchange; the answer is an event stream or a JSON value."""
    kind = "text/event-stream" if isinstance(answer, str) else "application/json"
    made = {
        "request": {
            "method": "POST",
            "uri": f"https://litellm.tensorloop.tech{path}",
            "body": json.dumps(body),
            "headers": {},
        },
        "response": {
            "status": {"code": status, "message": "any"},
            "headers": {"content-type": [kind]},
            "body": {"string": answer if isinstance(answer, str) else json.dumps(answer)},
        },
    }
    return made if replay is None else {**made, "replay": replay}


def cassette_file(path: Path, *interactions: dict[str, Any], replay: dict[str, Any] | None = None) -> Path:
    """Write a cassette and return its path."""
    cassette = {"version": 1, "interactions": list(interactions), **({} if replay is None else {"replay": replay})}
    path.write_text(yaml.safe_dump(cassette, allow_unicode=True), encoding="utf-8")
    return path


class Reply(NamedTuple):
    """The answer to one request."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def chunks(self) -> list[Any]:
        """The JSON values of an event stream, which must end with `[DONE]`."""
        *events, done, rest = self.body.decode().split("\n\n")
        assert (done, rest) == ("data: [DONE]", "")
        return [json.loads(event.removeprefix("data: ")) for event in events]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        return [choice["delta"] for chunk in self.chunks for choice in chunk["choices"]]

    @property
    def text(self) -> str:
        """The text of the first choice, streamed or whole."""
        if self.body.startswith(b"data:"):
            return "".join(delta.get("content") or "" for delta in self.deltas)
        text: str = self.json["choices"][0]["message"]["content"]
        return text

    @property
    def finish_reasons(self) -> list[str]:
        parts = self.chunks if self.body.startswith(b"data:") else [self.json]
        choices = [choice for part in parts for choice in part["choices"]]
        return [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]

    @property
    def error(self) -> Any:
        return self.json["error"]


def ask(server: ReplayServer, body: Any = None, *, method: str = "POST", path: str = CHAT, **headers: str) -> Reply:
    """Send one request, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    try:
        connection.request(method, path, None if body is None else json.dumps(body).encode(), headers)
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()

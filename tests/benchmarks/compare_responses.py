# mypy: disable-error-code="import-not-found"
# pydantic-ai is seldom installed in the environment of the type checker.
"""Read every odd stream of the Responses API with this package and with its peers, and print which are right.

Each peer reads the same bytes in memory, the way its documentation reads a stream: `ResponseStream`, the SDK's loop
with the response of its last event, the SDK's `.stream()` helper, langchain-openai's `stream` with the chunks added up,
pydantic-ai's `model_request_stream`. In doubt the rules favour the peer:

- A whole answer is **right** if its text and the names and arguments of its calls are right.
- A broken stream is **right** if the peer raises any error about it, but a programming error (`TypeError`,
  `IndexError`, `RuntimeError` and the like) is **raises**; no error is **unnoticed**.

Run: `python tests/benchmarks/compare_responses.py [--reasons]`, after `pip install -e .[test,peers]`; a peer that is
not installed is left out.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.metadata
import importlib.util
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1] / "support")]

import httpx2  # noqa: E402 - beside the tests
import openai  # noqa: E402
from clients import Body  # noqa: E402
from odd_responses import ODD_RESPONSES, OddResponse  # noqa: E402

from tensorloop_stream import ResponseStream  # noqa: E402

ASK: dict[str, Any] = {"model": "gpt-4o-mini", "input": "Hello?"}
SETTINGS: dict[str, Any] = {"api_key": "none", "base_url": "https://gateway.test/v1", "max_retries": 0}
RIGHT, WRONG, RAISES, UNNOTICED = "right", "wrong", "raises", "unnoticed"
PROGRAMMING = (AssertionError, AttributeError, IndexError, KeyError, TypeError, RuntimeError, json.JSONDecodeError)


@dataclass
class Answer:
    """The text and the calls that a peer returned."""

    text: str
    calls: list[tuple[str, Any]] = field(default_factory=list)


def client_of(body: bytes) -> openai.OpenAI:
    return openai.OpenAI(**SETTINGS, http_client=httpx2.Client(transport=transport_of(body)))


def transport_of(body: bytes) -> httpx2.MockTransport:
    # An answer in one piece says that it is one.
    kind = "application/json" if body.startswith(b"{") else "text/event-stream"
    return httpx2.MockTransport(lambda _: httpx2.Response(200, headers={"content-type": kind}, stream=Body([body])))


def answer_of(response: Any) -> Answer:
    calls = [item for item in response.output or () if getattr(item, "type", "") == "function_call"]
    return Answer(response.output_text, [(call.name, parsed(call.arguments)) for call in calls])


def parsed(arguments: Any) -> Any:
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments
    except ValueError:
        return arguments


def tensorloop_stream(body: bytes) -> Answer:
    return answer_of(ResponseStream(client_of(body).responses.create(**ASK, stream=True)).get_final_response())


def openai_loop(body: bytes) -> Answer:
    last = None
    for event in client_of(body).responses.create(**ASK, stream=True):
        last = getattr(event, "response", None) or last
        if event.type in {"error", "response.failed"}:
            # The documentation looks for them.
            raise openai.OpenAIError(str(event))
    return Answer("") if last is None else answer_of(last)


def openai_helper(body: bytes) -> Answer:
    with client_of(body).responses.stream(**ASK) as stream:
        return answer_of(stream.get_final_response())


def langchain_openai(body: bytes) -> Answer:
    from langchain_openai import ChatOpenAI

    model: Any = ChatOpenAI(model="gpt-4o-mini", use_responses_api=True, api_key=lambda: "none", max_retries=0)
    model.root_client = client_of(body)
    model.client = model.root_client.responses
    whole: Any = None
    for chunk in model.stream("Hello?"):
        whole = chunk if whole is None else whole + chunk
    if whole is None:
        return Answer("")
    text = whole.text if isinstance(whole.text, str) else whole.text()
    return Answer(text, [(call["name"], call["args"]) for call in (*whole.tool_calls, *whole.invalid_tool_calls)])


def pydantic_ai(body: bytes) -> Answer:
    from pydantic_ai.direct import model_request_stream
    from pydantic_ai.messages import ModelRequest, TextPart, ToolCallPart
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def run() -> Answer:
        http_client = httpx2.AsyncClient(transport=transport_of(body))
        client = openai.AsyncOpenAI(**SETTINGS, http_client=http_client)
        model = OpenAIResponsesModel("gpt-4o-mini", provider=OpenAIProvider(openai_client=client))
        async with model_request_stream(model, [ModelRequest.user_text_prompt("Hello?")]) as stream:
            async for _ in stream:
                pass
            parts = stream.get().parts
        text = "".join(part.content for part in parts if isinstance(part, TextPart))
        return Answer(text, [(part.tool_name, parsed(part.args)) for part in parts if isinstance(part, ToolCallPart)])

    return asyncio.run(run())


PEERS: tuple[tuple[str, str, Callable[[bytes], Answer]], ...] = (
    ("tensorloop_stream", "tensorloop_stream", tensorloop_stream),
    ("openai, its loop", "openai", openai_loop),
    ("openai, its helper", "openai", openai_helper),
    ("langchain-openai", "langchain_openai", langchain_openai),
    ("pydantic-ai", "pydantic_ai", pydantic_ai),
)


def judge(odd: OddResponse, read: Callable[[bytes], Answer]) -> tuple[str, str]:
    """Return the verdict of a peer on a stream, and its reason."""
    try:
        answer = read(odd.body)
    except Exception as error:  # noqa: BLE001 - each peer has its own
        told = f"{type(error).__name__}: {error}"[:150]
        # By its exact type: an error of the peer's own may be a subclass.
        is_own = type(error) in PROGRAMMING
        return (RIGHT, "") if odd.is_broken and not is_own else (RAISES, told)
    if odd.is_broken:
        return UNNOTICED, f"no error, text {answer.text!r}"
    calls = [(name, json.loads(arguments)) for name, arguments in odd.calls]
    if odd.refusal and answer.text in {"", odd.refusal}:
        return RIGHT, ""
    is_right = (answer.text, answer.calls) == (odd.text, calls)
    return (RIGHT, "") if is_right else (WRONG, f"{answer}, not {odd.text!r} and {calls}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--reasons", action="store_true", help="also say what was wrong")
    reasons = parser.parse_args().reasons
    warnings.simplefilter("ignore")
    print(f"| of {len(ODD_RESPONSES)} streams | right | wrong | unnoticed | raises |\n|---|---:|---:|---:|---:|")
    found: list[str] = []
    for name, module, read in PEERS:
        if importlib.util.find_spec(module) is None:
            continue
        verdicts = {odd.name: judge(odd, read) for odd in ODD_RESPONSES}
        counts = [sum(verdict == one for verdict, _ in verdicts.values()) for one in (RIGHT, WRONG, UNNOTICED, RAISES)]
        version = importlib.metadata.version(module.replace("_", "-").replace("pydantic-ai", "pydantic-ai-slim"))
        print(f"| {name} {version} | {' | '.join(map(str, counts))} |", flush=True)
        found += [f"{odd}\n  {name}: {verdict}: {reason}" for odd, (verdict, reason) in verdicts.items() if reason]
    print(f"\nPython {sys.version.split()[0]}, {datetime.now(UTC):%Y-%m-%d}.")
    if reasons:
        print("\n" + "\n".join(found))


if __name__ == "__main__":
    main()

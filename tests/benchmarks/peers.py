# mypy: disable-error-code="import-not-found"
# The peers are seldom installed in the environment of the type checker.
"""Read odd streams with one peer: runs in the peer's environment, a JSON object per line in and out.

Input: the base URL of a stream, the seconds that a chunk may take, and the number of requested choices. Output: the
peer's result in a form that `compare_peers` can judge. Only the peer itself is imported.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.metadata
import json
import os
import sys
from typing import Any

MESSAGES: Any = [{"role": "user", "content": "Hello?"}]
MODEL = "gpt-4o-mini"


def tensorloop_stream(url: str, timeout: float | None, count: int) -> dict[str, Any]:
    import openai

    from tensorloop_stream import ChatStream, StreamError

    client = openai.OpenAI(api_key="none", base_url=url, max_retries=0)
    stream = ChatStream(
        client.chat.completions.create(model=MODEL, messages=MESSAGES, n=count, stream=True),
        idle_timeout=timeout,
        first_chunk_timeout=timeout,
    )
    try:
        completion = stream.get_final_completion()
    except StreamError as error:
        return {"error": type(error).__name__, **of_completion(error.partial)}
    return of_completion(completion)


def openai(url: str, timeout: float | None, count: int) -> dict[str, Any]:
    import openai as sdk

    client = sdk.OpenAI(api_key="none", base_url=url, max_retries=0, timeout=timeout or 30)
    try:
        with client.chat.completions.stream(model=MODEL, messages=MESSAGES, n=count) as stream:
            return of_completion(stream.get_final_completion())
    except (sdk.LengthFinishReasonError, sdk.ContentFilterFinishReasonError) as error:
        # The peer reports a truncated answer in this way.
        return of_completion(getattr(error, "completion", None))


def litellm(url: str, timeout: float | None, count: int) -> dict[str, Any]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm as library

    chunks = list(
        library.completion(
            model=f"openai/{MODEL}",
            messages=MESSAGES,
            n=count,
            api_base=url,
            api_key="none",
            stream=True,
            stream_options={"include_usage": True},
            max_retries=0,
            timeout=timeout or 30,
        )
    )
    return of_completion(library.stream_chunk_builder(chunks, messages=MESSAGES))


def langchain_openai(url: str, timeout: float | None, count: int) -> dict[str, Any]:
    from langchain_openai import ChatOpenAI

    model: Any = ChatOpenAI(
        model=MODEL,
        n=count,
        base_url=url,
        api_key=lambda: "none",
        max_retries=0,
        stream_usage=True,
        timeout=timeout or 30,
        stream_chunk_timeout=timeout or 30,
    )

    async def run() -> Any:
        whole = None
        async for chunk in model.astream("Hello?"):
            whole = chunk if whole is None else whole + chunk
        return whole

    message = asyncio.run(run())
    if message is None:
        return {"text": "", "dump": {}}
    used = message.usage_metadata or {}
    return {
        "text": message.text if isinstance(message.text, str) else message.text(),
        "choices": None,
        "finish_reason": message.response_metadata.get("finish_reason"),
        "usage": [used["input_tokens"], used["output_tokens"]] if used else None,
        "tool_calls": [[one["id"], one["name"], one["args"]] for one in message.tool_call_chunks],
        "parsed_calls": [
            [one["id"], one["name"], one["args"]] for one in (*message.tool_calls, *message.invalid_tool_calls)
        ],
        "dump": message.model_dump(),
    }


def pydantic_ai(url: str, timeout: float | None, count: int) -> dict[str, Any]:
    from pydantic_ai.direct import model_request_stream
    from pydantic_ai.messages import ModelRequest, TextPart, ToolCallPart
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    settings: Any = {"timeout": timeout or 30, "extra_body": {"n": count}}
    if timeout:
        settings["first_event_timeout"] = timeout

    async def run() -> Any:
        model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key="none"))
        asked: Any = [ModelRequest.user_text_prompt("Hello?")]
        async with model_request_stream(model, asked, model_settings=settings) as stream:
            async for _ in stream:
                pass
            return stream.get()

    response = asyncio.run(run())
    used = response.usage
    return {
        "text": "".join(part.content for part in response.parts if isinstance(part, TextPart)),
        "choices": None,
        "finish_reason": response.finish_reason,
        "usage": [used.input_tokens, used.output_tokens] if used.input_tokens or used.output_tokens else None,
        "tool_calls": [
            [part.tool_call_id, part.tool_name, part.args] for part in response.parts if isinstance(part, ToolCallPart)
        ],
        "dump": dataclasses.asdict(response),
    }


def of_completion(completion: Any) -> dict[str, Any]:
    """Return the content of a completion in the SDK's form."""
    if completion is None:
        return {"text": "", "dump": {}}
    # Without warnings: a peer may leave values outside its own types.
    dump = completion.model_dump(warnings=False)
    used, choices = dump.get("usage") or {}, dump.get("choices") or []
    first = choices[0] if choices else {"message": {}}
    return {
        "text": text_of(first["message"].get("content")),
        "choices": [text_of(choice["message"].get("content")) for choice in choices],
        "finish_reason": first.get("finish_reason"),
        "usage": [used.get("prompt_tokens"), used.get("completion_tokens")] if used else None,
        "tool_calls": [of_call(call) for call in first["message"].get("tool_calls") or []],
        "dump": dump,
    }


def text_of(content: Any) -> Any:
    """Return the text of a message, whose content may be a list of parts."""
    if not isinstance(content, list):
        return content or ""
    return "".join(part.get("text") or "" for part in content if isinstance(part, dict) and part.get("type") == "text")


def of_call(call: dict[str, Any]) -> list[Any]:
    """Return id, name and arguments of a call, of either kind."""
    inner = call.get("function") or call.get("custom") or {}
    arguments = inner.get("arguments", inner.get("input"))
    return [call.get("id"), inner.get("name"), arguments if isinstance(arguments, str) else {"no text": arguments}]


def main() -> None:
    name = sys.argv[1]
    read = {
        "tensorloop_stream": tensorloop_stream,
        "openai": openai,
        "litellm": litellm,
        "langchain-openai": langchain_openai,
        "pydantic-ai": pydantic_ai,
    }[name]
    # Output of a library must not mix with the lines.
    answers, sys.stdout = sys.stdout, sys.stderr
    distribution = "pydantic-ai-slim" if name == "pydantic-ai" else name
    try:
        print(json.dumps(importlib.metadata.version(distribution)), file=answers, flush=True)
    except importlib.metadata.PackageNotFoundError:
        print(json.dumps("from source"), file=answers, flush=True)
    for line in sys.stdin:
        try:
            result = read(**json.loads(line))
        except Exception as error:  # noqa: BLE001 - what a peer raises is its answer
            result = {"error": type(error).__name__, "says": str(error)[:200]}
        print(json.dumps(result, default=str), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""Stream with LangChain or LiteLLM; a truncated answer is an error: python recipes/langchain_or_litellm.py"""

from importlib.util import find_spec
from typing import Any

from openai import OpenAIError

from tensorloop_stream import AsyncTensorloop, Tensorloop, print_stream

HAIKU: list[Any] = [{"role": "user", "content": "Stream a haiku about caching."}]


def with_langchain(client: Tensorloop) -> None:
    """Let LangChain read our streams: with its own client, a truncated answer ends without an error."""
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - either library is enough

    async_client, reason = AsyncTensorloop(), None
    clients: dict[str, Any] = {"root_client": client, "root_async_client": async_client}
    clients |= {"client": client.chat.completions, "async_client": async_client.chat.completions}
    model = ChatOpenAI(model="gpt-4o-mini", **clients)
    for message in model.stream(HAIKU):
        print(message.text, end="", flush=True)
        reason = message.response_metadata.get("finish_reason") or reason
    print(f"\n(cut: {reason})" if reason in {"length", "content_filter"} else "")


def with_litellm(client: Tensorloop) -> None:
    """Read LiteLLM's stream as a ChatStream, like any iterable of chunks (openai 3 needs litellm 1.108 or newer)."""
    import litellm  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415

    server: dict[str, Any] = {"base_url": str(client.base_url), "api_key": client.api_key}
    print_stream(litellm.completion("openai/gpt-4o-mini", HAIKU, stream=True, **server))


try:
    for library, read in {"langchain_openai": with_langchain, "litellm": with_litellm}.items():
        print(f"{library}:")
        read(Tensorloop()) if find_spec(library) else print("(not installed)")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

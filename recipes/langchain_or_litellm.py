"""Stream with LangChain or LiteLLM, and hear of an answer that is not whole: python recipes/langchain_or_litellm.py"""

from importlib.util import find_spec
from typing import Any

from openai import OpenAIError

from tensorloop_stream import AsyncTensorloop, Tensorloop, print_stream

ASK: list[Any] = [{"role": "user", "content": "Stream a haiku about caching."}]


def with_langchain() -> None:
    """Let LangChain read our streams, since it makes messages of the chunks: its own end in silence if they are cut."""
    from langchain_openai import ChatOpenAI  # noqa: PLC0415 - either library will do

    clients: dict[str, Any] = {"root_client": Tensorloop(), "root_async_client": AsyncTensorloop()}
    clients |= {name.removeprefix("root_"): client.chat.completions for name, client in clients.items()}
    # Its own `max_tokens` would be sent as `max_completion_tokens`.
    model = ChatOpenAI(model="gpt-4o-mini", temperature=0.2, extra_body={"max_tokens": 60}, **clients)
    for message in model.stream(ASK):
        print(message.text, end="", flush=True)
    print()


def with_litellm() -> None:
    """Read LiteLLM's stream as a ChatStream, as any iterable of chunks (beside openai 3 it must be 1.108 or newer)."""
    import litellm  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415

    client = Tensorloop()
    where: dict[str, Any] = {"base_url": str(client.base_url), "api_key": client.api_key}
    print_stream(litellm.completion("openai/gpt-4o-mini", ASK, temperature=0.2, max_tokens=60, stream=True, **where))


try:
    for name, read in {"langchain_openai": with_langchain, "litellm": with_litellm}.items():
        print(f"{name}:")
        read() if find_spec(name) else print("(not installed)")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

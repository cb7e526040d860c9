"""Show what a model thinks apart from what it says: python recipes/reasoning.py"""

import sys
from functools import partial

from openai import OpenAIError
from openai.types import CompletionUsage

from tensorloop_stream import Callbacks, ChatStream, Tensorloop


def report(usage: CompletionUsage) -> None:
    """Tell what the thinking cost, where the model says so."""
    details = usage.completion_tokens_details
    print(f"\n--- {usage.completion_tokens} tokens, {details.reasoning_tokens if details else None} of them thoughts")


aside = partial(print, end="", flush=True, file=sys.stderr)  # `2>/dev/null` hides it
callbacks = Callbacks(
    on_reasoning=aside,  # under whatever name the gateway sends it
    on_text=partial(print, end="", flush=True),
    on_refusal=aside,
    on_usage=report,  # once, where the gateway sends it
)
try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Think, then answer: why are caches fast?"}],
        stream=True,
    )
    ChatStream(answer, callbacks).until_done()
    print()
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

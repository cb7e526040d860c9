"""Show the reasoning of a model apart from its answer: python recipes/reasoning.py"""

import sys
from functools import partial

from openai import OpenAIError
from openai.types import CompletionUsage

from tensorloop_stream import Callbacks, ChatStream, Tensorloop


def report(usage: CompletionUsage) -> None:
    """Print the tokens of the answer, and those of the reasoning if the gateway counts them."""
    details = usage.completion_tokens_details
    print(f"\n--- {usage.completion_tokens} tokens, {details.reasoning_tokens if details else None} of them thoughts")


print_to_stderr = partial(print, end="", flush=True, file=sys.stderr)  # `2>/dev/null` hides it
callbacks = Callbacks(
    on_reasoning=print_to_stderr,  # whichever field the gateway sends it in
    on_text=partial(print, end="", flush=True),
    on_refusal=print_to_stderr,
    on_usage=report,  # called once, if the gateway sends a usage
)
try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Think, then answer: why are caches fast?"}],
        stream=True,
    )
    stream = ChatStream(answer, callbacks).until_done()
    print()
    if (reason := stream.completion.choices[0].finish_reason) in {"length", "content_filter"}:
        print(f"(cut: {reason})")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

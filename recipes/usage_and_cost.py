"""See what an answer took, and what the key has left: python recipes/usage_and_cost.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, StreamError, Tensorloop, print_stream

PROMPT_PRICE, COMPLETION_PRICE = 0.15e-6, 0.60e-6  # dollars a token: gpt-4o-mini, by OpenAI's list
HEADERS = {
    "call": "x-litellm-call-id",  # what to name to those who run the gateway
    "spent before": "x-litellm-key-spend",  # dollars; without this answer, since headers come first
    "budget": "x-litellm-key-max-budget",
    "requests left": "x-ratelimit-remaining-requests",  # at the model, for all keys, where the gateway tells it
}

try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Stream a haiku about budgets."}],
        temperature=0.2,
        max_tokens=60,
        stream=True,
        stream_options={"include_usage": True},  # else a stream brings none
    )
    stream = ChatStream(answer)
    print_stream(stream)
except StreamError as error:  # it was paid for all the same, and its usage comes last
    raise SystemExit(f"{error}\n--- call {error.request_id or 'unknown'}") from None
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

facts = {"tokens": "unknown", "price": "unknown"}
if usage := stream.usage:
    price = usage.prompt_tokens * PROMPT_PRICE + usage.completion_tokens * COMPLETION_PRICE
    facts = {"tokens": f"{usage.prompt_tokens} asked + {usage.completion_tokens} answered", "price": f"${price:.7f}"}
sent = stream.response.headers if stream.response else {}
facts |= {fact: sent.get(header, "unknown") for fact, header in HEADERS.items()}
print("---", *(f"{fact:15}{value}" for fact, value in facts.items()), sep="\n")

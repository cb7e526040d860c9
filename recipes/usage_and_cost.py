"""Print the tokens and the price of an answer, and the budget of the key: python recipes/usage_and_cost.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, StreamError, Tensorloop, print_stream

PROMPT_PRICE, COMPLETION_PRICE = 0.15e-6, 0.60e-6  # dollars per token of gpt-4o-mini, in OpenAI's price list
HEADERS = {
    "call": "x-litellm-call-id",  # name it when you ask the gateway's support
    "spent before": "x-litellm-key-spend",  # dollars; without this answer, because headers come first
    "budget": "x-litellm-key-max-budget",
    "requests left": "x-ratelimit-remaining-requests",  # at the model, for all keys; not every gateway sends it
}

try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Stream a haiku about budgets."}],
        temperature=0.2,
        max_tokens=60,
        stream=True,
        stream_options={"include_usage": True},  # without it, a stream has no usage
    )
    stream = ChatStream(answer)
    print_stream(stream)
except StreamError as error:  # a broken answer is billed too, but its usage would have come last
    raise SystemExit(f"{error}\n--- call {error.request_id or 'unknown'}") from None
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

facts = {"tokens": "unknown", "price": "unknown"}
if usage := stream.usage:
    price = usage.prompt_tokens * PROMPT_PRICE + usage.completion_tokens * COMPLETION_PRICE
    facts = {"tokens": f"{usage.prompt_tokens} asked + {usage.completion_tokens} answered", "price": f"${price:.7f}"}
headers = stream.response.headers if stream.response else {}
facts |= {fact: headers.get(header, "unknown") for fact, header in HEADERS.items()}
print("---", *(f"{fact:15}{value}" for fact, value in facts.items()), sep="\n")

"""Keep the partial text of a broken stream, and ask for the rest: python recipes/keep_partial_text.py"""

import sys

from openai import OpenAIError
from openai.types.chat import ChatCompletionMessageParam

from tensorloop_stream import ChatStream, StreamError, Tensorloop

SPENT = {"budget_exceeded", "insufficient_quota"}  # their status is that of a rate limit, 429
REFUSALS = {"400", "401", "403", "404", *SPENT}
QUESTION: ChatCompletionMessageParam = {"role": "user", "content": "Stream a haiku about errors."}
GO_ON = "You were cut off. Go on where you stopped, and repeat nothing."

try:
    client, text = Tensorloop(), ""
    for _ in range(3):
        messages = [QUESTION]
        if text:  # a broken stream cannot be resumed, but the model can continue its text
            messages += [{"role": "assistant", "content": text}, {"role": "user", "content": GO_ON}]
        answer = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        try:
            with ChatStream(answer) as stream:
                for delta in stream.text_stream:
                    print(delta, end="", flush=True)
            text += stream.text
            break
        except StreamError as error:
            text += error.text
            print(f"\n({error})", file=sys.stderr)
            if error.code in REFUSALS or error.type in REFUSALS:
                raise SystemExit("a retry does not help: the answer has no end") from None
    else:
        raise SystemExit("it broke three times: the answer has no end")
    print(f"\n--- final ({len(text)} chars) ---")
    if (reason := stream.completion.choices[0].finish_reason) in {"length", "content_filter"}:
        print(f"(cut: {reason})")
except OpenAIError as error:  # before the stream: the SDK's own, after its retries
    raise SystemExit(f"{error}") from None

"""Print an answer of the Responses API as it arrives: python recipes/responses_stream.py"""

from openai import OpenAIError

from tensorloop_stream import ResponseStream, Tensorloop

try:
    client = Tensorloop()
    answer = client.responses.create(
        model="gpt-4o-mini",
        input="Stream a haiku about caching.",
        stream=True,
    )
    with ResponseStream(answer) as stream:  # `answer` is one already; of any other client it becomes one here
        for text in stream.text_stream:
            print(text, end="", flush=True)
    print(f"\n--- final ({len(stream.text)} chars) ---")
    if stream.status == "incomplete" and (details := stream.snapshot.incomplete_details):
        print(f"(cut: {details.reason})")
except OpenAIError as error:  # no key, no connection, a response that failed: a sentence, no traceback
    raise SystemExit(f"\n{error}") from None

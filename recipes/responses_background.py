"""Begin a response in the background, lose it, and take it up again: python recipes/responses_background.py"""

from openai import OpenAIError

from tensorloop_stream import ResponseStream, StreamError, Tensorloop

try:
    client = Tensorloop()
    answer = client.responses.create(
        model="gpt-4o-mini",
        input="Explain caches, in the background.",
        background=True,  # the service goes on without us; it needs to store the response for that
        stream=True,
    )
    seen = 0
    with ResponseStream(answer) as stream:
        for event in stream:
            seen = getattr(event, "sequence_number", seen)
            if seen == 4:  # the network breaks here
                break
    begun = stream.snapshot
    print(f"begun: {begun.id[:13]}..., {seen} events seen, {len(stream.text)} chars")

    # OpenAI streams what follows `starting_after`; LiteLLM sends the whole response, which is read the same.
    with ResponseStream(client.responses.retrieve(begun.id, stream=True, starting_after=seen)) as rest:
        print(rest.get_final_text())
    print(f"--- {rest.status} ---")
except StreamError as error:
    raise SystemExit(f"{error}; what had come: {error.text!r}") from None
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

"""Go on with a response by its id, which the service keeps: python recipes/responses_conversation.py"""

from openai import OpenAIError, omit

from tensorloop_stream import ResponseStream, Tensorloop

try:
    client, previous = Tensorloop(), None
    for question in ("What is a cache, in one sentence?", "Now explain it to a child."):
        answer = client.responses.create(
            model="gpt-4o-mini",
            input=question,
            previous_response_id=previous or omit,
            stream=True,
        )
        with ResponseStream(answer) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)
        print()
        previous = stream.get_final_response().id  # a broken response raises here, and is not gone on with
except OpenAIError as error:  # some gateways ignore the id: ask for something that the model said before
    raise SystemExit(f"\n{error}") from None

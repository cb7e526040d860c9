"""Chat in a terminal; Ctrl-C stops the answer, and quits at the prompt: python recipes/chat_terminal.py"""

from openai import APIError, OpenAIError
from openai.types.chat import ChatCompletionMessageParam

from tensorloop_stream import ChatStream, Tensorloop, print_stream

history: list[ChatCompletionMessageParam] = []


def answer(client: Tensorloop) -> ChatStream:
    """Return a stream that sends the history when it is first read."""
    return ChatStream(lambda: client.chat.completions.create(model="gpt-4o-mini", messages=history, stream=True))


try:
    client = Tensorloop()
    while True:
        history.append({"role": "user", "content": input("> ")})
        stream = answer(client)
        try:
            print_stream(stream)
        except KeyboardInterrupt:
            print("(stopped)")
        except APIError as error:
            print(f"({error})")
        if stream.text:  # also a partial answer: the model should know what the reader has read
            history.append({"role": "assistant", "content": stream.text})
        else:
            history.pop()
except (KeyboardInterrupt, EOFError):
    print()
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

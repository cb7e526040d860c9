"""Keep a long conversation within a budget, whole turns at a time: python recipes/conversation.py"""

from typing import Any

from openai import OpenAIError

from tensorloop_stream import ChatStream, StreamError, Tensorloop, print_stream

history: list[Any] = [{"role": "system", "content": "You answer in one sentence."}]
history += [{"role": "user", "content": "Hello! " * 200}, {"role": "assistant", "content": "Hello!"}]  # long ago


def trimmed(messages: list[Any], budget: int = 1000) -> list[Any]:
    """Keep the system message and the last turns that fit into so many characters, some four to a token."""
    system, said = messages[:1], messages[1:]
    # Cut in front of a question only: a tool call without its result, or the reverse, is refused.
    ends = [said[at:] for at, message in enumerate(said) if message["role"] == "user"]
    return system + next((end for end in ends if len(f"{system + end}") <= budget), ends[-1])


def remembered(stream: ChatStream) -> dict[str, Any] | None:
    """Keep a whole answer as it is; of any other what was read, and that it was cut, but no call: it may be half."""
    if stream.completion.choices and stream.completion.choices[0].finish_reason in {"stop", "tool_calls"}:
        return stream.completion.choices[0].message.to_dict()
    return {"role": "assistant", "content": f"{stream.text} [cut off]"} if stream.text else None


try:
    create = Tensorloop().chat.completions.create
    for question in ("What is a cache, in one sentence?", "Now explain it to a child."):
        asked = trimmed([*history, {"role": "user", "content": question}])
        stream = ChatStream(create(model="gpt-4o-mini", messages=asked, temperature=0.2, max_tokens=80, stream=True))
        try:
            print_stream(stream)
        except StreamError as error:
            print(f"({error})")
        if answer := remembered(stream):  # else the question is forgotten, too: some models refuse two in a row
            history += [asked[-1], answer]
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

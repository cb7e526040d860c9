"""Keep a long conversation within a budget of characters, by whole turns: python recipes/conversation.py"""

from typing import Any

from openai import OpenAIError

from tensorloop_stream import ChatStream, StreamError, Tensorloop, print_stream

history: list[Any] = [{"role": "system", "content": "You answer in one sentence."}]
history += [{"role": "user", "content": "Hello! " * 200}, {"role": "assistant", "content": "Hello!"}]  # an old turn


def trim_history(messages: list[Any], budget: int = 1000) -> list[Any]:
    """Return the system message and the last whole turns that fit; half a turn with tool calls would be refused."""
    system, rest = messages[:1], messages[1:]
    ends = [rest[start:] for start, message in enumerate(rest) if message["role"] == "user"]
    fitting = [end for end in ends if len(f"{system + end}") <= budget]
    return system + (fitting[0] if fitting else ends[-1])


def message_to_keep(stream: ChatStream) -> dict[str, Any] | None:
    """Return a complete answer, or the text of a partial one: its tool calls may be incomplete."""
    if (stream.finish_reason or "").lower() in {"stop", "tool_calls", "eos", "end_turn", "tool_use"}:
        return stream.completion.choices[0].message.to_dict()
    return {"role": "assistant", "content": f"{stream.text} [cut off]"} if stream.text else None


try:
    create = Tensorloop().chat.completions.create
    for question in ("What is a cache, in one sentence?", "Now explain it to a child."):
        sent = trim_history([*history, {"role": "user", "content": question}])
        stream = ChatStream(create(model="gpt-4o-mini", messages=sent, temperature=0.2, max_tokens=80, stream=True))
        try:
            print_stream(stream)
        except StreamError as error:
            print(f"({error})")
        if answer := message_to_keep(stream):  # else drop the question too: some models refuse two in a row
            history += [sent[-1], answer]
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

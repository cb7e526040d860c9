"""End an answer at a word of yours: python recipes/stop_sequences.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, Tensorloop, print_stream

try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Count from one to ten."}],
        temperature=0.2,
        max_tokens=80,
        stop=["5"],  # up to four; the text ends before it, and it is not part of the text
        stream=True,
    )
    stream = ChatStream(answer)
    completion = print_stream(stream)
    # "stop" is also the reason of an answer that ended by itself: the API does not tell the two apart.
    print(f"--- finish reason: {completion.choices[0].finish_reason}")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

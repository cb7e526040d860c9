from tensorloop_stream import ChatStream, Tensorloop

answer = Tensorloop().chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Explain recursion in one sentence."}],
    stream=True,
    stream_options={"include_usage": True},
)
with ChatStream(answer) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()
assert stream.usage is not None
print(stream.usage.completion_tokens, "tokens,", stream.completion.choices[0].finish_reason)

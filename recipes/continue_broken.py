"""Continue an answer that breaks, in the same stream: python recipes/continue_broken.py"""

from openai import OpenAIError

from tensorloop_stream import ChatStream, Tensorloop

try:
    answer = Tensorloop(idle_timeout=30).chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Write two lines about persistence."}],
        stream=True,
    )
    # After a break, the request is made again with the text so far as the assistant's beginning. Models that take such
    # a beginning go on there (Claude, DeepSeek, Mistral, most of what vLLM serves); others may go on differently.
    with ChatStream(answer, continue_broken=2) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    print(f"\n--- final ({len(stream.text)} chars) ---")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

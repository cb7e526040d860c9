"""Save the chunks of an answer, and rebuild the answer from them: python recipes/record_chunks.py"""

import json
import tempfile
from pathlib import Path

from openai import OpenAIError
from openai.types.chat import ChatCompletionChunk

from tensorloop_stream import Callbacks, ChatAccumulator, ChatStream, Tensorloop


def read(path: Path) -> ChatAccumulator:
    """Read a file with a chunk per line; ignore a last line that is incomplete."""
    accumulator = ChatAccumulator()
    for line in path.read_bytes().split(b"\n")[:-1]:  # `splitlines` would also split at U+2028
        accumulator.add(json.loads(line))
    return accumulator


path = Path(tempfile.mkdtemp(), "chunks.jsonl")
try:
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini",
        messages=[{"role": "user", "content": "Think, then answer: why are caches fast?"}],
        stream=True,
    )
    with path.open("w", encoding="ascii") as file:

        def keep(chunk: ChatCompletionChunk) -> None:
            """Write a chunk as the gateway sent it: with its own fields, and without defaults."""
            file.write(json.dumps(chunk.to_dict()) + "\n")  # in ASCII: a text may end with half a character

        completion = ChatStream(answer, Callbacks(on_chunk=keep)).get_final_completion()
except OpenAIError as error:
    raise SystemExit(f"{error}\n--- {path}: cut" if path.exists() else f"{error}") from None

kept = read(path)
print(kept.reasoning, kept.text, sep="\n---\n")
print(f"--- {path}: {'whole' if kept.finished else 'cut'}, {'equal' if kept.completion == completion else 'different'}")

"""Answer a file of prompts, also after a crash: python recipes/many_prompts.py prompts.jsonl answers.jsonl

A line of the prompts (- is stdin) is a text, or an object with "prompt" or "messages", perhaps "id", "model", ...
The key's limit may follow, in requests and seconds: 300 60. A second run asks only for missing and failed answers.
"""

import asyncio
import sys
from pathlib import Path

from openai import OpenAIError
from tqdm import tqdm

from tensorloop_stream import AsyncTensorloop
from tensorloop_stream.prompts import Answer, AnswerFile, Prompt, RollingLimit, ask_all, read_prompts


async def main(prompts: list[Prompt], answers: AnswerFile, limit: RollingLimit) -> None:
    """Ask the prompts that have no answer yet."""
    missing = [prompt for prompt in prompts if prompt.id not in answers.answered]
    with tqdm(total=len(prompts), initial=len(prompts) - len(missing), unit="prompt", disable=None) as bar:

        def keep(answer: Answer) -> None:
            answers.write(answer)
            bar.update("error" not in answer)

        await limit.pause(limit.seconds - answers.idle)  # the requests of an earlier run still count
        async with AsyncTensorloop() as client:
            await ask_all(client, missing, limit, keep, concurrency=50)


try:
    source, target, *limits = sys.argv[1:] if 2 < len(sys.argv) < 6 else sys.exit(__doc__)
    with sys.stdin.buffer if source == "-" else Path(source).open("rb") as lines:
        prompts = read_prompts(lines, model="gpt-4o-mini", stream_options={"include_usage": True})
    with AnswerFile(target) as answers:
        asyncio.run(main(prompts, answers, RollingLimit(*map(int, limits))))
    sys.exit(answers.failed and f"{answers.failed} failed: run again to ask for them once more")
except (KeyboardInterrupt, OpenAIError, OSError, ValueError) as error:  # the file has the answers so far
    raise SystemExit(str(error) or "stopped") from None

"""Answer a file of prompts, also after a crash: python recipes/many_prompts.py prompts.jsonl answers.jsonl

A line of the prompts (- is stdin) is plain text, or an object with "prompt" or "messages", perhaps "id", "model", ...
A second run asks only for missing and failed answers. The key's limit is learnt from the gateway; if you know it, name
it in requests and seconds, such as: 300 60
Longer than a page, since it shows its progress, and what it waits for.
"""

import asyncio
import sys
from pathlib import Path

from openai import OpenAIError
from tqdm.auto import tqdm  # in a notebook, too

from tensorloop_stream import AsyncTensorloop
from tensorloop_stream.prompts import Answer, AnswerFile, LearningLimit, Prompt, RollingLimit, ask_all, read_prompts


async def main(prompts: list[Prompt], answers: AnswerFile, limit: LearningLimit | RollingLimit) -> None:
    """Ask the prompts that have no answer yet."""
    missing = [prompt for prompt in prompts if prompt.id not in answers.answered]
    with tqdm(total=len(prompts), initial=len(prompts) - len(missing), unit="prompt", disable=None) as bar:

        def keep(answer: Answer) -> None:
            answers.write(answer)
            bar.update("error" not in answer)

        async def show_waits() -> None:
            while True:
                bar.set_postfix_str(f"waits: {limit.waits_for}" if limit.waits_for else "")
                await asyncio.sleep(0.5)

        waits = asyncio.create_task(show_waits())
        if isinstance(limit, RollingLimit):
            await limit.pause(limit.seconds - answers.idle)  # the requests of an earlier run still count
        try:
            async with AsyncTensorloop() as client:
                await ask_all(client, missing, limit, keep, concurrency=50)
        finally:
            waits.cancel()


if not 3 <= len(sys.argv) <= 5 or not all(number.isdecimal() for number in sys.argv[3:]):
    raise SystemExit("give a file of prompts and one for the answers, then perhaps a limit in requests and seconds")
source, target, *numbers = sys.argv[1:]
try:
    with sys.stdin.buffer if source == "-" else Path(source).open("rb") as lines:
        prompts = read_prompts(lines, model="gpt-4o-mini", stream_options={"include_usage": True})
    with AnswerFile(target) as answers:
        asyncio.run(main(prompts, answers, RollingLimit(*map(int, numbers)) if numbers else LearningLimit()))
    sys.exit(answers.failed and f"{answers.failed} failed: run again to ask for them once more")
except (KeyboardInterrupt, OpenAIError, OSError, ValueError) as error:  # the file has the answers so far
    raise SystemExit(str(error) or "stopped") from None

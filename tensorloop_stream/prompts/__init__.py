"""Many prompts on one key: streamed at once, under its limit of requests, each answer in a file when it is whole.

    prompts = read_prompts(Path("prompts.jsonl").open("rb"), model="gpt-4o-mini")
    with AnswerFile("answers.jsonl") as answers:
        missing = [prompt for prompt in prompts if prompt.id not in answers.answered]
        async with AsyncTensorloop() as client:
            await ask_all(client, missing, RollingLimit(30), answers.write)

`recipes/many_prompts.py` is the same as a program, `recipes/many_prompts_dask.py` for many machines.
"""

from .answer_file import AnswerFile
from .ask import ask, ask_all
from .jsonl import Answer, Prompt, read_prompts
from .limits import Limit, RollingLimit

__all__ = ["Answer", "AnswerFile", "Limit", "Prompt", "RollingLimit", "ask", "ask_all", "read_prompts"]

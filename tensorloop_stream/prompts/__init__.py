"""Stream the answers to many prompts under one key's limit of requests, and write each to a file once it is complete.

    prompts = read_prompts(Path("prompts.jsonl").open("rb"), model="gpt-4o-mini")
    with AnswerFile("answers.jsonl") as answers:
        missing = [prompt for prompt in prompts if prompt.id not in answers.answered]
        async with AsyncTensorloop() as client:
            await ask_all(client, missing, LearningLimit(), answers.write)

`recipes/many_prompts.py` is a program that does this, and `recipes/many_prompts_dask.py` one for many machines.
"""

from .answer_file import AnswerFile
from .ask import ask, ask_all
from .jsonl import Answer, Prompt, read_prompts
from .limits import LearningLimit, Limit, RollingLimit

__all__ = ["Answer", "AnswerFile", "LearningLimit", "Limit", "Prompt", "RollingLimit", "ask", "ask_all", "read_prompts"]

"""Answer a file of prompts on many machines: python recipes/many_prompts_dask.py prompts.jsonl answers.jsonl

The arguments are those of many_prompts.py. The workers are two local processes, or those of DASK_SCHEDULER_ADDRESS.
Each needs the key in its environment, and reads a stream per thread: dask worker tcp://scheduler:8786 --nthreads 50
"""

import os
import sys
from pathlib import Path

import dask
from dask.distributed import Client
from openai import OpenAIError
from tqdm import tqdm

from tensorloop_stream.prompts import AnswerFile, read_prompts
from tensorloop_stream.prompts_dask import SharedLimit, ask_on


def main(source: str, target: str, *limits: str) -> None:
    """Ask the prompts that have no answer yet."""
    with sys.stdin.buffer if source == "-" else Path(source).open("rb") as lines:
        prompts = read_prompts(lines, model="gpt-4o-mini", stream_options={"include_usage": True})
    limit, scheduler = SharedLimit(*map(int, limits)), os.environ.get("DASK_SCHEDULER_ADDRESS")
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})  # a busy machine replaces a worker late
    local = {"n_workers": 2, "threads_per_worker": 25, "dashboard_address": "127.0.0.1:0"}
    with AnswerFile(target) as answers, Client(scheduler) if scheduler else Client(**local) as client:
        missing = [prompt for prompt in prompts if prompt.id not in answers.answered]
        with tqdm(total=len(prompts), initial=len(prompts) - len(missing), unit="prompt", disable=None) as bar:
            for answer in ask_on(client, missing, limit, idle=answers.idle):
                answers.write(answer)
                bar.update("error" not in answer)
    sys.exit(answers.failed and f"{answers.failed} failed: run again to ask for them once more")


if __name__ == "__main__":  # the workers import this file too
    try:
        main(*(sys.argv[1:] if len(sys.argv) > 2 else sys.exit(__doc__)))
    except (KeyboardInterrupt, OpenAIError, OSError, ValueError) as error:  # the file has the answers so far
        raise SystemExit(str(error) or "stopped") from None

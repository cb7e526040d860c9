"""Read every stream with one tool switched on, and write down what the tool recorded and what the caller got.

Usage: `python program.py TOOL BASE_URL OUTPUT [cost]`. With `cost`, measure the CPU time of a chunk too.
"""

from __future__ import annotations

import gc
import importlib
import json
import sys
import time
import warnings
from pathlib import Path

# The tool comes first, as in a program that uses it: some tools patch what is imported after them.
tool = importlib.import_module(f"tools.{sys.argv[1]}").switch_on()

from actions import READINGS, Action, Reading  # noqa: E402 - after the tool
from gateway import LONG  # noqa: E402 - as above

_REPEATS = 3


def main(base_url: str, output: Path, *, with_cost: bool) -> None:
    warnings.simplefilter("ignore")
    # The collections below need not look at what the tool has imported.
    gc.collect()
    gc.freeze()
    actions = []
    for reading in READINGS:
        for ending in reading.endings():
            seen = Action(reading, ending, base_url, tool).run()
            # Some spans end when their stream is collected.
            gc.collect()
            records = [record.as_dict() for record in tool.taken()]
            actions.append({"reading": vars(reading), "ending": ending, "seen": seen.as_dict(), "records": records})
    cost = _cost(base_url) if with_cost else []
    output.write_text(json.dumps({"actions": actions, "cost": cost}), encoding="utf-8")


def _cost(base_url: str) -> list[float]:
    """Return the microseconds of CPU that a chunk costs: in the SDK's loop, in ours, and in our text_stream."""
    costs = []
    for client, how in (("OpenAI", "loop"), ("Tensorloop", "loop"), ("Tensorloop", "text_stream")):
        reading = Reading(client, "direct", how, is_async=False)
        seconds = []
        for _ in range(_REPEATS):
            started = time.process_time()
            Action(reading, "long", base_url, tool).run()
            seconds.append(time.process_time() - started)
        costs.append(1e6 * min(seconds) / LONG)
    tool.taken()
    return costs


if __name__ == "__main__":
    main(sys.argv[2], Path(sys.argv[3]), with_cost="cost" in sys.argv[4:])

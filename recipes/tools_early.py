"""Run a function while the model writes the next call: python recipes/tools_early.py"""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from openai import OpenAIError

from tensorloop_stream import Callbacks, ChatStream, Tensorloop

TOOLS = {"get_weather": ("city", "The weather in a city, now.")}
TOOLS["get_time"] = ("time_zone", "The time of day in a time zone.")


def spec(name: str) -> Any:
    """Return the description of a function with one string parameter."""
    parameter, description = TOOLS[name]
    schema: dict[str, Any] = {"type": "object", "properties": {parameter: {"type": "string"}}, "required": [parameter]}
    schema["additionalProperties"] = False
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


def run(call: Any) -> str:
    """Return a result; stands for functions of yours that may run twice: if the answer breaks, results are lost."""
    print(f"{call.function.name} runs\n", end="")  # one write, because other threads print too
    # A program checks the arguments against the types of its function: see recipes/tool_loop.py.
    return f"{call.id}: {call.function.name} of {json.loads(call.function.arguments.strip() or '{}')}"


ask: Any = [{"role": "user", "content": "What is the weather in Zürich, and what time is it in Tokyo?"}]
results: list[Future[str]] = []
try:
    create = Tensorloop().chat.completions.create
    answer = create(model="gpt-4o-mini", messages=ask, tools=[spec(name) for name in TOOLS], stream=True)
    with ThreadPoolExecutor() as pool:  # on_tool_call gets each call when it is complete, and no truncated one
        told = Callbacks(on_tool_call=lambda call: results.append(pool.submit(run, call)), on_unusable_tool_call=print)
        ChatStream(answer, told).until_done()
    print(*(result.result() for result in results), sep="\n")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

"""Run each function while the model still writes the next call: python recipes/tools_early.py"""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from openai import OpenAIError

from tensorloop_stream import Callbacks, ChatStream, Tensorloop

TOOLS = {"get_weather": ("city", "The weather in a city, now.")}
TOOLS["get_time"] = ("time_zone", "The time of day in a time zone.")


def spec(name: str) -> Any:
    """Describe a function that takes one string."""
    takes, says = TOOLS[name]
    parameters: dict[str, Any] = {"type": "object", "properties": {takes: {"type": "string"}}, "required": [takes]}
    parameters["additionalProperties"] = False
    return {"type": "function", "function": {"name": name, "description": says, "parameters": parameters}}


def run(call: Any) -> str:
    """Stand for your functions: such as may run twice, for of an answer that breaks later nobody gets the results."""
    print(f"{call.function.name} runs\n", end="")  # in one piece, as other threads print, too
    # What a model gives as arguments, hold against the types of the function: recipes/tool_loop.py.
    return f"{call.id}: {call.function.name} of {json.loads(call.function.arguments.strip() or '{}')}"


ask: Any = [{"role": "user", "content": "What is the weather in Zürich, and what time is it in Tokyo?"}]
results: list[Future[str]] = []
try:
    create = Tensorloop().chat.completions.create
    answer = create(model="gpt-4o-mini", messages=ask, tools=[spec(name) for name in TOOLS], stream=True)
    with ThreadPoolExecutor() as pool:  # a call comes here as soon as it is whole, and never if it was cut
        ChatStream(answer, Callbacks(on_tool_call=lambda call: results.append(pool.submit(run, call)))).until_done()
    print(*(result.result() for result in results), sep="\n")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

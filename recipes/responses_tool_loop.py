"""Let the model call functions over the Responses API, until it answers: python recipes/responses_tool_loop.py"""

from typing import Any

from openai import OpenAIError
from pydantic import TypeAdapter

from tensorloop_stream import ResponseStream, Tensorloop, print_stream


def get_weather(city: str) -> str:
    """Return the weather in a city, now."""
    return f"12 °C and rain in {city}"


def run(call: Any) -> str:
    """Run a valid call, and return its result; return the error of any other, so that the model can correct it."""
    print(f"{call.name} {call.arguments}")
    try:  # pydantic checks the arguments against the signature before it calls the function
        return f"{TypeAdapter(TOOLS[call.name]).validate_json(call.arguments.strip() or '{}')}"
    except (KeyError, ValueError) as error:  # an unknown tool, no JSON, or wrong arguments
        return f"error: {error!r}"


TOOLS: dict[str, Any] = {"get_weather": get_weather}
SPECS = [{"name": n, "description": f.__doc__, "parameters": TypeAdapter(f).json_schema()} for n, f in TOOLS.items()]
ask: Any = {"model": "gpt-4o-mini", "tools": [{"type": "function"} | spec for spec in SPECS], "stream": True}
said: list[Any] = [{"role": "user", "content": "Is it raining in Zürich and in Tokyo?"}]
try:
    client = Tensorloop()
    for _ in range(5):
        print_stream(stream := ResponseStream(client.responses.create(**ask, input=said)))
        # A cut answer may have calls that are cut, too.
        if stream.status != "completed" or not (calls := {call.call_id: run(call) for call in stream.tool_calls}):
            raise SystemExit(None if stream.status == "completed" else f"{stream.status}: none of its calls is run")
        said += [item.to_dict(exclude_none=True) for item in stream.snapshot.output]  # reasoning belongs to its calls
        said += [{"type": "function_call_output", "call_id": one, "output": result} for one, result in calls.items()]
    raise SystemExit("no answer after 5 rounds of calls")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

"""Let the model call functions, several at once, until it answers: python recipes/tool_loop.py"""

from typing import Any

from openai import OpenAIError
from pydantic import TypeAdapter

from tensorloop_stream import ChatStream, Tensorloop, print_stream


def get_weather(city: str) -> str:
    """Return the weather in a city, now."""
    return f"12 °C and rain in {city}"


def run(call: Any) -> str:
    """Run a valid call, and return its result; return the error of any other, so that the model can correct it."""
    print(f"{call.function.name} {call.function.arguments}")
    try:  # pydantic checks the arguments against the signature before it calls the function
        return f"{TypeAdapter(TOOLS[call.function.name]).validate_json(call.function.arguments.strip() or '{}')}"
    except (KeyError, ValueError) as error:  # an unknown tool, no JSON, or wrong arguments
        return f"error: {error!r}"


TOOLS: dict[str, Any] = {"get_weather": get_weather}
SPECS = [{"name": n, "description": f.__doc__, "parameters": TypeAdapter(f).json_schema()} for n, f in TOOLS.items()]
ask: Any = {"model": "gpt-4o-mini", "tools": [{"type": "function", "function": spec} for spec in SPECS]}
messages: list[Any] = [{"role": "user", "content": "Is it raining in Zürich and in Tokyo?"}]
try:
    client = Tensorloop()
    for _ in range(5):
        print_stream(stream := ChatStream(client.chat.completions.create(**ask, messages=messages, stream=True)))
        messages.append(message := stream.get_final_message())
        is_cut = (stream.finish_reason or "stop").lower() not in {"stop", "tool_calls", "eos", "end_turn", "tool_use"}
        if is_cut or not message.tool_calls:
            raise SystemExit("the answer was cut, and none of its calls is run" if is_cut else None)
        messages += [{"role": "tool", "tool_call_id": call.id, "content": run(call)} for call in message.tool_calls]
    raise SystemExit("no answer after 5 rounds of calls")
except OpenAIError as error:
    raise SystemExit(f"{error}") from None

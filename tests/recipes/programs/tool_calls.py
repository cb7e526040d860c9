import json
import os

from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])


def convert(amount: float, currency: str) -> str:
    return f"{amount} {currency} are {amount * 2:.2f} CHF"


tools: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "convert",
            "description": "Convert an amount of money into Swiss francs.",
            "parameters": {
                "type": "object",
                "properties": {
                    "amount": {"type": "number", "minimum": 0},
                    "currency": {"type": "string", "enum": ["EUR", "USD"]},
                },
                "required": ["amount", "currency"],
            },
        },
    }
]
messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "How many francs are 20 euros?"}]
while True:
    message = client.chat.completions.create(model="gpt-4o", messages=messages, tools=tools).choices[0].message
    if not message.tool_calls:
        break
    messages.append({"role": "assistant", "tool_calls": [call.model_dump() for call in message.tool_calls]})  # type: ignore[misc]
    for call in message.tool_calls:
        assert call.type == "function"
        result = convert(**json.loads(call.function.arguments))
        print(call.function.name, call.function.arguments, "->", result)
        messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
print(message.content)
assert len(messages) > 2

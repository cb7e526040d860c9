import json

from tensorloop_stream import ChatStream, Tensorloop

answer = Tensorloop().chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Book a table for two in Lausanne."}],
    tools=[
        {
            "type": "function",
            "function": {
                "name": "book_table",
                "parameters": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "guests": {"type": "integer", "minimum": 1}},
                    "required": ["city", "guests"],
                },
            },
        }
    ],
    tool_choice={"type": "function", "function": {"name": "book_table"}},
    stream=True,
)
with ChatStream(answer) as stream:
    message = stream.get_final_message()
assert message.tool_calls
for call in message.tool_calls:
    assert call.type == "function"
    arguments = json.loads(call.function.arguments)
    print(call.function.name, arguments["city"], arguments["guests"] + 1)

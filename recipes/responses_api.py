"""Use the Responses API, and check that a response is complete: python recipes/responses_api.py"""

from typing import Any

import httpx2
from openai import OpenAIError
from openai.types import responses

from tensorloop_stream import Tensorloop

ENDS = responses.ResponseCompletedEvent, responses.ResponseIncompleteEvent, responses.ResponseFailedEvent
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "name": "get_weather", "parameters": CITY | {"additionalProperties": False}}


def respond(client: Tensorloop, **request: Any) -> responses.Response:
    """Print a response as it arrives, and return it; raise if it failed or is incomplete: the SDK does not."""
    response = None
    with client.responses.create(model="gpt-4o-mini", stream=True, **request) as events:
        for event in events:
            if isinstance(event, responses.ResponseTextDeltaEvent | responses.ResponseFunctionCallArgumentsDeltaEvent):
                print(event.delta, end="", flush=True)
            elif isinstance(event, ENDS):
                response = event.response
            elif isinstance(event, responses.ResponseErrorEvent):
                raise OpenAIError(event.message)
    if response is None:
        raise OpenAIError("the stream ended, and the response had not")
    if response.status != "completed":  # "failed"; or "incomplete", at a limit of tokens or a filter
        raise OpenAIError(f"the response is {response.status}: {response.error or response.incomplete_details}")
    return response


try:
    poem = respond(client := Tensorloop(), input="Stream a haiku about caching.")
    print(f"\n--- final ({len(poem.output_text)} chars) ---")
    called = respond(client, input="What is the weather in Zürich?", tools=[WEATHER], tool_choice="required")
    print("", *(f"{call.name}({call.arguments})" for call in called.output if call.type == "function_call"), sep="\n")
except (OpenAIError, httpx2.HTTPError) as error:  # in openai 3.0, a cut raises the error of the HTTP library
    raise SystemExit(f"{error}") from None

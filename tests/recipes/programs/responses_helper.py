import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])

with client.responses.stream(model="gpt-4o-mini", input="Write a limerick about a modem.") as stream:
    for event in stream:
        if event.type == "response.output_text.delta":
            print(event.delta, end="", flush=True)
    print()
    print(stream.get_final_response().status)

import base64
import os

from openai import OpenAI

client = OpenAI(base_url=os.environ["TENSORLOOP_BASE_URL"], api_key=os.environ["TENSORLOOP_KEY"])

picture = base64.b64encode(b"\x89PNG not really a picture").decode()
stream = client.chat.completions.create(
    model="gpt-4o",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is in this picture?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}", "detail": "low"}},
            ],
        }
    ],
    max_completion_tokens=300,
    stream=True,
)
print("".join(chunk.choices[0].delta.content or "" for chunk in stream))

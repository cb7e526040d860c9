"""Stream without the SDK, from raw HTTP: python recipes/raw_http.py

Longer than a page, since it reads the events by itself.
"""

import json
import os

from openai import DefaultHttpxClient  # of httpx with openai 2, of httpx2 with openai 3

from tensorloop_stream import SSEDecoder

URL = (os.environ.get("TENSORLOOP_BASE_URL") or "https://litellm.tensorloop.tech/v1") + "/chat/completions"
HAIKU = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Stream a haiku about caching."}]}


def print_answer(body: object) -> str:
    """Print an answer as it arrives, and return it; raise if it is refused, fails, or ends without [DONE]."""
    if not (key := os.environ.get("TENSORLOOP_KEY")):
        raise ValueError(f"Set TENSORLOOP_KEY, or: python -m tensorloop_stream.replay cassettes -- python {__file__}")
    decoder, answer, cut = SSEDecoder(), "", ""
    http = DefaultHttpxClient(timeout=60, headers={"Authorization": f"Bearer {key}"})
    with http, http.stream("POST", URL, json=body) as response:
        if not response.is_success:
            raise ValueError(f"{response.status_code}: {response.read().decode()}")
        for data in response.iter_bytes():
            for event in decoder.feed(data):
                if event.data == "[DONE]":
                    print(cut, end="")
                    return answer
                chunk = {"error": True} if event.event == "error" else json.loads(event.data or "null")
                match chunk:
                    case {"error": error} if error:  # a gateway can fail after it has sent the status 200
                        raise ValueError(event.data)
                    case {"choices": [{"delta": {"content": str(text)}}, *_]}:  # nothing else is text
                        print(text, end="", flush=True)
                        answer += text
                match chunk:
                    case {"choices": [{"finish_reason": "length" | "content_filter" as reason}, *_]}:
                        cut = f"\n(cut: {reason})"
    raise ValueError("the stream ended without [DONE]")


try:
    answer = print_answer(HAIKU | {"stream": True})
    print(f"\n--- final ({len(answer)} chars) ---")
except Exception as error:  # noqa: BLE001 - each HTTP library has its own
    raise SystemExit(f"{error}") from None

"""Stream without the SDK, from raw HTTP: python recipes/raw_http.py"""

import json
import os
from collections.abc import Iterator

import httpx2

from tensorloop_stream import SSEDecoder

URL = (os.environ.get("TENSORLOOP_BASE_URL") or "https://litellm.tensorloop.tech/v1") + "/chat/completions"
HAIKU = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Stream a haiku about caching."}]}


def stream_text(body: object) -> Iterator[str]:
    """Yield the text of an answer as it arrives; raises if it is refused, fails, is cut or ends unfinished."""
    if not (key := os.environ.get("TENSORLOOP_KEY")):
        raise ValueError(f"Set TENSORLOOP_KEY, or: python -m tensorloop_stream.replay cassettes -- python {__file__}")
    with httpx2.stream("POST", URL, headers={"Authorization": f"Bearer {key}"}, json=body, timeout=60) as response:
        if not response.is_success:
            raise ValueError(f"{response.status_code}: {response.read().decode()}")
        for event in (event for events in map(SSEDecoder().feed, response.iter_bytes()) for event in events):
            if event.data == "[DONE]":
                return
            match {"error": True} if event.event == "error" else json.loads(event.data or "null"):
                case {"error": error} if error:  # a gateway that fails in mid-stream has sent its 200 long before
                    raise ValueError(event.data)
                case {"choices": [{"delta": {"content": str(text)}}, *_]}:  # nothing else is text, whatever it may be
                    yield text
    raise ValueError("the stream ended without [DONE]")


try:
    text = ""
    for piece in stream_text(HAIKU | {"temperature": 0.2, "max_tokens": 60, "stream": True}):
        print(piece, end="", flush=True)
        text += piece
    print(f"\n--- final ({len(text)} chars) ---")
except (httpx2.HTTPError, ValueError) as error:
    raise SystemExit(f"{error}") from None

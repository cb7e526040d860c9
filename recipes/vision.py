"""Ask about a picture, a file or an address on the web: python recipes/vision.py picture.png"""

import base64
import mimetypes
import sys
from pathlib import Path

from openai import OpenAIError
from openai.types.chat import ChatCompletionContentPartParam

from tensorloop_stream import Tensorloop, print_stream

RED_DOT = (  # a picture to begin with
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO"
    "9TXL0Y4OHwAAAABJRU5ErkJggg=="
)


def image_url(picture: str) -> str:
    """Return an address as it is, and a file as a data URL."""
    if picture.startswith(("https://", "http://", "data:")):
        return picture
    kind = mimetypes.guess_type(picture)[0] or "image/png"
    return f"data:{kind};base64,{base64.b64encode(Path(picture).read_bytes()).decode()}"


try:
    picture = image_url(sys.argv[1] if len(sys.argv) > 1 else RED_DOT)
    content: list[ChatCompletionContentPartParam] = [
        {"type": "text", "text": "What is in this picture?"},
        {"type": "image_url", "image_url": {"url": picture, "detail": "low"}},  # "high" costs more tokens
    ]
    answer = Tensorloop().chat.completions.create(
        model="gpt-4o-mini", messages=[{"role": "user", "content": content}], stream=True
    )
    print_stream(answer)
except (OpenAIError, OSError) as error:  # no key, no such file, a model without eyes
    raise SystemExit(f"{error}") from None

"""Stream answers to a page in the browser, with FastAPI: python recipes/forward_fastapi.py"""

import os
from pathlib import Path
from typing import Annotated, Literal

import uvicorn
from fastapi import Body, FastAPI, Response
from fastapi.responses import FileResponse
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, Field
from starlette.routing import Route

from tensorloop_stream import AsyncTensorloop, Callbacks, ForwardApp

page = FileResponse(Path(__file__).with_name("chat.html"))
app = FastAPI(routes=[Route("/", page)], max_body_size=100_000)
client = AsyncTensorloop(max_retries=1)  # a retry may wait for a minute, and the browser waits with it
saved: list[ChatCompletion] = []  # stands for your database; on_finish may be an async function


class Message(BaseModel):  # noqa: D101 - the browser chooses the messages; the server all else
    role: Literal["user", "assistant"]
    content: str = Field(max_length=4000)


class Forwarded(ForwardApp, Response):
    """A response for FastAPI, with background tasks."""


@app.post("/chat", response_class=Response)
async def chat(messages: Annotated[list[Message], Body(embed=True, min_length=1, max_length=20)]) -> Response:
    """Forward the gateway's answer; the server chooses the model, the limits and the key."""
    body = {"model": "gpt-4o-mini", "messages": [dict(m) for m in messages]}
    return Forwarded(client, body, Callbacks(on_finish=saved.append))


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))

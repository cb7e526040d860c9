"""Stream answers to a page in the browser, with FastAPI: python recipes/forward_fastapi.py

Longer than a page, since it refuses pages of other sites: each of them could send a question, and spend the key.
"""

import os
from pathlib import Path
from typing import Annotated, Literal

import uvicorn
from fastapi import Body, Depends, FastAPI, HTTPException, Request, Response
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse
from openai.types.chat import ChatCompletion
from pydantic import BaseModel, Field
from starlette.routing import Route

from tensorloop_stream import AsyncTensorloop, Callbacks, ForwardApp

page = FileResponse(Path(__file__).with_name("chat.html"))
app = FastAPI(routes=[Route("/", page)], max_body_size=1_000_000)
# In production: the names of your site.
app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])
client = AsyncTensorloop(max_retries=1)  # a retry may wait for a minute, and the browser waits with it
saved: list[ChatCompletion] = []  # stands for your database; on_finish may be an async function


class Message(BaseModel):  # noqa: D101 - the browser chooses the messages; the server all else
    role: Literal["user", "assistant"]
    content: str = Field(max_length=4000)


class Forwarded(ForwardApp, Response):
    """A response for FastAPI, with background tasks."""


def require_own_page(request: Request) -> None:
    """Raise for a request from another site's page, and for a body that such a page may send without asking."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_elsewhere = origin is not None and origin.partition("://")[2] != request.headers["host"]
    if site == "cross-site" or (site is None and is_elsewhere):  # old browsers, and all on http://, send no site
        raise HTTPException(403, "this is no page of this site")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise HTTPException(415, "the body must be application/json")


@app.post("/chat", response_class=Response, dependencies=[Depends(require_own_page)])
async def chat(messages: Annotated[list[Message], Body(embed=True, min_length=1, max_length=20)]) -> Response:
    """Forward the gateway's answer; the server chooses the model, the limits and the key."""
    body = {"model": "gpt-4o-mini", "messages": [dict(m) for m in messages]}
    return Forwarded(client, body, Callbacks(on_finish=saved.append))


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))

"""Stream answers over a WebSocket, with a stop: python recipes/chat_websocket.py

The browser sends {"messages": [...]} or {"stop": true}; it gets {"text": "..."} for each piece, and then
{"finish": "stop"}, where "length" or "content_filter" mean a cut answer, or {"error": "..."}.
Longer than a page, since a new message stops the answer to the one before, and pages of other sites are refused.
"""

import asyncio
import logging
import os
from typing import Any

import uvicorn
from openai import APIError, AuthenticationError, OpenAIError, PermissionDeniedError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tensorloop_stream import AsyncChatStream, AsyncTensorloop

client = AsyncTensorloop(max_retries=1)
SPENT = {"budget_exceeded", "insufficient_quota"}  # where waiting does not help
HOSTS = ["127.0.0.1", "localhost"]  # in production: the names of your site


async def answer(socket: WebSocket, messages: Any) -> None:
    """Send one answer; the task is cancelled at a stop, which closes the gateway's stream."""
    try:
        ask = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        async with AsyncChatStream(ask) as stream:
            async for text in stream.text_stream:
                await socket.send_json({"text": text})
        await socket.send_json({"finish": stream.completion.choices[0].finish_reason})
    except OpenAIError as error:
        await socket.send_json({"error": error_text(error)})


def error_text(error: OpenAIError) -> str:
    """Return the sentence for the page; that the gateway refused this server's key or budget is for the log."""
    is_ours = isinstance(error, (AuthenticationError, PermissionDeniedError))
    if is_ours or (isinstance(error, APIError) and SPENT & {error.type, error.code}):
        logging.getLogger("chat").error("the gateway refused this server: %s", error)
        return "the service is not available: its operator can see the reason in the log"
    return f"{error}"


async def chat(socket: WebSocket) -> None:
    """Answer one message after the other, until the browser leaves."""
    origin = socket.headers.get("origin")  # each browser sends it, and lets each page in the world open a socket here
    is_elsewhere = origin is not None and origin.partition("://")[2] != socket.headers["host"]
    if is_elsewhere or socket.headers.get("sec-fetch-site") == "cross-site":
        await socket.close()  # before it is accepted: a 403
        return
    await socket.accept()
    running: asyncio.Task[None] | None = None
    try:
        while True:
            asked = await socket.receive_json()
            if running is not None:
                running.cancel()
            if "messages" in asked:
                running = asyncio.create_task(answer(socket, asked["messages"][-20:]))
    except (WebSocketDisconnect, ValueError):  # the browser left, or sent no JSON
        pass
    finally:
        if running is not None:
            running.cancel()


hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
app = Starlette(routes=[WebSocketRoute("/chat", chat)], middleware=[hosts])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))

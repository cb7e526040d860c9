"""Stream answers over a WebSocket, with a stop: python recipes/chat_websocket.py

The browser sends {"messages": [...]} or {"stop": true}; it gets {"text": "..."} for each piece, and then
{"finish": "stop"}, where "length" or "content_filter" mean a cut answer, or {"error": "..."}.
Longer than a page, since a new message stops the answer to the one before.
"""

import asyncio
import os
from typing import Any

import uvicorn
from openai import OpenAIError
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from tensorloop_stream import AsyncChatStream, AsyncTensorloop

client = AsyncTensorloop(max_retries=1)


async def answer(socket: WebSocket, messages: Any) -> None:
    """Send one answer; the task is cancelled at a stop, which closes the gateway's stream."""
    try:
        ask = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        async with AsyncChatStream(ask) as stream:
            async for text in stream.text_stream:
                await socket.send_json({"text": text})
        await socket.send_json({"finish": stream.completion.choices[0].finish_reason})
    except OpenAIError as error:
        await socket.send_json({"error": f"{error}"})


async def chat(socket: WebSocket) -> None:
    """Answer one message after the other, until the browser leaves."""
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


app = Starlette(routes=[WebSocketRoute("/chat", chat)])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))

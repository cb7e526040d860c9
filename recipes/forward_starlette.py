"""Stream answers to a page in the browser, with Starlette: python recipes/forward_starlette.py"""

import os
from pathlib import Path

import uvicorn
from openai.types.chat import ChatCompletion
from pydantic import ValidationError, conlist, constr, create_model
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import Route

from tensorloop_stream import AsyncTensorloop, Callbacks, ForwardApp

client = AsyncTensorloop(max_retries=1)  # a retry may wait for a minute, and the browser waits with it
saved: list[ChatCompletion] = []  # stands for your database; on_finish may be an async function

# The browser chooses the messages; the server chooses the model, the limits and the key.
Message = create_model("Message", role=constr(pattern="^(user|assistant)$"), content=constr(max_length=4000))
Chat = create_model("Chat", __config__={"extra": "forbid"}, messages=conlist(Message, min_length=1, max_length=20))


async def chat(request: Request) -> ForwardApp | JSONResponse:
    """Forward the gateway's answer, or return a 422 for other messages."""
    try:
        chat_body = Chat.model_validate_json(await request.body()).model_dump()
    except ValidationError as error:
        return JSONResponse({"error": {"message": str(error)}}, 422)
    body = {**chat_body, "model": "gpt-4o-mini"}
    return ForwardApp(client, body, Callbacks(on_finish=saved.append))


page = FileResponse(Path(__file__).with_name("chat.html"))
app = Starlette(routes=[Route("/", page), Route("/chat", chat, methods=["POST"])], max_body_size=100_000)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))

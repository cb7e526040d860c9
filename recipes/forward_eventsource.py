"""Stream answers to an EventSource, with Starlette: python recipes/forward_eventsource.py"""

import os
from pathlib import Path

import uvicorn
from pydantic import ValidationError, conlist, constr, create_model
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tensorloop_stream import AsyncTensorloop, Callbacks, ForwardApp

client, saved = AsyncTensorloop(max_retries=1), list[object]()  # the list stands for your database
bodies: dict[str, dict[str, object]] = {}  # in production: a store shared by all processes, with an expiry
Message = create_model("Message", role=constr(pattern="^(user|assistant)$"), content=constr(max_length=4000))
Chat = create_model("Chat", __config__={"extra": "forbid"}, messages=conlist(Message, min_length=1, max_length=20))


async def ask(request: Request) -> JSONResponse:
    """Store the messages, all that a browser may choose, and return an id: an EventSource can only send a GET."""
    try:
        chat_body = Chat.model_validate_json(await request.body()).model_dump()
    except ValidationError as error:
        return JSONResponse({"error": {"message": str(error)}}, 422)
    bodies[key := os.urandom(16).hex()] = {**chat_body, "model": "gpt-4o-mini"}
    return JSONResponse({"id": key})


async def answer(request: Request) -> ForwardApp | Response:
    """Forward the answer once; after a cut, an EventSource reconnects until it receives a 204."""
    body = bodies.pop(request.path_params["id"], None)
    return ForwardApp(client, body, Callbacks(on_finish=saved.append)) if body else Response(status_code=204)


page = Route("/", FileResponse(Path(__file__).with_name("chat.html")))
app = Starlette(routes=[page, Route("/chat", ask, methods=["POST"]), Route("/chat/{id}", answer)], max_body_size=10**5)
if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))

"""Stream answers to an EventSource, with Starlette: python recipes/forward_eventsource.py

Longer than a page, since it refuses pages of other sites: each of them could send a question, and spend the key.
"""

import os
from pathlib import Path

import uvicorn
from pydantic import ValidationError, conlist, constr, create_model
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from tensorloop_stream import AsyncTensorloop, Callbacks, ForwardApp

client, saved = AsyncTensorloop(max_retries=1), list[object]()  # the list stands for your database
HOSTS = ["127.0.0.1", "localhost"]  # in production: the names of your site
bodies: dict[str, dict[str, object]] = {}  # in production: a store shared by all processes, with an expiry
Message = create_model("Message", role=constr(pattern="^(user|assistant)$"), content=constr(max_length=4000))
Chat = create_model("Chat", __config__={"extra": "forbid"}, messages=conlist(Message, min_length=1, max_length=20))


def require_own_page(request: Request) -> None:
    """Raise for a request from another site's page, and for a body that such a page may send without asking."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_elsewhere = origin is not None and origin.partition("://")[2] != request.headers["host"]
    if site == "cross-site" or (site is None and is_elsewhere):  # old browsers, and all on http://, send no site
        raise HTTPException(403, "this is no page of this site")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and content_type != "application/json":
        raise HTTPException(415, "the body must be application/json")


async def ask(request: Request) -> JSONResponse:
    """Store the messages, all that a browser may choose, and return an id: an EventSource can only send a GET."""
    require_own_page(request)
    try:
        chat_body = Chat.model_validate_json(await request.body()).model_dump()
    except ValidationError as error:
        return JSONResponse({"error": {"message": str(error)}}, 422)
    bodies[key := os.urandom(16).hex()] = {**chat_body, "model": "gpt-4o-mini"}
    return JSONResponse({"id": key})


async def answer(request: Request) -> ForwardApp | Response:
    """Forward the answer once; after a cut, an EventSource reconnects until it receives a 204."""
    require_own_page(request)
    body = bodies.pop(request.path_params["id"], None)
    return ForwardApp(client, body, Callbacks(on_finish=saved.append)) if body else Response(status_code=204)


page = Route("/", FileResponse(Path(__file__).with_name("chat.html")))
routes = [page, Route("/chat", ask, methods=["POST"]), Route("/chat/{id}", answer)]
hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
app = Starlette(routes=routes, middleware=[hosts], max_body_size=1_000_000)
if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))

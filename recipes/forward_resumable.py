"""Stream answers that survive a reload or a lost replica, with Redis: python recipes/forward_resumable.py

Longer than a page, since it refuses pages of other sites: each of them could send a question, and spend the key.
"""

import os
from pathlib import Path

import uvicorn
from pydantic import ValidationError, conlist, constr, create_model
from redis.asyncio import Redis, RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, StreamingResponse

from tensorloop_stream import AsyncTensorloop
from tensorloop_stream.resumable import ResumableStreams

client, streams = AsyncTensorloop(max_retries=1), ResumableStreams(Redis.from_url(os.getenv("REDIS_URL", "redis://")))
HOSTS = ["127.0.0.1", "localhost"]  # in production: the names of your site
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


async def chat(request: Request) -> StreamingResponse | JSONResponse:
    """Start, follow or cancel the answer of an id that the browser chose; whoever knows the id may read."""
    require_own_page(request)
    name = request.path_params["id"].hex
    if request.method == "DELETE":  # only this cancels an answer: a browser that leaves does not
        return JSONResponse({"cancelled": await streams.cancel(name)})
    if request.method == "POST":  # a repeated POST sends no second request to the gateway
        chat_body = Chat.model_validate_json(await request.body()).model_dump()
        await streams.start(name, client, {**chat_body, "model": "gpt-4o-mini"}, hide_refusals=True)
    answer = await streams.read(name, request.headers.get("last-event-id"))
    return StreamingResponse(answer, answer.status_code, answer.headers)


UNAVAILABLE = {"error": {"message": "Redis cannot be reached: ask again", "type": "stream_unavailable"}}
hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
# The lifespan tells readers when the server ends.
app = Starlette(lifespan=streams.lifespan, middleware=[hosts], max_body_size=1_000_000)
app.add_route("/", lambda _: FileResponse(Path(__file__).with_name("chat_resumable.html")))
app.add_route("/chat/{id:uuid}", chat, methods=["POST", "GET", "DELETE"])
app.add_exception_handler(ValidationError, lambda _, error: JSONResponse({"error": {"message": str(error)}}, 422))
app.add_exception_handler(RedisError, lambda *_: JSONResponse(UNAVAILABLE, 503))
if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=1)

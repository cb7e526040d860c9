"""Stream answers that survive a reload and a lost replica, with Redis: python recipes/forward_resumable.py"""

import os
from pathlib import Path

import uvicorn
from pydantic import ValidationError, conlist, constr, create_model
from redis.asyncio import Redis, RedisError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, StreamingResponse

from tensorloop_stream import AsyncTensorloop
from tensorloop_stream.resumable import ResumableStreams

client, streams = AsyncTensorloop(max_retries=1), ResumableStreams(Redis.from_url(os.getenv("REDIS_URL", "redis://")))
Message = create_model("Message", role=constr(pattern="^(user|assistant)$"), content=constr(max_length=4000))
Asked = create_model("Asked", __config__={"extra": "forbid"}, messages=conlist(Message, min_length=1, max_length=20))


async def chat(request: Request) -> StreamingResponse | JSONResponse:
    """Start, follow or cancel the answer of an id that the browser made up: whoever knows the id may read."""
    name = request.path_params["id"].hex
    if request.method == "DELETE":  # a browser that leaves cancels nothing
        return JSONResponse({"cancelled": await streams.cancel(name)})
    if request.method == "POST":  # however often it comes, the gateway is asked once
        body = Asked.model_validate_json(await request.body()).model_dump()
        await streams.start(name, client, {**body, "model": "gpt-4o-mini", "max_tokens": 60, "temperature": 0.2})
    answer = await streams.read(name, request.headers.get("last-event-id"))
    return StreamingResponse(answer, answer.status_code, answer.headers)


AGAIN = {"error": {"message": "Redis cannot be reached: ask again", "type": "stream_unavailable"}}
app = Starlette(lifespan=streams.lifespan, max_body_size=10**5)  # a server that ends tells the readers of its streams
app.add_route("/", lambda _: FileResponse(Path(__file__).with_name("chat_resumable.html")))
app.add_route("/chat/{id:uuid}", chat, methods=["POST", "GET", "DELETE"])
app.add_exception_handler(ValidationError, lambda _, error: JSONResponse({"error": {"message": str(error)}}, 422))
app.add_exception_handler(RedisError, lambda *_: JSONResponse(AGAIN, 503))
if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), timeout_graceful_shutdown=1)

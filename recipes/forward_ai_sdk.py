"""Stream answers to `useChat` of the AI SDK (AI SDK 5 and newer): python recipes/forward_ai_sdk.py

In the page: useChat(), which posts to /api/chat of its own site. While you develop, rewrite that path of the page's
server to this one (in Next.js: `rewrites`), and keep the Host.
Longer than a page, since it translates messages and events, and refuses pages of other sites.
"""

import json
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from openai import APIError, AuthenticationError, PermissionDeniedError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tensorloop_stream import SSE_HEADERS, AsyncChatStream, AsyncTensorloop

client = AsyncTensorloop(max_retries=1)
SPENT = {"budget_exceeded", "insufficient_quota"}  # where waiting does not help
HOSTS = ["127.0.0.1", "localhost"]  # in production: the names of your site
FINISH = {"content_filter": "content-filter", "tool_calls": "tool-calls", "function_call": "tool-calls"}


def as_messages(ui_messages: list[dict[str, Any]]) -> list[Any]:
    """Return the texts of the page's messages; their other parts are not for the model."""
    return [
        {
            "role": "assistant" if each["role"] == "assistant" else "user",
            "content": "".join(part["text"] for part in each["parts"] if part["type"] == "text"),
        }
        for each in ui_messages[-20:]
    ]


def error_text(error: APIError) -> str:
    """Return the sentence for the page; that the gateway refused this server's key or budget is for the log."""
    is_ours = isinstance(error, (AuthenticationError, PermissionDeniedError))
    if is_ours or SPENT & {error.type, error.code}:
        logging.getLogger("chat").error("the gateway refused this server: %s", error)
        return "the service is not available: its operator can see the reason in the log"
    return error.message


async def parts(messages: list[Any]) -> AsyncIterator[dict[str, Any]]:
    """Yield the answer in the parts of the AI SDK's UI message stream."""
    yield {"type": "start"}
    try:
        ask = client.chat.completions.create(model="gpt-4o-mini", messages=messages, stream=True)
        async with AsyncChatStream(ask) as stream:
            yield {"type": "text-start", "id": "text"}
            async for text in stream.text_stream:
                yield {"type": "text-delta", "id": "text", "delta": text}
            yield {"type": "text-end", "id": "text"}
        reason = str(stream.completion.choices[0].finish_reason)
        yield {"type": "finish", "finishReason": FINISH.get(reason, reason)}
    except APIError as error:  # `useChat` has it as `error`; the text so far stays
        yield {"type": "error", "errorText": error_text(error)}


def require_own_page(request: Request) -> None:
    """Raise for a request from another site's page, and for a body that such a page may send without asking."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_elsewhere = origin is not None and origin.partition("://")[2] != request.headers["host"]
    if site == "cross-site" or (site is None and is_elsewhere):  # old browsers, and all on http://, send no site
        raise HTTPException(403, "this is no page of this site")
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise HTTPException(415, "the body must be application/json")


async def chat(request: Request) -> Response:
    """Answer the page, or return a 422 for what is no message."""
    require_own_page(request)
    try:
        messages = as_messages((await request.json())["messages"])
    except (ValueError, LookupError, TypeError):
        return JSONResponse({"error": "no messages"}, 422)
    events = (f"data: {json.dumps(part)}\n\n" async for part in parts(messages))
    headers = {**SSE_HEADERS, "x-vercel-ai-ui-message-stream": "v1"}
    return StreamingResponse(with_end(events), headers=headers)


async def with_end(events: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield the events, and the end that the AI SDK waits for."""
    async for event in events:
        yield event
    yield "data: [DONE]\n\n"


hosts = Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)
routes = [Route("/api/chat", chat, methods=["POST"])]
app = Starlette(routes=routes, middleware=[hosts], max_body_size=1_000_000)

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))

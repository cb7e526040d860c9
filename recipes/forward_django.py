"""Stream answers to a page in the browser, from an async view of Django: python recipes/forward_django.py

Longer than a page, since it refuses pages of other sites: each of them could send a question, and spend the key.
"""

import os
from pathlib import Path

import uvicorn
from django import conf, http, urls
from django.core.asgi import get_asgi_application
from pydantic import ValidationError, conlist, constr, create_model

from tensorloop_stream import AsyncTensorloop, Callbacks, aforward_chat

client, saved = AsyncTensorloop(max_retries=1), list[object]()  # the list stands for your database
Message = create_model("Message", role=constr(pattern="^(user|assistant)$"), content=constr(max_length=4000))
Chat = create_model("Chat", __config__={"extra": "forbid"}, messages=conlist(Message, min_length=1, max_length=20))


def refusal(request: http.HttpRequest) -> http.HttpResponse | None:
    """Return a refusal of another site's page, and of a body that such a page may send without asking."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_elsewhere = origin is not None and origin.partition("://")[2] != request.get_host()
    if site == "cross-site" or (site is None and is_elsewhere):  # old browsers, and all on http://, send no site
        return http.HttpResponseForbidden("this is no page of this site")
    if request.content_type != "application/json":
        return http.HttpResponse("the body must be application/json", status=415)
    return None


async def chat(request: http.HttpRequest) -> http.HttpResponseBase:
    """Forward an answer; the browser chooses the messages, the server the model, the limits and the key."""
    if refused := refusal(request):
        return refused
    try:
        chat_body = Chat.model_validate_json(request.body).model_dump()
    except ValidationError as error:
        return http.JsonResponse({"error": {"message": str(error)}}, status=422)
    body = {**chat_body, "model": "gpt-4o-mini"}
    answer = await aforward_chat(client, body, Callbacks(on_finish=saved.append), hide_refusals=True)

    async def read_and_close() -> object:
        async with answer:
            async for data in answer:
                yield data

    return http.StreamingHttpResponse(read_and_close(), status=answer.status_code, headers=answer.headers)


PAGE = Path(__file__).with_name("chat.html").read_bytes()
urlpatterns = [urls.path("", lambda _: http.HttpResponse(PAGE)), urls.path("chat", chat)]
HOSTS = ["127.0.0.1", "localhost"]  # in production: the names of your site; the middleware checks them
MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"]
conf.settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=HOSTS, MIDDLEWARE=MIDDLEWARE)
app = get_asgi_application()
if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")))

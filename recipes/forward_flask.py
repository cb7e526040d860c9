"""Stream answers to a page in the browser, with Flask: python recipes/forward_flask.py

Limits of WSGI: each stream occupies a thread. The server notices that a browser left at the next chunk, and not while
the model is silent. In production: gunicorn --chdir recipes --threads 32 forward_flask:app

Longer than a page, since it refuses pages of other sites: each of them could send a question, and spend the key.
"""

import os
from pathlib import Path

from flask import Flask, Response, abort, request, send_file
from openai.types.chat import ChatCompletion
from pydantic import ValidationError, conlist, constr, create_model

from tensorloop_stream import Callbacks, Tensorloop, forward_chat

client = Tensorloop(max_retries=1)  # a retry may wait for a minute, and the browser waits with it
saved: list[ChatCompletion] = []  # stands for your database
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 1_000_000
app.config["TRUSTED_HOSTS"] = ["127.0.0.1", "localhost"]  # in production: the names of your site
app.add_url_rule("/", view_func=lambda: send_file(Path(__file__).with_name("chat.html")))

# The browser chooses the messages; the server chooses the model, the limits and the key.
Message = create_model("Message", role=constr(pattern="^(user|assistant)$"), content=constr(max_length=4000))
Chat = create_model("Chat", __config__={"extra": "forbid"}, messages=conlist(Message, min_length=1, max_length=20))


def require_own_page() -> None:
    """Raise for a request from another site's page, and for a body that such a page may send without asking."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_elsewhere = origin is not None and origin.partition("://")[2] != request.host
    if site == "cross-site" or (site is None and is_elsewhere):  # old browsers, and all on http://, send no site
        abort(403, "this is no page of this site")
    if not request.is_json:
        abort(415, "the body must be application/json")


@app.post("/chat")
def chat() -> Response | tuple[dict[str, object], int]:
    """Forward the gateway's answer, or return a 422 for other messages."""
    require_own_page()
    try:
        chat_body = Chat.model_validate_json(request.get_data()).model_dump()
    except ValidationError as error:
        return {"error": {"message": str(error)}}, 422
    body = {**chat_body, "model": "gpt-4o-mini"}
    answer = forward_chat(client, body, Callbacks(on_finish=saved.append), hide_refusals=True)
    return Response(answer, answer.status_code, answer.headers)  # Flask closes the answer at the end


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")), threaded=True)

"""Stream answers to a page in the browser, with Flask: python recipes/forward_flask.py

Limits of WSGI: each stream takes a thread, and a browser that leaves is noticed at the next piece of the answer,
not while the model is silent. In production: gunicorn --chdir recipes --threads 32 forward_flask:app
"""

import os
from pathlib import Path

from flask import Flask, Response, request, send_file
from openai.types.chat import ChatCompletion
from pydantic import ValidationError, conlist, constr, create_model

from tensorloop_stream import Callbacks, Tensorloop, forward_chat

client = Tensorloop(max_retries=1)  # before a retry it may wait for a minute, and so does the browser
saved: list[ChatCompletion] = []  # stands for your database
app = Flask(__name__)
app.config["MAX_CONTENT_LENGTH"] = 100_000
app.add_url_rule("/", view_func=lambda: send_file(Path(__file__).with_name("chat.html")))

# All that a browser decides. The model, the limits and the key are the server's.
Message = create_model("Message", role=constr(pattern="^(user|assistant)$"), content=constr(max_length=4000))
Asked = create_model("Asked", __config__={"extra": "forbid"}, messages=conlist(Message, min_length=1, max_length=20))


@app.post("/chat")
def chat() -> Response | tuple[dict[str, object], int]:
    """Forward the gateway's answer, or say what is wrong with the question."""
    try:
        asked = Asked.model_validate_json(request.get_data())
    except ValidationError as error:
        return {"error": {"message": str(error)}}, 422
    body = {**asked.model_dump(), "model": "gpt-4o-mini", "max_tokens": 60, "temperature": 0.2}
    answer = forward_chat(client, body, Callbacks(on_finish=saved.append))
    return Response(answer, answer.status_code, answer.headers)  # closes the answer at the end


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")), threaded=True)

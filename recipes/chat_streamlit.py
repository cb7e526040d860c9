"""Chat on a Streamlit page: streamlit run recipes/chat_streamlit.py (not: python recipes/chat_streamlit.py)

Longer than a page, since a refused key or a spent budget is for the log, and not for the page.
"""

import logging

import streamlit as st
from openai import APIError, AuthenticationError, OpenAIError, PermissionDeniedError

from tensorloop_stream import ChatStream, Tensorloop

SPENT = {"budget_exceeded", "insufficient_quota"}  # where waiting does not help
NOTES = {"length": "Cut off at the limit of tokens.", "content_filter": "Stopped by the content filter."}


def error_text(error: OpenAIError) -> str:
    """Return the sentence for the page; that the gateway refused this server's key or budget is for the log."""
    is_ours = isinstance(error, (AuthenticationError, PermissionDeniedError))
    if is_ours or (isinstance(error, APIError) and SPENT & {error.type, error.code}):
        logging.getLogger("chat").error("the gateway refused this server: %s", error)
        return "the service is not available: its operator can see the reason in the log"
    return f"{error}"


st.title("Chat")
history = st.session_state.setdefault("history", [])  # Streamlit runs this file anew for each message
for message in history:
    st.chat_message(message["role"]).markdown(message["content"])

if question := st.chat_input("Your message"):
    history.append({"role": "user", "content": question})
    st.chat_message("user").markdown(question)
    stream = None
    with st.chat_message("assistant"):
        try:
            create = Tensorloop().chat.completions.create
            stream = ChatStream(create(model="gpt-4o-mini", messages=history, stream=True))
            with stream:  # the stop button of the page leaves the block, which closes the connection
                st.write_stream(stream.text_stream)
            if note := NOTES.get(str(stream.completion.choices[0].finish_reason)):
                st.warning(note)
        except OpenAIError as error:
            st.error(error_text(error))
        finally:  # a partial answer too: the model should know what the reader has read
            if stream is not None and stream.text:
                history.append({"role": "assistant", "content": stream.text})
            else:
                history.pop()

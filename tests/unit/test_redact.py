"""A key that a gateway repeats, in each form, is never shown."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx2
import openai
import pytest
from chunks import HELLO, event, sse
from clients import Body, responding_with
from hypothesis import given, strategies as st

from tensorloop_stream import (
    AsyncTensorloop,
    ChatStream,
    ForwardApp,
    StreamProviderError,
    Tensorloop,
    aforward_chat,
    forward_chat,
)
from tensorloop_stream._http.key_filter import KeyFilter
from tensorloop_stream._http.redact import Redactor
from tensorloop_stream._http.request_keys import redactor_for

KEY = "sk-tl/Ab3dEf6hIj9kLmN0pQ7r"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}], "stream": True}
FORMS = [
    f"Received API Key = {KEY}",
    f"Received API Key = sk-...{KEY[-4:]}, Key Hash (Token) = {DIGEST}",
    f"Incorrect API key provided: sk-tl************{KEY[-4:]}.",
    "Invalid key sk-tl/Ab****",
    f"the key …{KEY[-6:]} is blocked",
    f"the key that ends with {KEY[-4:]} is blocked",
    f"key '{KEY[-8:]}' is unknown",
    f"token {DIGEST.upper()}",
    f"Authorization: Bearer {KEY}",
]
every_form = pytest.mark.parametrize("words", FORMS)
both = pytest.mark.parametrize("kind", ["sync", "async"])


def shows_key(text: str) -> bool:
    return any(part in text for part in (KEY, KEY[-4:], DIGEST, DIGEST.upper(), KEY[:9], json.dumps(KEY)[1:-1]))


def client_of(*bodies: Any, kind: str = "sync") -> Any:
    transport = httpx2.MockTransport(responding_with(*bodies))
    settings: dict[str, Any] = {"api_key": KEY, "base_url": "https://gateway.test/v1", "max_retries": 0}
    if kind == "sync":
        return Tensorloop(http_client=httpx2.Client(transport=transport), **settings)
    return AsyncTensorloop(http_client=httpx2.AsyncClient(transport=transport), **settings)


@every_form
def test_every_form_of_a_key_is_replaced(words: str) -> None:
    """In text, in the values of JSON, and in its bytes."""
    redactor = Redactor(KEY)

    assert not shows_key(redactor.text(words))
    assert not shows_key(str(redactor.value({"error": [{"message": words}, 7, None]})))


@pytest.mark.parametrize("words", [*FORMS[:6], *FORMS[7:]])
def test_bytes_of_json_stay_json(words: str) -> None:
    """Slashes and letters may be escaped."""
    for text in (json.dumps({"error": words}), json.dumps({"error": words}).replace("/", "\\/")):
        redacted = Redactor(KEY).data(text.encode())

        assert not shows_key(str(json.loads(redacted)))
    escaped = "".join(f"\\u{ord(character):04X}" for character in KEY)

    assert json.loads(Redactor(KEY).data(f'"{escaped}"'.encode())) == "***"


@pytest.mark.parametrize("before", ["line\n", "tab\t", "\u00e9", "\\", '"'])
def test_escapes_before_a_key_stay_whole(before: str) -> None:
    """The letter of an escape is no part of the key behind it."""
    data = json.dumps({"error": f"{before}{KEY[:2]}...{KEY[-4:]}"}).encode()
    redacted = json.loads(Redactor(KEY).data(data))

    assert redacted["error"].startswith(before)
    assert not shows_key(redacted["error"])


def test_other_words_stay() -> None:
    """A text without the key is the same text, and a stand-in for a key is a word."""
    text = "Rate limit reached for gpt-4o-mini... try again in 20 s (7890 tokens)"

    assert Redactor(KEY).text(text) == text
    assert Redactor("none").text("none of them") == "none of them"


@every_form
def test_an_error_in_a_stream_shows_no_key(words: str, caplog: pytest.LogCaptureFixture) -> None:
    """Neither do its traceback, its body, its pickle and the logs."""
    caplog.set_level(logging.DEBUG)
    broken = Body([sse(*HELLO[:2], done=False), event({"error": {"message": words, "code": "401", "param": words}})])
    with pytest.raises(StreamProviderError) as caught:
        ChatStream(client_of(broken).chat.completions.create(**ASK)).until_done()
    shown = "".join(traceback.format_exception(caught.value))

    assert not shows_key(shown)
    assert not shows_key(str(caught.value.body))
    assert not shows_key(repr(pickle.dumps(caught.value)))
    assert not shows_key(caplog.text)


@every_form
def test_bad_data_in_a_stream_shows_no_key(words: str) -> None:
    """An error that quotes what it could not read quotes no key."""
    with pytest.raises(openai.APIError) as caught:
        ChatStream(client_of(Body([f"data: {words}\n\n".encode()])).chat.completions.create(**ASK)).until_done()

    assert not shows_key("".join(traceback.format_exception(caught.value)))


@every_form
@pytest.mark.parametrize("status", [400, 401, 403, 429, 500])
def test_an_error_before_the_stream_shows_no_key(words: str, status: int) -> None:
    """The message and the body of the SDK's own errors are redacted."""
    refused = httpx2.Response(status, json={"error": {"message": words}})
    with pytest.raises(openai.APIStatusError) as caught:
        client_of(refused).chat.completions.create(**ASK)

    assert not shows_key("".join(traceback.format_exception(caught.value)))
    assert not shows_key(str(caught.value.body))


async def forwarded(kind: str, *bodies: Any) -> tuple[int, dict[str, str], bytes]:
    if kind == "sync":
        answer = forward_chat(client_of(*bodies), ASK)
        return answer.status_code, answer.headers, b"".join(answer)
    async_answer = await aforward_chat(client_of(*bodies, kind="async"), ASK)
    return async_answer.status_code, async_answer.headers, b"".join([data async for data in async_answer])


@both
@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_a_forwarded_error_shows_no_key(kind: str, size: int) -> None:
    """However its bytes are cut; what is no key arrives as it was."""
    error = event({"error": {"message": FORMS[1] + FORMS[0], "code": "401"}})
    whole = sse(*HELLO[:2], done=False) + error
    parts = [whole[number : number + size] for number in range(0, len(whole), size)]
    _, _, body = await forwarded(kind, Body(parts))

    assert body.startswith(sse(*HELLO[:2], done=False))
    assert not shows_key(body.decode())
    assert json.loads(body.decode().split("data: ")[-1])["error"]["code"] == "401"


@both
@pytest.mark.parametrize("padding", [0, 430, 440, 450, 460, 470, 480])
async def test_a_forwarded_error_is_logged_without_the_key(
    kind: str, padding: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The key is hidden before a long text is cut: half a key would not be recognized."""
    await forwarded(kind, Body([event({"error": {"message": "x" * padding + FORMS[0] + "y" * 900}})]))

    assert "a forwarded answer broke" in caplog.text
    assert not shows_key(caplog.text)


@both
async def test_an_event_that_is_cut_off_is_forwarded(kind: str) -> None:
    """Half an event is held no longer than the stream lasts."""
    _, _, body = await forwarded(kind, Body([sse(HELLO[0], done=False), b'data: {"half', httpx2.ReadError("cut")]))

    assert body.startswith(sse(HELLO[0], done=False) + b'data: {"half\n\ndata: {"error"')


@both
async def test_a_page_of_an_upstream_is_no_page_of_the_app(kind: str) -> None:
    """A proxy's HTML becomes an error in JSON, and no browser guesses otherwise."""
    page = httpx2.Response(503, html="<script>steal()</script>", headers={"retry-after": "7"})
    status, headers, body = await forwarded(kind, page)

    assert (status, headers["Content-Type"], headers["retry-after"]) == (503, "application/json", "7")
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert json.loads(body)["error"]["message"] == "the gateway answered 503 with text/html, which is no JSON"


@both
async def test_headers_are_forwarded_as_their_bytes(kind: str) -> None:
    """A UTF-8 id is no reason to fail."""
    response = httpx2.Response(200, headers={b"x-request-id": "é-1→".encode()}, stream=Body([sse(*HELLO)]))
    _, headers, _ = await forwarded(kind, response)

    assert headers["x-request-id"].encode("latin-1") == "é-1→".encode()


@pytest.mark.parametrize(
    "refusal",
    [
        httpx2.Response(401, json={"error": {"message": FORMS[1]}}),
        httpx2.Response(403, json={"error": {"message": "no access"}}),
        httpx2.Response(429, json={"error": {"message": "Budget exceeded", "type": "budget_exceeded"}}),
    ],
)
async def test_a_browser_hears_nothing_of_the_servers_key(refusal: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A 401 makes many pages log their user out; the operator finds the reason in the log."""
    sent: list[Any] = []

    async def receive() -> Any:
        import anyio

        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    await ForwardApp(client_of(refusal, kind="async"), ASK)({}, receive, send)
    error = json.loads(b"".join(message.get("body", b"") for message in sent))["error"]

    assert sent[0]["status"] == 502
    assert error["message"] == "the service is not available: its operator can see the reason in the log"
    assert str(refusal.status_code) in caplog.text
    assert not shows_key(caplog.text)


@given(st.lists(st.sampled_from([KEY, KEY[:12], KEY[12:], "data: ", "\n\n", "\r\n\r\n", "\r\r", "LONG", "error"])))
def test_bytes_without_a_whole_event_leave_the_filter_at_the_end(names: list[str]) -> None:
    """The filter loses and adds nothing but keys, wherever the reads end."""
    texts = ["x" * 70_000 if name == "LONG" else name for name in names]
    whole = "".join(texts).encode()
    one, other = KeyFilter(Redactor(KEY)), KeyFilter(Redactor("another-key-123456"))

    assert KEY.encode() not in b"".join([*(one.feed(text.encode()) for text in texts), one.finish()])
    assert b"".join([*(other.feed(text.encode()) for text in texts), other.finish()]) == whole


@pytest.mark.parametrize("words", ["key with blanks {}", "{}"])
def test_a_key_with_blanks_is_a_key(words: str) -> None:
    """The scheme alone stands before the first blank of the header."""
    key = "two words/Ab3dEf6hIj9kLmN0"
    for headers in ({"authorization": f"Bearer {key}"}, {"api-key": key}):
        redactor = redactor_for(httpx2.Request("POST", "https://gateway.test", headers=headers))

        assert key not in redactor.text(words.format(key))


SENT: list[dict[str, Any]] = [
    *({"default_headers": {name: KEY}} for name in ("api-key", "x-api-key", "x-litellm-api-key", "Authorization")),
    {"default_headers": {"Authorization": f"Custom {KEY}"}},
    {"default_headers": {"X-Auth": f"Basic {base64.b64encode(f'me:{KEY}'.encode()).decode()}"}},
    {"default_headers": {"Cookie": f"theme=dark; session={KEY}"}},
    {"default_query": {"api_key": KEY}},
]


@both
@pytest.mark.parametrize("sent", SENT)
@pytest.mark.parametrize("status", [200, 400])
async def test_each_key_of_a_request_is_hidden(kind: str, sent: dict[str, Any], status: int) -> None:
    """The keys are those of the request that was sent, whatever header or parameter holds them."""

    def respond(_: httpx2.Request) -> httpx2.Response:
        error = {"error": {"message": f"bad key {KEY}"}}
        return httpx2.Response(status, content=event(error)) if status == 200 else httpx2.Response(status, json=error)

    client = client_of(kind=kind).copy(api_key="dummy-key-1", **sent)
    client._client = type(client._client)(transport=httpx2.MockTransport(respond))
    if kind == "sync":
        body = b"".join(forward_chat(client, ASK))
        with pytest.raises(openai.APIError) as caught:
            client.chat.completions.create(**ASK).until_done()
    else:
        body = b"".join([data async for data in await aforward_chat(client, ASK)])
        with pytest.raises(openai.APIError) as caught:
            await (await client.chat.completions.create(**ASK)).until_done()
    shown = "".join(traceback.format_exception(caught.value)) + str(caught.value.body)

    assert b"bad key ***" in body
    assert not shows_key(body.decode())
    assert "bad key ***" in shown
    assert not shows_key(shown)
    if status == 200:
        assert not shows_key(repr(pickle.dumps(caught.value)))


def test_an_error_of_any_depth_is_redacted() -> None:
    """A gateway nests an error as deep as it likes."""
    value: Any = KEY
    for _ in range(5_000):
        value = {"error": [value]}
    value = Redactor(KEY).value(value)
    for _ in range(5_000):
        value = value["error"][0]

    assert not shows_key(value)


@pytest.mark.parametrize("reads", [500, 2000])
def test_an_event_in_many_reads_is_searched_about_once(reads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost of an event does not grow with the number of its reads."""
    searched: list[int] = []
    plain = Redactor.data

    def counted(redactor: Redactor, data: bytes) -> bytes:
        searched.append(len(data))
        return plain(redactor, data)

    monkeypatch.setattr(Redactor, "data", counted)
    one = KeyFilter(Redactor(KEY))
    read = b"rror x" * 20
    passed = b"".join([*(one.feed(read) for _ in range(reads)), one.feed(b"\n\n"), one.finish()])

    assert passed == read * reads + b"\n\n"
    assert sum(searched) < 1.1 * len(passed)


@given(st.integers(min_value=-100, max_value=100))
def test_a_key_where_a_long_event_is_cut_is_redacted(offset: int) -> None:
    """A long event is forwarded in parts, and no part ends within a key."""
    one = KeyFilter(Redactor(KEY))
    text = "data: " + "x" * (70_000 + offset - len(KEY)) + KEY + "y" * 2000
    whole = one.feed(text.encode()) + one.feed(b"y" * 70_000) + one.finish()

    assert not shows_key(whole.decode())


SHORT = "tl_short/key12345"
# The forms of a key, and the most characters that are shown of one that is cut.
CUT_FORMS: list[tuple[Callable[[str], str], int]] = [
    (str, 7),
    (lambda key: key.replace("/", "\\/"), 8),
    (lambda key: quote(key, safe=""), 9),
    (lambda key: "".join(f"\\u{ord(each):04x}" for each in key), 47),
    (lambda key: base64.b64encode(key.encode()).decode(), 10),
    (lambda key: base64.urlsafe_b64encode(f"me:{key}".encode()).decode(), 14),
    (lambda key: hashlib.sha256(key.encode()).hexdigest(), 7),
]


@pytest.mark.parametrize("key", [KEY, SHORT, "tl_abcde"])
@pytest.mark.parametrize(("spelled", "most"), CUT_FORMS)
def test_a_key_that_the_end_of_a_stream_cuts_is_hidden(key: str, spelled: Callable[[str], str], most: int) -> None:
    """In each of its forms, from its first half, or eight characters, on."""
    whole = spelled(key)
    for cut in range(1, len(whole)):
        one = KeyFilter(Redactor(key))
        passed = (one.feed(f'data: {{"error": "bad {whole[:cut]}'.encode()) + one.finish()).decode()
        shown = passed.partition("bad ")[2]

        assert passed.startswith('data: {"error": "bad ')
        assert shown.endswith("***") or len(shown) <= most


ENDS = [KEY[:7], f"{KEY[:11]}_", f"x{KEY[1:12]}", "dGhlIHdvcmQ", DIGEST[:7], f"{SHORT[:8]}er"]


@pytest.mark.parametrize("tail", ENDS)
def test_the_end_of_a_stream_that_begins_no_key_stays(tail: str) -> None:
    """Fewer characters than those are a word, and so is what goes on in another way."""
    one = KeyFilter(Redactor(KEY, SHORT))

    assert one.feed(f"data: {tail}".encode()) + one.finish() == f"data: {tail}".encode()


@both
async def test_a_forwarded_stream_that_is_cut_within_the_key_shows_no_part_of_it(kind: str) -> None:
    """The error event behind it arrives as always."""
    parts: list[bytes | BaseException] = [
        sse(HELLO[0], done=False),
        f'data: {{"error": "bad {KEY[:11]}'.encode(),
        httpx2.ReadError("cut"),
    ]
    _, _, body = await forwarded(kind, Body(parts))

    assert body.startswith(sse(HELLO[0], done=False) + b'data: {"error": "bad ***\n\ndata: {"error"')


@pytest.mark.parametrize("key", [KEY, SHORT])
def test_bad_data_that_an_error_quotes_in_part_shows_no_part_of_the_key(key: str) -> None:
    """The quotation is cut first, perhaps within the key."""
    for padding in range(40, 80):
        body = Body([f"data: {{broken{'x' * padding}{key}{'y' * 80}\n\n".encode()])
        client = client_of(body).copy(api_key=key)
        with pytest.raises(openai.APIError) as caught:
            client.chat.completions.create(**ASK).until_done()

        assert key[:8] not in "".join(traceback.format_exception(caught.value))


@both
async def test_a_forwarded_header_shows_no_key(kind: str) -> None:
    """A name of the gateway is repeated without the key."""
    response = httpx2.Response(200, headers={"x-request-id": f"r-{KEY}"}, stream=Body([sse(*HELLO)]))
    _, headers, _ = await forwarded(kind, response)

    assert headers["x-request-id"].startswith("r-")
    assert not shows_key(headers["x-request-id"])


def linked(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


def noted(error: Exception) -> Exception:
    error.add_note(f"key {KEY}")
    return error


class FixedError(Exception):
    """An error whose text cannot be changed."""

    def __str__(self) -> str:
        return f"key {KEY}"


BROKEN = [
    OSError(5, f"key {KEY}"),
    OSError(5, "no such file", f"/run/{KEY}"),
    noted(httpx2.ReadError("cut")),
    httpx2.ReadError(f"key {KEY}"),
    *(
        linked(httpx2.ReadError("cut"), cause)
        for cause in (
            OSError(KEY),
            OSError(KEY.encode()),
            noted(OSError()),
            linked(OSError("cut"), linked(ValueError(), OSError((1, KEY)))),
            ExceptionGroup("several", [OSError(KEY)]),
            FixedError(),
            UnicodeEncodeError("ascii", f"Bearer {KEY} é", 34, 35, "no ASCII"),
        )
    ),
]


def chain_of(error: BaseException | None) -> str:
    """Return all that the errors of a chain show and hold."""
    shown = "".join(traceback.format_exception(error))
    while error is not None:
        shown += f"{error!r} {getattr(error, 'object', '')} {getattr(error, 'filename', '')}"
        error = error.__cause__ or error.__context__
    return shown


@pytest.mark.parametrize("error", BROKEN, ids=map(str, range(len(BROKEN))))
def test_the_chain_of_an_error_shows_no_key(error: Exception) -> None:
    """Neither do the notes, the arguments and the attributes of any error in it."""
    with pytest.raises(openai.APIError) as caught:
        client_of(Body([sse(HELLO[0], done=False), error])).chat.completions.create(**ASK).until_done()

    assert caught.value.__cause__ is error
    assert not shows_key(chain_of(caught.value))


def test_what_is_not_utf_8_is_kept_without_the_key() -> None:
    """The error behind a decode error holds the event."""
    body = Body([b'data: {"a":"' + KEY.encode() + b'\xff"}\n\n'])
    with pytest.raises(openai.APIError) as caught:
        client_of(body).chat.completions.create(**ASK).until_done()

    assert "0xff" in str(caught.value) or "utf-8" in str(caught.value).lower()
    assert not shows_key(chain_of(caught.value))


def test_a_connection_that_fails_shows_no_key() -> None:
    """The text of a connection error names its cause."""

    def fail(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError(f"key {KEY}") from OSError(KEY)

    client = client_of().copy(http_client=httpx2.Client(transport=httpx2.MockTransport(fail)))
    with pytest.raises(openai.APIConnectionError) as caught:
        client.chat.completions.create(**ASK)

    assert "key ***" in chain_of(caught.value)
    assert not shows_key(chain_of(caught.value))


LATER = ["attribute", "callable", "copy", "default_headers", "extra_headers"]


@both
@pytest.mark.parametrize("where", LATER)
@pytest.mark.parametrize("wrong", ["\n", "\x00", "\u00fc", " "])
async def test_a_key_that_no_header_can_hold_is_refused_at_any_time(kind: str, where: str, wrong: str) -> None:
    """The error says so without the key, and has no chain that shows it."""
    bad = f"{KEY}{wrong}"
    client, more = client_of(Body([sse(*HELLO)]), kind=kind), {}
    if where == "extra_headers":
        more = {"extra_headers": {"Authorization": f"Bearer {bad}"}}

    async def later() -> str:
        return bad

    async def ask() -> None:
        asked = client
        if where == "attribute":
            asked.api_key = bad
        elif where == "callable":
            asked = client.copy(api_key=(lambda: bad) if kind == "sync" else later)
        elif where == "copy":
            asked = client.copy(api_key=bad)
        elif where == "default_headers":
            asked = client.copy(default_headers={"X-Api-Key": bad})
        answer = asked.chat.completions.create(**ASK, **more)
        await answer if kind == "async" else answer

    with pytest.raises(openai.OpenAIError) as caught:
        await ask()

    assert "a character that no header can hold" in str(caught.value)
    assert not shows_key(chain_of(caught.value))


@both
@pytest.mark.parametrize("name", ["Cookie", "X-Api-Key", "Authorization", "x-auth-token"])
async def test_a_header_that_cannot_be_sent_is_named_alone(kind: str, name: str) -> None:
    """The Tensorloop key is right, and the text says nothing of it."""
    bad = f"session={KEY}\u00fc"

    async def ask() -> None:
        answer = client_of(Body([sse(*HELLO)]), kind=kind).chat.completions.create(**ASK, extra_headers={name: bad})
        await answer if kind == "async" else answer

    with pytest.raises(openai.OpenAIError) as caught:
        await ask()

    assert str(caught.value).startswith(f"The value of the header {name} holds a character that no header can hold")
    assert "Tensorloop" not in str(caught.value)
    assert not shows_key(chain_of(caught.value))


def test_a_key_that_cannot_be_sent_is_named_as_the_key() -> None:
    """The header that the SDK makes of the key is not what the program wrote."""
    client = client_of(Body([sse(*HELLO)]))
    client.api_key = f"{KEY}\n"
    with pytest.raises(openai.OpenAIError) as caught:
        client.chat.completions.create(**ASK)

    assert str(caught.value).startswith("The Tensorloop key holds a character that no header can hold")


@both
async def test_a_header_that_replaces_a_key_is_the_one_that_counts(kind: str) -> None:
    """A key that is not sent is not refused."""
    client = client_of(Body([sse(*HELLO)]), kind=kind)
    client.api_key = f"{KEY}\n"
    answer = client.chat.completions.create(**ASK, extra_headers={"Authorization": f"Bearer {KEY}"})
    text = (await (await answer).get_final_text()) if kind == "async" else answer.get_final_text()

    assert text


ODD = "tl_aB3+xY/9z=Qw.rTy77&kk"
SPELLINGS: list[Callable[[str], str]] = [
    lambda key: quote(key, safe=""),
    lambda key: quote(quote(key, safe=""), safe=""),
    lambda key: "".join(f"%{ord(each):02X}" for each in key),
    html.escape,
    lambda key: "".join(f"&#{ord(each)};" for each in key),
    json.dumps,
    lambda key: json.dumps(json.dumps(key.replace("/", "\\/"))),
    lambda key: json.dumps(json.dumps("".join(f"\\u{ord(each):04x}" for each in key))),
    lambda key: base64.b64encode(key.encode()).decode(),
    lambda key: base64.b64encode(f"me:{key}".encode()).decode()[4:],
    lambda key: base64.b64encode(f"user:{key};".encode()).decode()[7:],
    lambda key: base64.urlsafe_b64encode(key.encode()).decode(),
    lambda key: f"{key[:12]}...",
    lambda key: f"{key[:16]}\u2026",
    lambda key: key[:12],
    lambda key: f"{key[:9]}***{key[-6:]}",
]


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.parametrize("key", [ODD, KEY, "eyJhbGciOiJSUzI1NiJ9." + "aB3.x-Y_9" * 60])
def test_a_key_in_other_spellings_is_hidden(spell: Callable[[str], str], key: str) -> None:
    """Each character may be escaped for JSON, a URL or HTML, more than once; base64 and the beginning are known."""
    redactor = Redactor(key)
    spelled = spell(key)
    data = redactor.data(json.dumps({"error": f"bad key {spelled} was sent"}).encode())

    for shown in (redactor.text(f"bad key {spelled} was sent"), json.loads(data)["error"]):
        assert shown.startswith("bad key ")
        assert shown.endswith(" was sent")
        assert len(shown.removeprefix("bad key ").removesuffix(" was sent").strip('"\\')) < 12


@given(st.text(alphabet="abc .%&#;*\\u0025/+=", max_size=300))
def test_words_beside_a_key_stay_in_every_spelling(text: str) -> None:
    """Only a key is changed."""
    assert Redactor("tl_QwertyuiopXYZ-12345678").data(b"rror" + text.encode()) == b"rror" + text.encode()

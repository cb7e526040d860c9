"""The clients: key and base URL, secrecy of the key, timeouts, and the streams that they return."""

from __future__ import annotations

import copy
import logging
import pickle
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from chunks import HELLO, sse
from clients import CHAT, Body, responding_with

from tensorloop_stream import AsyncChatStream, AsyncTensorloop, ChatStream, Tensorloop

KEY = "tl_test_1234567890"
clients = pytest.mark.parametrize("client", [Tensorloop, AsyncTensorloop])


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide all variables and files of the machine from the tests."""
    for name in ("TENSORLOOP_KEY", "TENSORLOOP_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def sent_request(client: Tensorloop) -> httpx2.Request:
    """Return the request that a client sends."""
    requests: list[httpx2.Request] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={"object": "list", "data": []})

    client.with_options(http_client=httpx2.Client(transport=httpx2.MockTransport(handle))).models.list()
    return requests[0]


def offline(body: Any = None, **settings: Any) -> Tensorloop:
    transport = httpx2.MockTransport(responding_with(body or Body([sse(*HELLO)])))
    return Tensorloop(api_key=KEY, http_client=httpx2.Client(transport=transport), **settings)


# Key and base URL


def test_arguments_precede_the_environment_and_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment precedes the file."""
    Path(".env").write_text("TENSORLOOP_KEY=file\nTENSORLOOP_BASE_URL=https://file.test/v1\n")
    assert (Tensorloop().api_key, str(Tensorloop().base_url)) == ("file", "https://file.test/v1/")

    monkeypatch.setenv("TENSORLOOP_KEY", "variable")
    monkeypatch.setenv("TENSORLOOP_BASE_URL", "https://variable.test/v1")
    assert (Tensorloop().api_key, str(Tensorloop().base_url)) == ("variable", "https://variable.test/v1/")

    client = Tensorloop(api_key="argument", base_url="https://argument.test/v1")
    assert (client.api_key, str(client.base_url)) == ("argument", "https://argument.test/v1/")


@clients
def test_the_default_base_url_is_the_services(client: Any) -> None:
    """Requests of an unconfigured client go to Tensorloop."""
    assert str(client(api_key=KEY).base_url) == "https://litellm.tensorloop.tech/v1/"
    assert str(client(api_key=KEY, base_url=None).base_url) == "https://litellm.tensorloop.tech/v1/"


def test_an_env_file_of_a_parent_folder_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tools that read `.env` search the same folders."""
    Path(".env").write_text("TENSORLOOP_KEY= from-above \n")
    Path("a/b").mkdir(parents=True)
    monkeypatch.chdir("a/b")

    assert Tensorloop().api_key == "from-above"


def test_reading_the_file_sets_no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment is the same as before."""
    import os

    Path(".env").write_text("TENSORLOOP_KEY=file\nOTHER=1\n")
    before = dict(os.environ)
    Tensorloop()

    assert dict(os.environ) == before


def test_a_blank_variable_does_not_hide_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of spaces counts as missing."""
    Path(".env").write_text("TENSORLOOP_KEY=file\n")
    monkeypatch.setenv("TENSORLOOP_KEY", "  ")

    assert Tensorloop().api_key == "file"


def test_an_env_file_of_windows_is_read_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte order mark is ignored; the error about UTF-16, as PowerShell writes it, names the file and the remedy."""
    Path(".env").write_bytes("TENSORLOOP_KEY=file\n".encode("utf-8-sig"))
    assert Tensorloop().api_key == "file"

    Path(".env").write_bytes("TENSORLOOP_KEY=file\n".encode("utf-16"))
    with pytest.raises(openai.OpenAIError, match=r"\.env is not UTF-8: save it as UTF-8, or set TENSORLOOP_"):
        Tensorloop()


@pytest.mark.parametrize("url", ["localhost:4000/v1", "litellm.tensorloop.tech/v1", "//gateway.test/v1"])
def test_a_base_url_without_a_scheme_is_refused(url: str) -> None:
    """The constructor raises, instead of the first request with "Connection error."."""
    with pytest.raises(openai.OpenAIError, match=f"The base URL is {url}: it must begin with https://"):
        Tensorloop(api_key=KEY, base_url=url)


@clients
def test_a_missing_key_raises_an_error_with_the_remedies(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the variable and the replay server; OPENAI_API_KEY does not count."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another-service")

    with pytest.raises(openai.OpenAIError, match=r"set TENSORLOOP_KEY .* tensorloop_stream.replay cassettes"):
        client()


def test_a_key_may_be_a_function() -> None:
    """The client calls the function for each request, as the SDK does."""
    assert sent_request(Tensorloop(api_key=lambda: "fresh")).headers["authorization"] == "Bearer fresh"


def test_no_openai_setting_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key, organization, project and headers of the OPENAI_* variables belong to another service."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "sk-secret")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.secret.test/v1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "Authorization: Bearer sk-secret\nX-Team: secret")
    request = sent_request(Tensorloop(api_key=KEY))

    assert request.url.host == "litellm.tensorloop.tech"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert "secret" not in str(request.headers.multi_items())


def test_arguments_of_the_sdk_are_sent() -> None:
    """Organization, project and headers that are passed as arguments reach the request."""
    client = Tensorloop(api_key=KEY, organization="org", project="proj", default_headers={"X-Team": "ours"})
    headers = sent_request(client).headers

    assert (headers["openai-organization"], headers["openai-project"], headers["x-team"]) == ("org", "proj", "ours")


# Secrecy of the key


@pytest.mark.parametrize("url", ["http://gateway.example/v1", "http://192.0.2.1:4000/v1"])
@clients
def test_plain_http_to_another_machine_is_refused(client: Any, url: str) -> None:
    """A copy of a client refuses it, too."""
    with pytest.raises(openai.OpenAIError, match="would send the key in the clear"):
        client(api_key=KEY, base_url=url)
    with pytest.raises(openai.OpenAIError, match="would send the key in the clear"):
        client(api_key=KEY).copy(base_url=url)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1.2.3", "[::1]", "app.localhost", "test", "gateway.test", "fixture.invalid"]
)
def test_plain_http_to_this_machine_is_allowed(host: str) -> None:
    """A local proxy or replay server has no certificate."""
    assert Tensorloop(api_key=KEY, base_url=f"http://{host}:4000/v1").base_url.port == 4000


@pytest.mark.parametrize("key", ["tl_blank_behind ", "tl_line\n", "tl_ümlaut"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(key: str) -> None:
    """The HTTP library's own error would print the key."""
    with pytest.raises(openai.OpenAIError, match="copy it again") as raised:
        Tensorloop(api_key=key)
    assert key not in str(raised.value)


@pytest.mark.parametrize("broken", [False, True])
def test_the_key_is_never_shown(broken: bool, caplog: pytest.LogCaptureFixture) -> None:
    """Reprs, debug logs, errors and pickled errors do not contain the key."""
    caplog.set_level(logging.DEBUG)
    stream = offline(Body([sse(*HELLO[:2], done=not broken)])).chat.completions.create(**CHAT)
    shown = [repr(stream), repr(offline()), repr(stream.response), repr(stream.response.request)]
    if broken:
        with pytest.raises(openai.APIError) as raised:
            list(stream)
        shown += [str(raised.value), repr(raised.value), repr(vars(raised.value)), repr(pickle.dumps(raised.value))]
        shown += [str(vars(copy.copy(raised.value).request))]
    stream.close()

    assert KEY not in "".join([*shown, caplog.text])


# Other settings


@clients
def test_copies_keep_class_and_settings(client: Any) -> None:
    """`with_options()` and `copy()` change the given settings alone."""
    original = client(api_key=KEY, base_url="https://own.test/v1", max_retries=7, default_headers={"X-Team": "ours"})
    changed = original.with_options(max_retries=1)

    assert type(changed) is client
    assert (changed.api_key, str(changed.base_url), changed.max_retries) == (KEY, "https://own.test/v1/", 1)
    assert changed.timeout == original.timeout
    assert changed.default_headers["X-Team"] == "ours"


@clients
def test_stream_timeouts_of_a_client_stay_with_its_copies(client: Any) -> None:
    """A timeout of zero is refused at once."""
    limited = client(api_key=KEY, first_chunk_timeout=120, idle_timeout=30).with_options(max_retries=1).copy()

    assert limited._stream_timeouts == {"first_chunk_timeout": 120, "idle_timeout": 30, "total_timeout": None}
    with pytest.raises(ValueError, match="idle_timeout is 0"):
        client(api_key=KEY, idle_timeout=0)


@clients
def test_the_read_timeout_of_streams_is_a_minute(client: Any) -> None:
    """A caller's own timeout replaces it; the SDK's ten minutes would hide a stall."""
    assert client(api_key=KEY).timeout == httpx2.Timeout(600, connect=5.0, read=60)
    assert client(api_key=KEY, timeout=5).timeout == 5
    assert client(api_key=KEY, timeout=None).timeout is None
    assert client(api_key=KEY).with_options(timeout=7).timeout == 7


@pytest.mark.parametrize(
    ("settings", "request_settings", "read"),
    [({}, {"stream": True}, 60), ({}, {}, 600), ({"timeout": 5}, {}, 5), ({}, {"timeout": 9}, 9)],
)
def test_the_read_timeout_of_unstreamed_answers_is_the_sdks(settings: Any, request_settings: Any, read: float) -> None:
    """The first byte of an unstreamed answer arrives with the last, perhaps after more than a minute."""
    seen: list[Any] = []

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request.extensions["timeout"]["read"])
        return httpx2.Response(200, json={"choices": []})

    client = Tensorloop(api_key=KEY, http_client=httpx2.Client(transport=httpx2.MockTransport(handle)), **settings)
    ask = {name: value for name, value in CHAT.items() if name != "stream"}
    result: Any = client.chat.completions.create(**ask, **request_settings)
    if isinstance(result, ChatStream):
        result.close()

    assert seen == [read]


# The streams of a client


def test_streams_are_chat_streams() -> None:
    """`create(..., stream=True)` returns a `ChatStream`; raw and unstreamed responses stay the SDK's."""
    with offline().chat.completions.create(**CHAT) as stream:
        assert type(stream) is ChatStream
        assert stream.get_final_text() == "Hello"

    raw = offline().chat.completions.with_raw_response.create(**CHAT)
    with raw.parse() as stream:
        assert type(stream) is ChatStream
    raw.parse().close()
    with offline().chat.completions.with_streaming_response.create(**CHAT) as response:
        assert b"".join(response.iter_bytes()) == sse(*HELLO)
    whole = offline(httpx2.Response(200, json={"choices": []})).chat.completions.create(**{**CHAT, "stream": False})
    assert type(whole) is openai.types.chat.ChatCompletion


async def test_async_streams_are_async_chat_streams() -> None:
    """The async client returns an `AsyncChatStream`; raw responses stay the SDK's."""
    transport = httpx2.MockTransport(responding_with(Body([sse(*HELLO)])))
    client = AsyncTensorloop(api_key=KEY, http_client=httpx2.AsyncClient(transport=transport))

    async with await client.chat.completions.create(**CHAT) as stream:
        assert type(stream) is AsyncChatStream
        assert await stream.get_final_text() == "Hello"
    raw = await client.chat.completions.with_raw_response.create(**CHAT)
    async with raw.parse() as stream:
        assert type(stream) is AsyncChatStream
    await raw.parse().close()


def test_times_count_from_the_request() -> None:
    """LiteLLM sends its headers with the first chunk, so `create()` contains the wait."""
    import time

    def slow(request: httpx2.Request) -> httpx2.Response:
        time.sleep(0.05)
        return httpx2.Response(200, stream=Body([sse(*HELLO)]))

    client = Tensorloop(api_key=KEY, http_client=httpx2.Client(transport=httpx2.MockTransport(slow)))
    stream = client.chat.completions.create(**CHAT).until_done()

    assert stream.timing.time_to_first_chunk >= 0.05


@clients
def test_the_sdks_own_rules_for_a_base_url_hold(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK refuses some addresses for some clients, where they are set, too."""

    def refuse(_: object, url: object) -> None:
        raise openai.OpenAIError(f"not {url}")

    made = client(api_key=KEY)
    theirs = openai.OpenAI if client is Tensorloop else openai.AsyncOpenAI
    monkeypatch.setattr(theirs, "base_url", property(lambda _: None, refuse), raising=False)
    with pytest.raises(openai.OpenAIError, match="not https"):
        made.base_url = "https://other.test/v1"


@clients
def test_a_region_of_openai_makes_the_sdks_client(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument that names another service keeps our base URL and our key out of it."""
    if "data_residency" not in openai.OpenAI.__init__.__annotations__:
        pytest.skip("this SDK has no such argument")
    monkeypatch.setenv("TENSORLOOP_KEY", KEY)
    made = client(api_key="of-openai", data_residency="eu")

    assert made.base_url.host.endswith("openai.com")
    assert made.api_key == "of-openai"


def test_methods_are_coroutine_functions_where_the_sdks_are() -> None:
    """`mock.patch.object` makes an `AsyncMock` of those alone."""
    import inspect

    for ours, theirs in ((Tensorloop, openai.OpenAI), (AsyncTensorloop, openai.AsyncOpenAI)):
        names = [name for name in dir(theirs) if inspect.isfunction(getattr(theirs, name))]
        differing = [
            name
            for name in names
            if inspect.iscoroutinefunction(getattr(theirs, name)) != inspect.iscoroutinefunction(getattr(ours, name))
        ]

        assert differing == []


def test_type_checkers_know_each_argument_of_the_sdk() -> None:
    """A misspelt argument is refused where it is written, so each right one must be known."""
    import ast
    import inspect
    from pathlib import Path

    import tensorloop_stream._client as module

    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    options = {"_SDKOptions", "_SyncOptions"}
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name in options]
    known = {part.target.id for each in classes for part in each.body if isinstance(part, ast.AnnAssign)}  # type: ignore[union-attr] # names
    known |= {name for name in inspect.signature(Tensorloop.__init__).parameters if name != "self"}

    assert set(inspect.signature(openai.OpenAI).parameters) <= known


@pytest.mark.parametrize(("kind", "theirs"), [(Tensorloop, openai.OpenAI), (AsyncTensorloop, openai.AsyncOpenAI)])
def test_the_signature_is_the_sdks_with_our_parameters(kind: Any, theirs: Any) -> None:
    """A client has each parameter of its SDK's class, whatever release that is, and those of this package."""
    import inspect

    ours = {"first_chunk_timeout", "idle_timeout", "total_timeout", "allow_http", "direct_reads"}

    assert {*inspect.signature(kind).parameters} == {*inspect.signature(theirs).parameters} | ours
    assert inspect.signature(kind.copy) == inspect.signature(theirs.copy)


def test_create_has_the_sdks_signature() -> None:
    """Tools that inspect signatures find the SDK's."""
    import inspect

    ours = inspect.signature(Tensorloop(api_key=KEY).chat.completions.create)

    assert ours == inspect.signature(openai.OpenAI(api_key=KEY).chat.completions.create)


@pytest.mark.parametrize(
    "body",
    [
        b'[{\n  "error": {"code": 429, "message": "exhausted", "status": "RESOURCE_EXHAUSTED"}\n}]',
        b'{"detail": "exhausted"}',
        b'{"success": false, "errors": [{"code": 1, "message": "exhausted"}]}',
        b'{"base_resp": {"status_code": 1002, "status_msg": "exhausted"}}',
        b'{"error": {"message": "exhausted"}}',
    ],
)
def test_an_error_status_says_the_reason_of_any_body(body: bytes) -> None:
    """The SDK reads the message of one form; Google puts an array around it (magentic#382)."""
    response = httpx2.Response(429, content=body, headers={"content-type": "application/json"})
    transport = httpx2.MockTransport(responding_with(response))
    client = Tensorloop(api_key=KEY, max_retries=0, http_client=httpx2.Client(transport=transport))

    with pytest.raises(openai.RateLimitError) as raised:
        client.chat.completions.create(**CHAT)

    assert raised.value.message.count("exhausted") == 1
    assert raised.value.body is not None


@pytest.mark.parametrize("kind", [Tensorloop, AsyncTensorloop])
def test_a_copy_changes_nothing_of_the_client_that_it_shares(kind: Any) -> None:
    """The HTTP client of both keeps the address and the timeout of the first."""
    client = kind(api_key="none", base_url="https://gateway.test/v1")
    before = client._client.base_url, client._client.timeout
    other = client.copy(base_url="https://other.test/v1", timeout=3)

    assert other._client is client._client
    assert (client._client.base_url, client._client.timeout) == before

"""nginx between the forwarder and the browser: its effect on a stream, with `SSE_HEADERS` and without."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import cassette
import pytest
import requirements
from web import HAIKU_BODY, BrowserResponse, RunningRecipe, run_server, serve_recipe, unused_port

from tensorloop_stream.replay import ReplayServer

GATEWAY = unused_port()
DELAY = 0.03
EVENTS = HAIKU_BODY.count("\n\n")
# All other settings are nginx's defaults: buffers, and HTTP/1.0 to upstream servers.
CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip_types *;
    server {{
        listen 127.0.0.1:{plain};
        location / {{ proxy_pass http://127.0.0.1:{site}; {headers} }}
    }}
    server {{
        listen 127.0.0.1:{zipped};
        gzip on;
        gzip_min_length 0;
        location / {{ proxy_pass http://127.0.0.1:{site}; {headers} }}
    }}
}}
"""
# Has the effect of a recipe that does not send the header.
WITHOUT = "proxy_ignore_headers X-Accel-Buffering;"


@pytest.fixture(scope="module")
def site() -> Iterator[RunningRecipe]:
    with serve_recipe("starlette", GATEWAY) as served:
        yield served


def through_nginx(site: RunningRecipe, folder: Path, headers: str, *, zipped: bool) -> BrowserResponse:
    """Read the haiku through a new nginx."""
    nginx = requirements.program("nginx", "/usr/sbin/nginx")
    ports = {"plain": unused_port(), "zipped": unused_port()}
    configuration = folder / "nginx.conf"
    configuration.write_text(CONFIGURATION.format(folder=folder, site=site.port, headers=headers, **ports))
    port = ports["zipped" if zipped else "plain"]
    command = [nginx, "-e", "stderr", "-p", str(folder), "-c", str(configuration)]
    with (
        ReplayServer(cassette.FOLDER / "chat/haiku.yaml", port=GATEWAY, delay=DELAY),
        run_server(command, port),
    ):
        front = RunningRecipe(port)
        response = front.ask(**{"accept-encoding": "gzip" if zipped else "identity"})
        front.client.close()
    assert (response.headers.get("content-encoding") == "gzip") == zipped
    assert (gzip.decompress(response.body) if zipped else response.body).decode() == HAIKU_BODY
    return response


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_nginx_forwards_each_event_with_the_header(site: RunningRecipe, tmp_path: Path, zipped: bool) -> None:
    """Every event arrives when it is sent, and nginx removes the header."""
    response = through_nginx(site, tmp_path, "", zipped=zipped)

    assert len(response.parts) > EVENTS / 2
    assert response.duration > DELAY * EVENTS / 2
    assert "x-accel-buffering" not in response.headers


def test_nginx_buffers_an_http_1_0_upstream_without_the_header(site: RunningRecipe, tmp_path: Path) -> None:
    """The browser receives a few blocks of the size of a buffer."""
    response = through_nginx(site, tmp_path, WITHOUT, zipped=False)

    assert len(response.parts) < EVENTS / 4


def test_nginx_buffers_a_compressed_stream_without_the_header(site: RunningRecipe, tmp_path: Path) -> None:
    """The browser receives everything at the end."""
    response = through_nginx(site, tmp_path, WITHOUT, zipped=True)

    assert response.duration < DELAY * EVENTS / 4

"""nginx between the forwarder and the browser: what it does to a stream with `SSE_HEADERS`, and without."""

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
# Everything not named here is as nginx has it by default: buffers, and HTTP/1.0 to the servers behind it.
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
# As if the recipe had not sent the header.
WITHOUT = "proxy_ignore_headers X-Accel-Buffering;"


@pytest.fixture(scope="module")
def site() -> Iterator[RunningRecipe]:
    with serve_recipe("starlette", GATEWAY) as served:
        yield served


def through_nginx(site: RunningRecipe, folder: Path, headers: str, *, zipped: bool) -> BrowserResponse:
    """Read the haiku through an nginx of its own."""
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
        arrival = front.ask(**{"accept-encoding": "gzip" if zipped else "identity"})
        front.client.close()
    assert (arrival.headers.get("content-encoding") == "gzip") == zipped
    assert (gzip.decompress(arrival.body) if zipped else arrival.body).decode() == HAIKU_BODY
    return arrival


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_with_the_header_the_stream_is_not_collapsed(site: RunningRecipe, tmp_path: Path, zipped: bool) -> None:
    """Each event comes when it is made; nginx keeps the header to itself."""
    arrival = through_nginx(site, tmp_path, "", zipped=zipped)

    assert len(arrival.parts) > EVENTS / 2
    assert arrival.duration > DELAY * EVENTS / 2
    assert "x-accel-buffering" not in arrival.headers


def test_without_it_an_http_1_0_upstream_is_collapsed(site: RunningRecipe, tmp_path: Path) -> None:
    """The browser gets a few blocks, whose size is that of a buffer."""
    arrival = through_nginx(site, tmp_path, WITHOUT, zipped=False)

    assert len(arrival.parts) < EVENTS / 4


def test_without_it_a_compressed_stream_is_collapsed(site: RunningRecipe, tmp_path: Path) -> None:
    """The browser gets everything at the end."""
    arrival = through_nginx(site, tmp_path, WITHOUT, zipped=True)

    assert arrival.duration < DELAY * EVENTS / 4

"""One SSL context a process: reading the certificates of the system takes tens of milliseconds."""

from __future__ import annotations

import os
import ssl
from typing import Any

from tensorloop_stream._http.library import httpx

__all__ = ["shared_context", "with_context"]

_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE")
_contexts: dict[object, ssl.SSLContext] = {}
# Programs have one set of certificates; tests may have many.
_MOST_CONTEXTS = 8


def shared_context(*, trust_env: bool) -> ssl.SSLContext:
    """Return the context that the HTTP library would make for `verify=True`, made once for the same certificates."""
    key = _key(trust_env=trust_env)
    context = _contexts.get(key)
    if context is None:
        context = httpx.create_ssl_context(trust_env=trust_env)
        if len(_contexts) >= _MOST_CONTEXTS:
            _contexts.clear()
        _contexts[key] = context
    return context


def with_context(settings: dict[str, Any], *, is_needed: bool = False) -> dict[str, Any]:
    """Return the settings of a transport with a shared context, where the context is nobody's own.

    HTTP/2 and a client certificate change a context. If one `is_needed`, it is made for any other `verify`, too.
    """
    verify, trust_env = settings.get("verify", True), settings.get("trust_env", True)
    if verify is True and not settings.get("http2") and not settings.get("cert"):
        return {**settings, "verify": shared_context(trust_env=trust_env)}
    if is_needed and not isinstance(verify, ssl.SSLContext):
        return {**settings, "verify": httpx.create_ssl_context(verify=verify, trust_env=trust_env)}
    return settings


def _key(*, trust_env: bool) -> object:
    paths = ssl.get_default_verify_paths()
    files = {paths.openssl_cafile, paths.openssl_capath}
    values = [os.environ.get(name) for name in _VARIABLES]
    if trust_env:
        files |= {value for value in values[:2] if value}
    # The function, too: a test or a tool may replace it.
    return trust_env, tuple(values), tuple(sorted((file, _version(file)) for file in files)), httpx.create_ssl_context


def _version(path: str) -> tuple[int, int]:
    """Return what changes with the content of a file or a folder."""
    try:
        status = os.stat(path)  # noqa: PTH116 - hundreds of times cheaper than building a context, and a path less
    except OSError:
        return 0, 0
    return status.st_mtime_ns, status.st_size

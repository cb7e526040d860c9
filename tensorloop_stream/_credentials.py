"""Find the key and the base URL: arguments, the environment, `.env`, the default. Refuse what would expose the key."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING, Any

from openai import OpenAIError

from ._http.library import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = "The Tensorloop key"
_BASE_URL = "https://litellm.tensorloop.tech/v1"
# Arguments that name a service of OpenAI: with them a client is the SDK's.
OTHER_SERVICES = ("data_residency", "provider", "workload_identity")


def resolve_credentials(api_key: Any, base_url: Any, given: Mapping[str, Any], *, allow_http: bool) -> dict[str, Any]:
    """Return the key and the base URL: the arguments, else the settings, else the default."""
    if any(given.get(name) is not None for name in OTHER_SERVICES):
        return {"api_key": api_key, "base_url": base_url}
    if not base_url:
        base_url = _read_setting("TENSORLOOP_BASE_URL") or _BASE_URL
    if api_key is None:
        api_key = _read_setting("TENSORLOOP_KEY")
    if not api_key and given.get("_enforce_credentials", True):
        raise OpenAIError(
            "No Tensorloop key: set TENSORLOOP_KEY in the environment or in a .env file, or pass api_key=. "
            "Without a key, replay recorded streams, such as those in the repository: "
            "python -m tensorloop_stream.replay cassettes -- python your_program.py"
        )
    require_sendable(api_key)
    require_safe(base_url, allow_http=allow_http)
    # The key is empty here, and not None: for None, the SDK would send OPENAI_API_KEY.
    return {"api_key": api_key or "", "base_url": base_url}


def require_safe(base_url: Any, *, allow_http: bool) -> None:
    """Raise `OpenAIError` for a base URL that cannot be called, or would send the key in the clear."""
    url = httpx.URL(str(base_url))
    if url.scheme not in {"http", "https"} or not url.host:
        raise OpenAIError(f"The base URL is {base_url}: it must begin with https://, or with http:// for this machine")
    if url.scheme == "http" and not allow_http and not _stays_here(url.host):
        raise OpenAIError(
            f"The base URL is http://{url.host}, which would send the key in the clear: use https://, or http:// for "
            "this machine alone. Inside of a private network, allow_http=True permits it."
        )


def require_sendable(value: Any, *, header: str = "") -> None:
    """Raise `OpenAIError` for a Tensorloop key, or the value of the header of that name, that no header can hold."""
    if isinstance(value, str) and not (value.isascii() and value.isprintable() and value == value.strip()):
        # Reject it here: the HTTP library's error would print the key.
        what, remedy = (f"The value of the header {header}", "correct it") if header else (_KEY, "copy it again")
        raise OpenAIError(
            f"{what} holds a character that no header can hold, or a blank at its beginning or end: {remedy}"
        )


def _read_setting(name: str) -> str | None:
    """Return a setting from the environment, else from the nearest `.env` file, without blanks around it."""
    value = os.environ.get(name, "").strip()
    if not value:
        from dotenv import dotenv_values, find_dotenv  # noqa: PLC0415 - costs milliseconds, which only this case needs

        path = find_dotenv(usecwd=True)
        try:
            # Editors on Windows may write a byte order mark.
            value = (dotenv_values(path, encoding="utf-8-sig").get(name) or "").strip() if path else ""
        except UnicodeDecodeError:
            raise OpenAIError(f"{path} is not UTF-8: save it as UTF-8, or set {name} in the environment") from None
    return value or None


def _stays_here(host: str) -> bool:
    """Tell whether nothing that is sent to a host leaves this machine: loopback, and names that are no host's.

    Test suites use the latter (RFC 6761).
    """
    if host.rpartition(".")[2] in {"localhost", "test", "invalid"}:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""The headers that the SDK makes of the OPENAI_* variables, which belong to another service than the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["credential_headers", "openai_headers"]

_VARIABLES = ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
# Headers of every request, which hold no key.
_COMMON = {"accept", "content-type", "user-agent"}


def credential_headers(
    api_key: object, admin_api_key: object, organization: object, project: object
) -> list[tuple[str, object]]:
    """Return the headers that the SDK makes of its arguments, with their names in lower case."""
    return [
        ("authorization", f"Bearer {api_key}"),
        ("authorization", f"Bearer {admin_api_key}"),
        ("openai-organization", organization),
        ("openai-project", project),
    ]


def openai_headers(variables: Mapping[str, str]) -> dict[tuple[str, object], str]:
    """Return the headers that the SDK makes of the OPENAI_* variables, each with the name of its variable."""
    credentials = credential_headers(*map(variables.get, _VARIABLES))
    found = {header: name for header, name in zip(credentials, _VARIABLES, strict=True) if variables.get(name)}
    for line in variables.get("OPENAI_CUSTOM_HEADERS", "").split("\n"):
        name, _, value = line.partition(":")
        if value.strip() and name.strip().lower() not in _COMMON:
            found[name.strip().lower(), value.strip()] = "OPENAI_CUSTOM_HEADERS"
    return found

"""The keys of the recorded proxy; runs in the proxy's environment in place of LiteLLM's database."""

from typing import Any

# mypy: disable-error-code="import-not-found"
# These imports are installed in the proxy's environment alone.
from fastapi import Request
from litellm.proxy._types import ProxyErrorTypes, ProxyException, UserAPIKeyAuth
from litellm.proxy.auth.auth_checks import virtual_key_max_budget_check

KEYS: dict[str, dict[str, Any]] = {
    "tl_recording_model": {},
    "tl_recording_scripted": {"aliases": {"gpt-4o-mini": "scripted"}},
    "tl_recording_free": {
        "models": ["gpt-4o-mini", "scripted"],
        "aliases": {"gpt-4o-mini": "scripted"},
        "rpm_limit": 30,
    },
    "tl_recording_metered": {"models": ["gpt-4o-mini"], "rpm_limit": 30, "spend": 0.42, "max_budget": 5.0},
    "tl_recording_spent": {"spend": 5.02, "max_budget": 5.0},
}


async def verify(request: Request, api_key: str) -> UserAPIKeyAuth:
    """Accept the keys above, and refuse others with the message of LiteLLM's own check."""
    # Not at the top: the proxy is being imported when it imports this module.
    from litellm.proxy.proxy_server import proxy_logging_obj

    if api_key not in KEYS:
        raise ProxyException(
            message=f"Authentication Error, Invalid proxy server token passed. Received API Key = sk-...{api_key[-4:]}."
            " Unable to find token in cache or `LiteLLM_VerificationTokenTable`",
            type=ProxyErrorTypes.token_not_found_in_db,
            param="key",
            code=401,
        )
    key = UserAPIKeyAuth(api_key=api_key, **KEYS[api_key])
    # LiteLLM makes this check only in its own look-up.
    await virtual_key_max_budget_check(key, proxy_logging_obj)
    return key

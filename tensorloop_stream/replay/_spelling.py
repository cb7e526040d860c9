"""Names that a person wrote into a cassette or a rule, and the right ones that they look like. No I/O."""

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from ._fields import Path, values_at

# Other recorders have keys of their own: `recorded_at`, `http_version`, `encoding`.
_IN_FILE = ("version", "interactions", "replay")
_IN_INTERACTION = {
    (): ("request", "response", "replay"),
    ("request",): ("method", "uri", "body", "headers"),
    ("response",): ("status", "headers", "body"),
    ("response", "status"): ("code", "message"),
    ("response", "body"): ("string",),
}
_REQUIRED = {"request", "response", "method", "uri", "status", "code"}
_NEAR = 0.75
# Without it the interaction is refused in any case: a farther guess does no harm.
_NEAR_REQUIRED = 0.6
_NEAR_RECORDED = 0.8
_NEAR_PARAMETER = 0.85
# The parameters of both APIs, and frequent additions of gateways: `top_k` is no misspelt `top_p`.
_NAMES = """
access_programs audio background background_options best_of context_management conversation extra_body
frequency_penalty function_call functions guided_json image include input instructions logit_bias logprobs
max_completion_tokens max_output_tokens max_tokens max_tool_calls messages metadata min_p modalities model
moderation n parallel_tool_calls prediction presence_penalty previous_response_id prompt prompt_cache_key
prompt_cache_options prompt_cache_retention reasoning reasoning_effort repetition_penalty response_format
safety_identifier seed service_tier stop store stream stream_options temperature text thinking tool_choice tools
top_a top_k top_logprobs top_p truncation user verbosity web_search_options
"""
_PARAMETERS = frozenset(_NAMES.split())


def check_file_keys(cassette: Mapping[Any, Any]) -> None:
    """Raise `ValueError` for a key at the top of a cassette that is a misspelt one."""
    _check(cassette, _IN_FILE, ())


def check_keys(interaction: object) -> None:
    """Raise `ValueError` for a misspelt key of an interaction, and for a body of an answer without its text.

    A key is misspelt if it is unknown and like a known one that is missing.
    """
    for path, known in _IN_INTERACTION.items():
        part: Any = interaction
        for name in path:
            part = part.get(name) if isinstance(part, dict) else None
        if isinstance(part, dict):
            _check(part, known, path)
            if path == ("response", "body") and part and "string" not in part:
                raise ValueError(f"response.body has {', '.join(map(str, part))}, where string is wanted")


def nearest(name: str, known: Iterable[str], likeness: float = _NEAR) -> str | None:
    """Return the known name that a name is a misspelling of, or `None`."""
    found = get_close_matches(name.lower(), sorted(known), 1, likeness)
    return found[0] if found else None


def misspelt_path(path: Path, bodies: Collection[Any]) -> str | None:
    """Return the path that was probably meant by one that leads to nothing in these requests, or `None`."""
    for depth, name in enumerate(path):
        before = path[:depth]
        found = [value for body in bodies for value in values_at(body, before)]
        if any(True for value in found for _ in values_at(value, (name,))):
            continue
        if name in _PARAMETERS or "metadata" in before:
            return None  # a field that only other requests have; the keys of metadata are free
        names = {key for value in found if isinstance(value, dict) for key in value}
        right = nearest(name, names, _NEAR_RECORDED)
        if right is None and not before:
            right = nearest(name, _PARAMETERS, _NEAR_PARAMETER)
        if right is not None:
            return ".".join([*before, right, *path[depth + 1 :]])
        is_position = name == "*" or name.removeprefix("-").isdigit()
        if found and not is_position and all(isinstance(value, list) for value in found):
            return ".".join([*before, "*", *path[depth:]])
        return None
    return None


def _check(part: Mapping[Any, Any], known: Iterable[str], path: tuple[str, ...]) -> None:
    missing = {name for name in known if name not in part}
    for key in part:
        if key in known:
            continue
        if near := nearest(str(key), missing) or nearest(str(key), missing & _REQUIRED, _NEAR_REQUIRED):
            raise ValueError(f"{'.'.join([*path, str(key)])} is unknown: did you mean {near}?")

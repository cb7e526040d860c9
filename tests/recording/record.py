"""Record the cassettes: ``python tests/recording/record.py [NAME ...]``, described in cassettes/README.md."""

import argparse
import importlib.metadata
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import openai

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

import cassette
from catalogue import CATALOGUE
from entry import Origin, Recording
from environments import prepare, version
from readme import write_tables
from scripts import SCRIPTS
from stack import stack

# The number of the last event that the client of a background response saw.
TAKEN_UP_AFTER = 4
WORK = cassette.FOLDER.parent / ".recording"


def main() -> None:
    options = _options()
    chosen = [one for one in CATALOGUE if any(fnmatch(one.name, wanted) for wanted in options.names or ["*"])]
    if not chosen:
        raise SystemExit(f"no cassette is called {' or '.join(options.names)}; --list names them all")
    if options.list:
        for one in chosen:
            print(f"{one.name:40} {one.origin.value}")
        return
    # The end of the terminal or of a CI job stops the stack, as Ctrl-C does.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    if options.service:
        record_from_service(chosen, os.environ.get("TENSORLOOP_KEY"))
    else:
        record_from_stack(chosen)
    write_tables()


def record_from_stack(chosen: Sequence[Recording]) -> None:
    """Record from a local model, a scripted upstream and a local proxy."""
    environments = prepare(WORK)
    scripts = {one.prompt: SCRIPTS[one.script] for one in CATALOGUE if one.script in SCRIPTS}
    for one in CATALOGUE:
        if one.follow_up_script:
            scripts |= dict.fromkeys(one.follow_ups, SCRIPTS[one.follow_up_script])
    # The seed is a setting of the model's server, so each seed has a stack of its own.
    by_stack: dict[tuple[int | None, str], list[Recording]] = {}
    for one in chosen:
        by_stack.setdefault((one.seed if one.origin is Origin.MODEL else None, one.litellm), []).append(one)
    for (seed, litellm), group in by_stack.items():
        used = {"litellm": version(environments.proxy(litellm), "litellm")}
        if seed is not None:
            used |= {"xllamacpp": version(environments.model, "xllamacpp"), "weights": environments.weights.stem}
        with stack(environments, scripts, seed=seed, litellm=litellm) as base_url:
            for one in group:
                record(one, base_url, one.key, {"source": one.origin.value} | used)


def record_from_service(chosen: Sequence[Recording], key: str | None) -> None:
    """Record the cassettes that the service can answer."""
    if not key:
        raise SystemExit("TENSORLOOP_KEY is not set")
    for one in chosen:
        if one.on_service:
            own_key = one.key if one.status == 401 else key
            record(one, cassette.SERVICE, own_key, {"source": "the service"})
        else:
            print(f"{one.name}: left as it is, the service cannot be told to do this")


def record(recording: Recording, base_url: str, key: str, provenance: dict[str, str]) -> None:
    """Record one cassette again; the old one stays until the new one is complete."""
    fresh = WORK / "cassettes" / f"{recording.name}.yaml"
    fresh.unlink(missing_ok=True)
    vcr = cassette.cassettes("once", recorded_at=base_url)
    with ExitStack() as open_things:
        client = open_things.enter_context(openai.OpenAI(base_url=base_url, api_key=key, max_retries=0))
        for _ in range(recording.sent_before):
            _ask(client, recording.request)
        open_things.enter_context(vcr.use_cassette(fresh))
        _converse(client, recording)
    tape = cassette.Serializer.deserialize(fresh.read_text(encoding="utf-8"))
    _check(recording, tape, base_url)
    metadata = {
        "recorded": f"{datetime.now(UTC).date()}",
        **provenance,
        "openai": importlib.metadata.version("openai"),
        "vcrpy": importlib.metadata.version("vcrpy"),
    }
    target = cassette.FOLDER / f"{recording.name}.yaml"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = cassette.Serializer.serialize({"version": tape["version"], "metadata": metadata} | tape)
    target.write_bytes(text.encode())
    print(f"{recording.name}: {len(tape['interactions'])} recorded", flush=True)


def _converse(client: openai.OpenAI, recording: Recording) -> None:
    request = recording.request
    answer = _ask(client, request)
    if "input" in request:
        _converse_by_id(client, recording, answer)
        return
    for follow_up in recording.follow_ups:
        text = "".join(chunk.choices[0].delta.content or "" for chunk in answer)
        said = [{"role": "assistant", "content": text}, {"role": "user", "content": follow_up}]
        request = request | {"messages": request["messages"] + said}
        answer = _ask(client, request)


def _converse_by_id(client: openai.OpenAI, recording: Recording, answer: Any) -> None:
    """Go on with a response by its id: ask more, or take it up again."""
    if not (recording.follow_ups or recording.taken_up):
        return
    for follow_up in recording.follow_ups:
        *_, last = answer
        answer = _ask(client, recording.request | {"input": follow_up, "previous_response_id": last.response.id})
    if recording.taken_up:
        identity = next(iter(answer)).response.id
        answer.close()
        try:
            client.responses.retrieve(identity, stream=True, starting_after=TAKEN_UP_AFTER)
        except openai.APIStatusError as error:
            print(f"{recording.name}: {error}")


def _ask(client: openai.OpenAI, request: dict[str, Any]) -> Any:
    try:
        return (client.responses if "input" in request else client.chat.completions).create(**request)
    except openai.APIStatusError as error:
        # Errors are answers, too: the status is checked after the recording.
        return error


def _check(recording: Recording, tape: dict[str, Any], base_url: str) -> None:
    statuses = [interaction["response"]["status"]["code"] for interaction in tape["interactions"]]
    expected = [recording.status] * (1 + len(recording.follow_ups))
    if recording.taken_up:
        expected += [statuses[-1]]
    # The service may choose another error status.
    if base_url == cassette.SERVICE and min(*statuses, *expected) >= 400:
        return
    if statuses != expected:
        raise RuntimeError(f"{recording.name}: answered with {statuses} instead of {expected}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Record the cassettes; see cassettes/README.md.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="which, such as chat/haiku or 'tools/*' (all)")
    parser.add_argument("--list", action="store_true", help="only name them")
    parser.add_argument("--service", action="store_true", help="record from the service, with TENSORLOOP_KEY")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)

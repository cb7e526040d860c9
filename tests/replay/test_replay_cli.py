"""`python -m tensorloop_stream.replay`: in front of a command, and as a server."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

import tensorloop_stream
from tensorloop_stream.replay._cli import main

ROOT = Path(__file__).parents[2]
# `python -m tensorloop_stream.replay` without the top of the package, which imports the SDK and takes a second. The
# README's first command (test_recipes.py) tests the start of the real command line.
RUNNER = """
import sys, types
package = sys.modules["tensorloop_stream"] = types.ModuleType("tensorloop_stream")
package.__path__ = [sys.argv.pop(1)]
from tensorloop_stream.replay._cli import main
sys.exit(main())
"""
REPLAY = [sys.executable, "-c", RUNNER, str(Path(tensorloop_stream.__file__).parent)]
TIMEOUT = 30
STREAM = 'data: {"choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\ndata: [DONE]\n\n'


def interaction(
    body: dict[str, object], status: int = 200, content_type: str = "text/event-stream"
) -> dict[str, object]:
    return {
        "request": {
            "method": "POST",
            "uri": "https://litellm.tensorloop.tech/v1/chat/completions",
            "body": json.dumps(body),
            "headers": {},
        },
        "response": {
            "status": {"code": status, "message": "any"},
            "headers": {"content-type": [content_type]},
            "body": {"string": STREAM},
        },
    }


def chat(content: object) -> dict[str, object]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}]}


@pytest.fixture
def cassette(tmp_path: Path) -> str:
    path = tmp_path / "hello.yaml"
    interactions = [
        interaction(chat("Say hello,\nplease. " + "And so on. " * 20)),
        interaction(chat([{"type": "image_url"}, {"type": "text", "text": "What is this?"}]), status=429),
        interaction({"input": "no messages"}),
        interaction(chat("Say hello at once."), content_type="application/json"),
    ]
    path.write_text(yaml.safe_dump({"version": 1, "interactions": interactions}))
    return str(path)


def python(code: str) -> list[str]:
    return ["--", sys.executable, "-c", code]


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Start the runner in its own process group, to which a Ctrl-C can be sent."""
    process = subprocess.Popen(
        [*REPLAY, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True
    )
    try:
        with process:
            yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("command", [["true"], ["no-such-program"]])
def test_a_command_leaves_the_signals_as_they_were(cassette: str, command: list[str]) -> None:
    """A program that calls the command line goes on, and Ctrl-C ends it then."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    main([cassette, "--", *command])

    assert [signal.getsignal(number) for number in numbers] == before


def test_the_command_gets_the_server_and_the_runner_its_status(
    cassette: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The runner writes nothing to stdout, so that pipes work; a line on stderr tells where the answer comes from."""
    code = """
import os, sys, urllib.request
print(os.environ["TENSORLOOP_KEY"])
assert os.environ["OPENAI_BASE_URL"] == os.environ["TENSORLOOP_BASE_URL"]
assert os.environ["OPENAI_API_KEY"] == os.environ["TENSORLOOP_KEY"]
url = os.environ["TENSORLOOP_BASE_URL"] + "/chat/completions"
print(urllib.request.urlopen(url, b'{"input":"no messages"}').read().decode(), end="")
sys.exit(7)
"""
    status = main([cassette, "--delay", "0", *python(code)])

    told = f"replay: POST /v1/chat/completions: recorded in {cassette}\n"
    assert capfd.readouterr() == (f"tl_replay\n{STREAM}", told)
    assert status == 7


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        ([], "", True),
        (["--strict"], "", True),
        ([], "raise SystemExit(1)", True),
        (["--quiet"], "", False),
        ([], "import os, urllib.request as u; u.urlopen(os.environ['OPENAI_BASE_URL'] + '/models')", False),
    ],
    ids=["asks nothing", "strict", "fails", "quiet", "asks"],
)
def test_a_command_that_asked_nothing_is_told_why(
    cassette: str, options: list[str], code: str, told: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    """A client with a base URL of its own asks the true service, and its program seems to run behind the replay."""
    main([cassette, *options, *python(code)])

    named = "no request came; a client with a base_url of its own must read it from TENSORLOOP_BASE_URL"
    assert (named in capfd.readouterr().err) == told


def test_the_line_about_a_request_names_its_fault(cassette: str, capfd: pytest.CaptureFixture[str]) -> None:
    """With `--fails`, it tells the answer that fails from the one that does not."""
    code = """
import os, urllib.request
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
for _ in range(2):
    urllib.request.urlopen(url, b'{"input":"no messages"}').read()
"""
    main([cassette, "--end-after", "0", "--fails", "1", "--no-strict", *python(code)])
    told = f"replay: POST /v1/chat/completions: recorded in {cassette}"

    assert capfd.readouterr().err == f"{told}; end-after=0\n{told}\n"


@pytest.mark.parametrize(("count", "told"), [(0, 0), (1, 2), (5, 6), (7, 7)])
def test_a_strict_replay_tells_at_the_end_what_was_not_recorded(
    cassette: str, count: int, told: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """A program may hide its 404s, and a test of it then passes."""
    code = f"""
import os, urllib.error, urllib.request
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
urllib.request.urlopen(url, b'{{"input":"no messages"}}')
for number in range({count}):
    try:
        urllib.request.urlopen(url, b'{{"input":%d}}' % number)
    except urllib.error.HTTPError:
        pass
"""
    status = main([cassette, "--strict", *python(code)])
    lines = capfd.readouterr().err.splitlines()

    assert len(lines) == told
    assert status == 0
    if count:
        assert lines[0] == f"replay: {count} of {count + 1} requests got a 404:"
        assert "input was sent as 0, but recorded as" in lines[1]
        assert (lines[-1] == "replay: and 2 more") == (count > 5)


def test_the_command_is_found_in_the_same_environment(
    cassette: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The `python` of an inactive virtual environment precedes the system's, which lacks the package."""
    for folder, said in (("bin", "of the environment"), ("system", "of the system")):
        program = tmp_path / folder / "program"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\necho {said}\n")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin/python"))
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    for prefix in (sys.base_prefix, "/an/environment"):
        monkeypatch.setattr(sys, "prefix", prefix)
        assert main([cassette, "--", "program"]) == 0

    assert capfd.readouterr().out == "of the system\nof the environment\n"


def test_the_status_of_a_command_killed_by_a_signal_is_128_plus_the_signal(cassette: str) -> None:
    """A shell reports the same status."""
    status = main([cassette, *python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")])

    assert status == 128 + signal.SIGKILL


def test_ctrl_c_reaches_the_command_and_its_end_is_waited_for(cassette: str) -> None:
    """The runner does not end before a command that cleans up."""
    code = """
import time
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.2)
    print("cleaned up", flush=True)
    raise SystemExit(3)
"""
    with started(cassette, *python(code)) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stdout.read()

    assert (ready, rest) == ("ready\n", "cleaned up\n")
    assert process.returncode == 3


def test_a_terminated_runner_terminates_its_command(cassette: str) -> None:
    """A CI system that stops the job leaves no orphan."""
    with started(cassette, *python("import time; print('ready', flush=True); time.sleep(60)")) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.terminate()
        process.wait(TIMEOUT)

    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(("command", "status"), [("no-such-command", 127), (os.devnull, 126)])
def test_a_command_that_cannot_run_is_one_sentence(
    cassette: str, command: str, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit statuses are those of a shell."""
    returned = main([cassette, "--", command])
    complaint = capsys.readouterr().err

    assert returned == status
    assert command in complaint
    assert complaint.count("\n") == 1


def test_serving_prints_what_to_copy_and_what_is_served(cassette: str) -> None:
    """The server runs until Ctrl-C, which is no failure."""
    with started(cassette, "--port", "0", "--delay", "0") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(11)]
        base_url = lines[2].partition("=")[2]
        stats = urllib.request.urlopen(base_url.removesuffix("v1") + "stats").read()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(TIMEOUT)

    assert lines == [
        f"Replaying on {base_url} until Ctrl-C. For another shell:",
        "",
        f"  export TENSORLOOP_BASE_URL={base_url}",
        f"  export OPENAI_BASE_URL={base_url}",
        "  export TENSORLOOP_KEY=tl_replay",
        "  export OPENAI_API_KEY=tl_replay",
        "",
        "POST  /v1/chat/completions  gpt-4o-mini  Say hello, please. And so on. And so on. And so on. And ...",
        "POST  /v1/chat/completions  gpt-4o-mini  What is this?  -> 429",
        "POST  /v1/chat/completions  no messages",
        "POST  /v1/chat/completions  gpt-4o-mini  Say hello at once.  -> not a stream",
    ]
    assert json.loads(stats)["started"] == 0
    assert process.returncode == 0


def test_the_error_without_pyyaml_names_the_extra(
    cassette: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The error is one sentence instead of a traceback."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    returned = main([cassette])

    assert returned == 2
    assert capsys.readouterr().err == (
        "python -m tensorloop_stream.replay: a replay reads YAML, which needs PyYAML: "
        'pip install "tensorloop_stream[replay]"\n'
    )


def test_an_unreadable_cassette_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names the file and the fault."""
    path = tmp_path / "foreign.yaml"
    path.write_text("hello: world")
    returned = main([str(tmp_path), "--", "true"])
    complaint = capsys.readouterr().err

    assert returned == 2
    assert complaint.startswith(f"python -m tensorloop_stream.replay: {path}: not a cassette of vcrpy")
    assert complaint.count("\n") == 1


def test_a_used_port_is_one_sentence(cassette: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The sentence names the option that helps."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        returned = main([cassette, "--port", str(port)])

    assert returned == 2
    assert capsys.readouterr().err == (
        f"python -m tensorloop_stream.replay: cannot listen on port {port}: Address already in use; "
        "give another with --port\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{cassette}", "--"], "there is no COMMAND after --"),
        (["--strict", "--", "true"], "no cassette was given"),
        (["{cassette}", "--port", "99999"], "a number from 0 to 65535 is wanted, not '99999'"),
        (["{cassette}", "--cors", "localhost"], "cors must be an origin such as http://localhost:5173"),
        (["{cassette}", "--cut", "1"], "unrecognized arguments: --cut"),
        (["{cassette}", "--cut-after", "x"], "cut-after must be a number of events, 0 or more, not 'x'"),
        (
            ["{cassette}", "--cut-after", "1", "--end-after", "1"],
            "cut-after and end-after exclude each other",
        ),
    ],
)
def test_wrong_usage_is_status_2(
    cassette: str, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the reason."""
    with pytest.raises(SystemExit) as caught:
        sys.exit(main([argument.format(cassette=cassette) for argument in arguments]))

    assert caught.value.code == 2
    assert message in capsys.readouterr().err


PROGRAM = "python -m tensorloop_stream.replay"
UNRECOGNIZED = f"{PROGRAM}: error: unrecognized arguments: "
FORGOTTEN = "; did you forget -- before the command? "


@pytest.mark.parametrize(
    ("given", "complaint", "meant"),
    [
        ("{it} no-program x.py", f"{PROGRAM}: no-program: No such file or directory", "{it} -- no-program x.py"),
        ("{it} python -m pytest", f"{UNRECOGNIZED}-m pytest", "{it} -- python -m pytest"),
        ("{it} --delay 0 ./run", f"{UNRECOGNIZED}./run", "{it} --delay 0 -- ./run"),
        ("{it} {script}", f"{PROGRAM}: {{script}}: not YAML in line 1: ", "{it} -- {script}"),
        ("env -x", f"{UNRECOGNIZED}-x", "-- env -x"),
        ("{it} env -- -x", f"{PROGRAM}: env: No such file or directory", "{it} -- env -- -x"),
        ("--record x no-program", f"{PROGRAM}: --record only passes requests on", "--record x -- no-program"),
    ],
)
def test_a_command_without_its_separator_is_recognized(
    cassette: str, given: str, complaint: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The complaint ends with the arguments as they were meant."""
    script = Path(cassette).with_name("run.sh")
    script.write_text("echo a: b: c")
    names = {"it": cassette, "script": str(script)}
    with pytest.raises(SystemExit) as caught:
        sys.exit(main(given.format(**names).split()))
    line = capsys.readouterr().err.splitlines()[-1]

    assert caught.value.code == 2
    assert line.startswith(complaint.format(**names))
    assert line.endswith(f"{FORGOTTEN}{PROGRAM} {meant.format(**names)}")


@pytest.mark.parametrize("given", ["gone", "gone.yaml", "{it} gone.yaml", "{it} gone -- true", "{it} --cut 1"])
def test_a_missing_cassette_is_no_command(cassette: str, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt file or option alone, and a word before a command, are what they seem."""
    with pytest.raises(SystemExit):
        sys.exit(main(given.format(it=cassette).split()))

    assert FORGOTTEN not in capsys.readouterr().err


def test_help_lists_every_option_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """The options of the faults are included, and what the command gets in its environment."""
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out

    for name in (
        "--port",
        "--cors",
        "--cut-after N",
        "--first-delay S",
        "--crlf",
        "--status CODE",
        "--fails N",
        "TENSORLOOP_BASE_URL",
        "OPENAI_BASE_URL",
        "TENSORLOOP_KEY",
        "OPENAI_API_KEY",
    ):
        assert name in text

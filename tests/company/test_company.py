"""The tracing tools record this package's streams as they record the SDK's, and the package keeps its promises."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requirements
from comparison import Comparison
from run import ENVIRONMENTS, TOOLS, Environments, running

FOLDER = Path(os.environ.get("TENSORLOOP_STREAM_COMPANY", ENVIRONMENTS))


@pytest.fixture(scope="module")
def compared(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Comparison]]:
    """Give what came of a tool; all that are asked for run beside each other, unless other processes run some."""
    environments = Environments(FOLDER)
    asked = [
        item for item in request.session.items if isinstance(item, pytest.Function) and item.parent is request.node
    ]
    tools = [str(item.callspec.params["tool"]) for item in asked]
    if requirements.REQUIRE_ALL:
        environments.make(tools)
    if not all(map(environments.has, tools)):
        requirements.unmet("needs the environments of the tracing tools: python tests/company/run.py")
    with running([] if "PYTEST_XDIST_WORKER" in os.environ else tools, environments) as together:

        def compare(tool: str) -> Comparison:
            if tool in together:
                return together[tool].result()
            with running([tool], environments) as alone:
                return alone[tool].result()

        yield compare


@pytest.mark.parametrize("tool", TOOLS)
def test_tracing_tool_records_the_same_as_with_the_sdk(tool: str, compared: Callable[[str], Comparison]) -> None:
    """A tool records the same of a stream, however it is read and ends; its text, errors and timeouts stay ours."""
    faults = compared(tool).faults

    assert "\n".join(map(str, faults)) == ""

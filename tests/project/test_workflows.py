"""The supply chain: the actions of the workflows, their rights, and the updates of both."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="a source distribution has no workflows")
each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def loaded(path: Path) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load(path.read_text("utf-8"))
    return found


@each_workflow
def test_actions_are_pinned_by_commit(path: Path) -> None:
    """A tag can be moved to other code; the version behind the commit is for people and for Dependabot."""
    used = re.findall(r"(?m)^\s*(?:- )?uses: (.*)$", path.read_text("utf-8"))
    others = [each for each in used if not each.startswith("./")]

    assert used
    assert [each for each in others if not re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each)] == []


@each_workflow
def test_a_workflow_may_only_read(path: Path) -> None:
    """Further rights stand at the job that needs them, and no job but those of a release and of the pages has any."""
    workflow = loaded(path)
    jobs = workflow["jobs"].values()

    assert workflow["permissions"] == {"contents": "read"}
    assert path.name in {"release.yml", "docs.yml"} or not [job for job in jobs if "permissions" in job]


@each_workflow
def test_no_token_stays_and_no_secret_is_used(path: Path) -> None:
    """A test that runs foreign code must find no token of the repository; no expression is pasted into a shell."""
    steps = [step for job in loaded(path)["jobs"].values() for step in job.get("steps", [])]
    checkouts = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]

    assert all(step["with"]["persist-credentials"] is False for step in checkouts)
    assert "secrets." not in path.read_text("utf-8")
    assert not [step for step in steps if "${{" in step.get("run", "")]


def test_the_release_publishes_what_was_attested() -> None:
    """It waits for the tests, and the job that may publish runs no code of the repository."""
    jobs = loaded(ROOT / ".github/workflows/release.yml")["jobs"]
    publish = jobs["publish"]

    assert jobs["build"]["needs"] == "test"
    assert (publish["needs"], publish["environment"]) == ("build", "pypi")
    assert publish["permissions"] == {"id-token": "write"}
    assert not [step for step in publish["steps"] if "run" in step or "checkout" in step["uses"]]


def test_the_pages_are_published_by_a_job_that_runs_no_code() -> None:
    """Only the job that publishes has rights, and it takes what another job built."""
    jobs = loaded(ROOT / ".github/workflows/docs.yml")["jobs"]
    publish = jobs.pop("publish")

    assert not [job for job in jobs.values() if "permissions" in job]
    assert publish["needs"] == "build"
    assert publish["permissions"] == {"id-token": "write", "pages": "write"}
    assert not [step for step in publish["steps"] if "run" in step or "checkout" in step["uses"]]


def test_updates_are_proposed_for_what_is_used() -> None:
    """The commits of the actions and the dependencies grow old by themselves."""
    updates = loaded(ROOT / ".github/dependabot.yml")["updates"]

    assert {update["package-ecosystem"] for update in updates} == {"github-actions", "pip", "npm"}
    assert all((ROOT / update["directory"].lstrip("/")).is_dir() for update in updates)

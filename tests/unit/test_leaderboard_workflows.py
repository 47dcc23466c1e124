"""The GitHub workflows: they parse, ask for little, and hand no secret to a fork's run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evalkit.cli.main import COMMANDS, main

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

FOLDER = Path(__file__).parents[2] / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
SAME_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"


def load(path: Path) -> dict:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    # YAML 1.1 reads the key `on` as true.
    content["on"] = content.pop(True)
    return content


def jobs() -> list[tuple[str, str, dict, dict]]:
    """Return file name, job name, job and workflow of every job."""
    found = []
    for path in FILES:
        workflow = load(path)
        found += [(path.name, name, job, workflow) for name, job in workflow["jobs"].items()]
    return found


JOBS = jobs()
each_job = pytest.mark.parametrize(
    ("file", "name", "job", "workflow"), JOBS, ids=[f"{file}-{name}" for file, name, _, _ in JOBS]
)


def names_a_secret(part: object) -> bool:
    text = str(part)
    return "secrets." in text or "secrets[" in text or "github.token" in text


def test_both_workflows_are_there():
    assert {path.name for path in FILES} >= {"ci.yml", "leaderboard.yml"}


@each_job
def test_no_secret_reaches_a_run_of_a_fork(file, name, job, workflow):
    if names_a_secret(job):
        assert SAME_REPOSITORY in job["if"]


@each_job
def test_only_a_job_shut_to_forks_may_write(file, name, job, workflow):
    granted = job.get("permissions", workflow.get("permissions"))
    assert isinstance(granted, dict), "permissions are named one by one"
    if any(level == "write" for level in granted.values()):
        assert SAME_REPOSITORY in job["if"]
        assert granted == {"contents": "read", "pull-requests": "write"}


@each_job
def test_a_job_with_a_secret_runs_no_code_of_the_pull_request(file, name, job, workflow):
    if not names_a_secret(job):
        return
    checkouts = [step for step in job["steps"] if str(step.get("uses", "")).startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["ref"] == "${{ github.event.pull_request.base.sha }}" for step in checkouts)
    assert not any("pip install" in str(step.get("run", "")) for step in job["steps"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_workflow_runs_with_the_rights_of_the_base_on_a_forks_event(path):
    assert not {"pull_request_target", "workflow_run"} & set(load(path)["on"])
    assert not names_a_secret(load(path).get("env", {}))


@each_job
def test_every_action_is_pinned_to_a_commit(file, name, job, workflow):
    for step in job["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]


@each_job
def test_a_checkout_leaves_no_token_behind(file, name, job, workflow):
    for step in job["steps"]:
        if str(step.get("uses", "")).startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@each_job
def test_nothing_an_outsider_writes_is_pasted_into_a_shell_line(file, name, job, workflow):
    for step in job["steps"]:
        assert "${{" not in str(step.get("run", ""))


@each_job
def test_every_job_has_a_time_limit(file, name, job, workflow):
    assert job["timeout-minutes"] <= 60


def test_ci_calls_the_make_targets_that_a_person_calls():
    runs = [step.get("run") for _, _, job, _ in JOBS for step in job["steps"]]
    assert "make lint" in runs
    assert "make test" in runs


def test_the_leaderboard_job_runs_renders_diffs_gates_and_posts(capsys):
    workflow = load(FOLDER / "leaderboard.yml")
    lines = "\n".join(str(step.get("run", "")) for job in workflow["jobs"].values() for step in job["steps"])
    for command in ("data demo", "leaderboard render", "leaderboard diff", "gate"):
        assert f"evalkit {command} " in lines
        assert command.split()[0] in COMMANDS
    assert "scripts/post_leaderboard_diff.py" in lines
    flags = set(re.findall(r"--[a-z][a-z-]+", lines.split("evalkit gate", 1)[1].split(">", 1)[0]))
    assert main(["gate", "--help"]) == 0
    offered = capsys.readouterr().out
    assert all(flag in offered for flag in flags)


def test_the_leaderboard_job_runs_base_and_head_with_the_model_that_has_learnt_and_gates_more_than_a_tie():
    workflow = load(FOLDER / "leaderboard.yml")
    steps = {step["name"]: step["run"] for step in workflow["jobs"]["measure"]["steps"] if "run" in step}
    lines = "\n".join(steps.values())
    assert "--checkpoint learnt" in lines
    assert "run ../base base" in lines
    assert "run . head" in lines
    assert "demo.venue" in lines
    assert '"$code" -eq 4' in lines
    matches = int(re.findall(r"--matches (\d+)", lines)[0])
    margin = float(re.findall(r"--max-drop (\d+)", lines)[0]) / 100
    assert 1 - 0.05 ** (1 / matches) < margin, "with nothing changed the gate must be able to pass"

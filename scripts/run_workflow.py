"""Run a GitHub workflow's own steps on this machine, to see what it would say before it is pushed.

    python scripts/run_workflow.py .github/workflows/leaderboard.yml --job measure --base main

What is committed is cloned into a folder and the job's `run` steps are carried out there one after the other, as
the runner does: bash that stops at the first error, the outputs of one step in the next, the step summary in a
file. Steps that use an action are named and passed over. With `--python`, nothing is installed: every .venv of the
steps is that interpreter over the tree that it belongs to.

Exit code: 0 all steps ran, 1 one failed, 2 the workflow cannot be run here.
"""

from __future__ import annotations

__all__ = ["Job", "Step", "main", "read_job", "run_job"]

import argparse
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from evalkit.errors import EvalkitError, UsageError

_EXPRESSION = re.compile(r"\$\{\{\s*([^}]+?)\s*\}\}")
_INSTALL = re.compile(r"python -m venv (?P<venv>\S+)")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a job: a shell text, or an action that is passed over (`run` is None)."""

    name: str
    id: str
    run: str | None
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Job:
    """A job's steps and environment, expressions still in them."""

    env: Mapping[str, str]
    steps: tuple[Step, ...]


def read_job(path: Path, name: str) -> Job:
    """Read one job of a workflow.

    Raises:
        UsageError: The file is no workflow, or has no such job.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        jobs: Mapping[str, Any] = content["jobs"]
    except (OSError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no workflow with jobs: {error}") from error
    if name not in jobs:
        raise UsageError(f"{path} has no job {name!r} (there are: {', '.join(jobs)})")
    job = jobs[name]
    steps = [
        Step(
            name=str(step.get("name") or step.get("uses") or step["run"].partition("\n")[0]),
            id=str(step.get("id", "")),
            run=step.get("run"),
            env={key: str(value) for key, value in step.get("env", {}).items()},
        )
        for step in job["steps"]
    ]
    return Job({key: str(value) for key, value in job.get("env", {}).items()}, tuple(steps))


def _filled(text: str, known: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise UsageError(f"the workflow asks for {match[1]}, which nothing here knows")
        return known[match[1]]

    return _EXPRESSION.sub(value, text)


def run_job(job: Job, tree: Path, base: str, tell: Callable[[str], None], python: Path | None = None) -> int:
    """Carry out a job's steps in a checkout.

    Args:
        job: What to do.
        tree: Root of the checkout; the steps may write beside it too.
        base: Commit that stands for the pull request's base.
        tell: Told what happens, line by line.
        python: Interpreter that stands in for every .venv a step would make; None installs as written.

    Returns:
        0, or the exit code of the step that failed.
    """
    known = {"github.event.pull_request.base.sha": base}
    files = {name: tree.parent / f"github-{name.lower()}" for name in ("OUTPUT", "STEP_SUMMARY")}
    common = {key: _filled(value, known) for key, value in job.env.items()}
    common |= {f"GITHUB_{name}": str(path) for name, path in files.items()}
    common |= {"GITHUB_WORKSPACE": str(tree), "CI": "true"}
    for step in job.steps:
        if step.run is None:
            tell(f"-- {step.name}: an action, passed over")
            continue
        files["OUTPUT"].write_text("", encoding="utf-8")
        tell(f"== {step.name}")
        own = {key: _filled(value, known) for key, value in step.env.items()}
        variables = [f"{key}={value}" for key, value in {**common, **own}.items()]
        began = time.perf_counter()
        text = step.run if python is None else _without_install(step.run, python)
        done = subprocess.run(  # noqa: S603 - the workflow's own text, as the runner runs it
            ["env", *variables, "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", text],  # noqa: S607
            cwd=tree,
            check=False,
            stdout=sys.stderr,
        )
        tell(f"   exit {done.returncode} after {time.perf_counter() - began:.0f} s")
        for line in files["OUTPUT"].read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            known[f"steps.{step.id}.outputs.{key}"] = value
        if done.returncode:
            return done.returncode
    return 0


def _without_install(text: str, python: Path) -> str:
    """Return a step's text with every line that makes or fills a .venv replaced by one that points at `python`."""
    lines = []
    for line in text.splitlines():
        made = _INSTALL.search(line)
        if made:
            lines.append(_stand_in(made["venv"], python))
        elif "pip install" not in line:
            lines.append(line)
    return "\n".join(lines)


def _stand_in(venv: str, python: Path) -> str:
    """Return shell text that writes VENV/bin/evalkit: the interpreter over the tree the .venv stands in."""
    # -P: else the folder it is called from, which is the head's, would come before the tree of a base's .venv.
    start = shlex.quote("from evalkit.cli import main; raise SystemExit(main())")
    command = f'exec {shlex.quote(str(python))} -P -c {start} "$@"'
    return "\n".join(
        [
            f"mkdir -p {venv}/bin",
            f'tree="$(realpath {venv}/..)"',
            f'printf \'#!/bin/sh\\nPYTHONPATH=%s:%s/tasks %s\\n\' "$tree" "$tree" {shlex.quote(command)} '
            f"> {venv}/bin/evalkit",
            f"chmod +x {venv}/bin/evalkit",
        ]
    )


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(  # noqa: S603 - no shell
        ["git", "-C", str(root), *words],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UsageError(f"git {' '.join(words[:2])}: {done.stderr.strip()}")
    return done.stdout.strip()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workflow", type=Path, help="the YAML file")
    parser.add_argument("--job", required=True, help="which of its jobs")
    parser.add_argument("--base", default="main", metavar="REV", help="the pull request's base (%(default)s)")
    parser.add_argument("--repository", type=Path, default=Path(), metavar="DIR", help="(default: this folder)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="where to clone to (default: a temporary folder)")
    parser.add_argument("--python", type=Path, metavar="FILE", help="use this interpreter and install nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; exit codes are in the module's text."""
    args = _parser().parse_args(argv)
    try:
        job = read_job(args.workflow, args.job)
        base = _git(args.repository, "rev-parse", "--verify", f"{args.base}^{{commit}}")
        work = args.work or Path(tempfile.mkdtemp(prefix="workflow-"))
        tree = work.resolve() / "head"
        work.mkdir(parents=True, exist_ok=True)
        _git(args.repository, "clone", "--quiet", "--shared", ".", str(tree))
        sys.stderr.write(f"{tree}: HEAD against {base[:12]}\n")
        python = None if args.python is None else args.python.absolute()
        code = run_job(job, tree, base, lambda line: print(line, file=sys.stderr), python)
    except EvalkitError as error:
        sys.stderr.write(f"run_workflow: {error}\n")
        return 2
    return 1 if code else 0


if __name__ == "__main__":
    raise SystemExit(main())

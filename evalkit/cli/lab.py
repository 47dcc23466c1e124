"""Run several models on the same samples and seeds, then compare, rank and report them: a policy laboratory.

The runs go on side by side in one process: each second of a video is decoded once for all of them, models over
the same checkpoint share its weights, and one works at a time, so that a second's time is its own. Runs that
cannot take turns (--pace realtime, --workers, threads) follow one after the other. Each run folder is what
`evalkit run` would have left. Interrupted, it goes on with: evalkit lab --resume --out DIR
"""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
import datetime
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli.main import EXIT_DONE, EXIT_FAILED_SAMPLES, EXIT_INTERRUPTED, EXIT_USAGE, command_of
from evalkit.cli.output import emit_json, note, say
from evalkit.cli.run import add_options, given_options, print_dry_run, terminal_report
from evalkit.errors import EvalkitError, UsageError
from evalkit.records import RunFolder
from evalkit.run.options import RunOptions, merge_options

if TYPE_CHECKING:
    from evalkit.run.lab import LabRequest
    from evalkit.run.plan import RunPlan

_WITHOUT = ("model", "compress", "judge", "against", "out", "resume", "repeat", "beside", "shard")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options: those of a run that all have in common, and the lab's own."""
    parser.add_argument("--models", metavar="A,B,...", help="models, the first is the one others are held to")
    parser.add_argument(
        "--compress",
        action="append",
        metavar="SPEC",
        help="token compression of every model; given several times, every model runs with each (repeatable)",
    )
    parser.add_argument("--judge", metavar="SPEC", help="judge narrated runs: openai:MODEL or overlap")
    parser.add_argument(
        "--against",
        metavar="NAME",
        help="whom they are judged against: one of the models (the first), a run, a file",
    )
    parser.add_argument("--out", metavar="DIR", help="folder of all runs (default runs/TASK/lab/STARTED)")
    parser.add_argument(
        "--resume", action="store_true", help="go on with an interrupted lab; models named anew are added"
    )
    add_options(parser, _WITHOUT)


def run(args: argparse.Namespace) -> int:
    """Run what is not finished, then print and write what can be said of all.

    Raises:
        UsageError: An option does not fit, or a model cannot do what is asked.
    """
    from evalkit.run.lab import lab_runs, run_lab, write_lab
    from evalkit.run.start import prepare

    request, options, out = _asked(args)
    rounds = [{label: prepare(one) for label, one in runs.items()} for runs in lab_runs(request, options, out)]
    _check_judging(request, options, rounds)
    if options.dry_run:
        return _dry_run(rounds, as_json=args.json)
    write_lab(out, request, options)
    broken: dict[str, EvalkitError] = {}
    for plans in rounds:
        ended, stopped = run_lab(plans, note)
        broken |= ended
        if stopped:
            note(f"interrupted: go on with evalkit lab --resume --out {out}")
            return EXIT_INTERRUPTED
    found = _figures(request, options, out, rounds, as_json=args.json)
    begun = [path for path in _folders(rounds) if (path / "run.json").exists()]
    manifests = {str(path.relative_to(out)): RunFolder(path).read_manifest() for path in begun}
    if args.json:
        states = {
            name: {"status": one.status, "failed": len(one.failed), "fingerprint": one.fingerprint_digest}
            for name, one in manifests.items()
        }
        emit_json({"folder": str(out), "runs": states, **found})
    for label, error in broken.items():
        note(f"{label} did not end: {error}; evalkit lab --resume --out {out} tries again")
    failed = any(one.failed for one in manifests.values())
    return EXIT_USAGE if broken else EXIT_FAILED_SAMPLES if failed else EXIT_DONE


def _folders(rounds: Sequence[Mapping[str, RunPlan]]) -> list[Path]:
    return [Path(plan.options.out or "") for plans in rounds for plan in plans.values()]


def _asked(args: argparse.Namespace) -> tuple[LabRequest, RunOptions, Path]:
    """Return what is asked for, over what a lab to go on with was asked for."""
    from evalkit.run.lab import LAB_FILE, LabRequest, read_lab

    if args.resume and args.out is None:
        raise UsageError("--resume wants the lab's folder: --out")
    begun = read_lab(Path(args.out)) if args.resume else None
    models = tuple(filter(None, (name.strip() for name in (args.models or "").split(","))))
    if begun is not None:
        models = tuple(dict.fromkeys([*begun.models, *models]))
    if not models:
        raise UsageError("--models is required: names from evalkit list models, such as full,sliding,streamingvlm")
    request = LabRequest(
        models=models,
        compress=tuple(args.compress or (begun.compress if begun else ())),
        judge=args.judge or (begun.judge if begun else None),
        against=args.against or (begun.against if begun else None),
    )
    layers = [{"model": models[0]}, begun.options if begun else {}, *given_options(args, _WITHOUT)]
    options = merge_options([*layers, {"resume": args.resume}])
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    out = Path(args.out) if args.out else Path("runs") / options.task / "lab" / stamp
    if not args.resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        again = "pass --resume to go on with it, or another --out" if (out / LAB_FILE).exists() else "name another"
        raise UsageError(f"--out {out} is not an empty folder: {again}")
    return request, options, out


def _check_judging(request: LabRequest, options: RunOptions, rounds: Sequence[Mapping[str, RunPlan]]) -> None:
    """Refuse a judge that could not judge, or another side that there is not, before anything is generated."""
    from evalkit.run.fingerprint import setting_fingerprint
    from evalkit.run.judging import check_against, check_judge, check_setting, judge_endpoint

    if request.judge is None:
        if request.against is not None:
            raise UsageError("--against says whom runs are judged against: name who judges with --judge")
        return
    check_judge(options.task, request.judge, judge_endpoint(options.judge_base_url or options.base_url))
    if request.against is None or request.against in rounds[0]:
        return
    check_against(Path(request.against))
    for plan in (plan for plans in rounds for plan in plans.values()):
        check_setting(setting_fingerprint(plan) | {"model.kind": plan.model.kind}, Path(request.against))


def _dry_run(rounds: Sequence[Mapping[str, RunPlan]], *, as_json: bool) -> int:
    from evalkit.run.start import dry_run

    plans = rounds[0]
    if as_json:
        emit_json({"runs": {label: dry_run(plan) for label, plan in plans.items()}})
        return EXIT_DONE
    codes = []
    for plan in plans.values():
        note(f"would run {plan.options.out}")
        codes.append(print_dry_run(plan, as_json=False))
    return max(codes)


def _figures(
    request: LabRequest, options: RunOptions, out: Path, rounds: Sequence[Mapping[str, RunPlan]], *, as_json: bool
) -> dict[str, Any]:
    """Judge, compare, rank, draw and report what is finished, by the commands a person would type.

    Returns:
        What each command gave, by its name, where JSON is wanted.
    """
    from evalkit.run.several import is_finished

    found: dict[str, Any] = {}

    def typed(*words: object) -> None:
        found.setdefault(str(words[0]), []).append(_typed([str(word) for word in words], as_json=as_json))

    done = [path for path in _folders(rounds) if is_finished(path)]
    contests = [
        (path, other)
        for path, other in _contests(request, rounds)
        if path in done and (other in done or other not in _folders(rounds))
    ]
    address = options.judge_base_url or options.base_url
    for path, other in contests:
        there = ["--base-url", address] if address else []
        typed("judge", path, "--against", other, "--judge", request.judge, *there)
    if not as_json and done:
        say(terminal_report(done))
    narrated = any(sample.narration for plan in rounds[0].values() for sample in plan.samples)
    compared = [path for path, _ in contests] if narrated else done
    sides = list(dict.fromkeys(path.parent if options.seeds else path for path in compared))
    if len(sides) > 1:
        typed("compare", *sides)
    if contests:
        typed("rank", *done)
    elif narrated:
        note("narrated runs are compared by who wins: --judge says who judges, also with --resume")
    if done:
        typed("replay", *done, "--out", out / "replay")
    if len(done) > 1:
        typed("plot", *done, "--kind", "pareto", "--out", out / "plots")
    if done:
        typed("report", *done, "--out", out / "report.html")
    return found


def _contests(request: LabRequest, rounds: Sequence[Mapping[str, RunPlan]]) -> Iterator[tuple[Path, Path]]:
    """Yield each run that is judged with the other side."""
    if request.judge is None:
        return
    other = request.against or next(iter(rounds[0]))
    for plans in rounds:
        against = plans[other].options.out if other in plans else other
        for label, plan in plans.items():
            if label != other:
                yield Path(plan.options.out or ""), Path(against or "")


def _typed(words: list[str], *, as_json: bool) -> Any:
    """Do what a command line says; what it refuses is told, and the rest goes on."""
    from evalkit.cli.call import command

    try:
        if as_json:
            given = command(*words)
            return given.text.strip() if given.values is None else given.values
        note(f"\n$ evalkit {shlex.join(words)}")
        module, parser = command_of(words[0])
        module.run(parser.parse_args(words[1:]))
    except EvalkitError as error:
        note(f"{words[0]}: {error}")
    return None

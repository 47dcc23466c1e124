"""Measure the checkpoint `learnt-llava` on held-out matches, policy by policy and kind of question by kind.

    python scripts/eval_learnt_llava.py --out runs/llava [--matches 24] [--minutes 1] [--seed 900] [--only full]

Asked are the demos of the question benchmarks; questions of a kind are pooled over them. Matches of
`evalkit data demo` have seeds below 2**20 and those of the training above it. A run that stands in the folder
already is read from there.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from eval_learnt import Policy, run_policy
from learnt.llava_vocabulary import ASKED, QUESTION_OF

from evalkit.records import AnswerRecord
from evalkit.stats import mean_by_cluster
from evalkit.tasks import DemoSize
from evalkit.tasks.catalog import task_named
from evalkit_tasks.streamingbench.published import GROUPS

KINDS = (*ASKED, "count", "step", "enough")
_SEEDS_APART = 1000
_OVO_KINDS = {"REC": "count", "SSR": "step", "CRR": "enough"}
TASKS: Mapping[str, Mapping[str, str]] = {
    "ovobench": {},
    "streamingbench": {"task.tasks": ",".join(GROUPS["real"])},
    "longvideobench": {},
    "videomme": {},
}
"""Benchmarks with their settings: of StreamingBench the real-time questions, one stream a match."""


POLICIES = {
    "blind": Policy("blind"),
    "last-frame": Policy("last-frame"),
    "full": Policy("full"),
    "streamingvlm": Policy("streamingvlm"),
    "sliding": Policy("sliding"),
    "rekv": Policy("rekv"),
    "pruned-50": Policy("full", compress="pruner(pruned=0.5,strategy=dual-anchor)"),
    "pruned-70": Policy("full", compress="pruner(pruned=0.7,strategy=dual-anchor)"),
    "pruned-95": Policy("full", compress="pruner(pruned=0.95,strategy=dual-anchor)"),
    "cached-half": Policy("full", compress="cacher(interval=2,reuse=0.5,variant=stc-paper)"),
    "cached-n2": Policy("full", compress="cacher(interval=2,reuse=0.75,variant=stc-paper)"),
    "cached-n16": Policy("full", compress="cacher(interval=16,reuse=0.95,variant=stc-paper)"),
    "stc": Policy("stc"),
}
"""Policies by name: baselines, memories, then what compression costs."""


def answers(name: str, task: str, data: Path, out: Path) -> Sequence[AnswerRecord]:
    """Run a policy on a benchmark unless its run stands, and return its answers."""
    folder = out / f"{name}-{task}"
    return run_policy(task, "learnt-llava", POLICIES[name], data / task, folder, TASKS[task]).answers


def kind_of(answer: AnswerRecord) -> str | None:
    """Return the kind of a question, ``None`` for one of no kind that was trained."""
    if (task := answer.tags.get("task", "")) in _OVO_KINDS:
        return _OVO_KINDS[task]
    return next((kind for text, kind in QUESTION_OF.items() if text in (answer.prompt or "")), None)


def match_of(answer: AnswerRecord) -> int:
    """Return the number of a match in its data set; intervals are clustered by it, whatever a benchmark calls it.

    StreamingBench counts its videos from 1, the others name them by the match's seed.
    """
    number = int(re.findall(r"\d+", answer.cluster or answer.sample)[0])
    return number - 1 if number < _SEEDS_APART else number % _SEEDS_APART


def cell(found: Sequence[AnswerRecord]) -> str:
    """Return the share of right answers with its interval."""
    if not found:
        return "–"
    right = [float((one.parsed or "").lower() == (one.gold or "").lower()) for one in found]
    mean = mean_by_cluster(right, [str(match_of(one)) for one in found])
    ends = "" if mean.low is None or mean.high is None else f" [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"
    return f"{100 * mean.value:.1f}{ends}"


def table(runs: Mapping[str, Sequence[AnswerRecord]], kinds: Iterable[str]) -> list[str]:
    """Return a table of right answers by policy and kind."""
    kinds = list(kinds)
    lines = [f"| policy | all choices | {' | '.join(kinds)} |", "|---" * (len(kinds) + 2) + "|"]
    for name, found in runs.items():
        by_kind = {kind: [one for one in found if kind_of(one) == kind] for kind in kinds}
        choices = [one for kind in ASKED if kind in by_kind for one in by_kind[kind] if kind != "never"]
        cells = [cell(choices), *(cell(by_kind[kind]) for kind in kinds)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    counts = [sum(kind_of(one) == kind for one in next(iter(runs.values()))) for kind in kinds]
    lines.append(f"| n | | {' | '.join(map(str, counts))} |")
    return lines


def main() -> None:
    """Run what is asked for and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--matches", type=int, default=24)
    parser.add_argument("--minutes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--only", help=f"policies, comma between; of {', '.join(POLICIES)}")
    parser.add_argument("--tasks", default="ovobench,streamingbench", help=f"of {', '.join(TASKS)}")
    args = parser.parse_args()
    tasks = args.tasks.split(",")
    for task in tasks:
        task_named(task).make_demo(args.out / "data" / task, DemoSize(args.matches, 60 * args.minutes, args.seed))
    runs: dict[str, list[AnswerRecord]] = {}
    for name in args.only.split(",") if args.only else POLICIES:
        runs[name] = [one for task in tasks for one in answers(name, task, args.out / "data", args.out)]
    print("\n".join(table(runs, KINDS)))


if __name__ == "__main__":
    main()

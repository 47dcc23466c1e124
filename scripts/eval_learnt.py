"""Measure the checkpoint `learnt` free running on held-out streams, policy by policy, and print Markdown tables.

    python scripts/eval_learnt.py --out runs/learnt [--matches 12] [--minutes 10] [--seed 700] [--only full]

Matches of `evalkit data demo` have seeds below 2**20 and those of the training above it. A policy whose run stands
in the folder already is read from there.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evalkit.records import Metric, RunRecords, read_run
from evalkit.run import RunOptions, make_plan
from evalkit.run.finish import finish_run
from evalkit.run.runner import execute
from evalkit.tasks import DemoSize
from evalkit.tasks.catalog import task_named

FACTS = ("sight", "venue", "kept", "added", "board", "scorer", "score", "line")


@dataclass(frozen=True, slots=True)
class Policy:
    """A model of the catalog with settings.

    Args:
        model: Its name.
        settings: Settings where they differ from the checkpoint's.
        compress: Token compression.
    """

    model: str
    settings: Mapping[str, int | str] = field(default_factory=dict)
    compress: str | None = None


POLICIES = {
    "streamingvlm": Policy("streamingvlm"),
    "full": Policy("full"),
    "chunks-24s": Policy("sliding-chunked"),
    "chunks-100s": Policy("sliding-chunked", {"memory.seconds": 100}),
    "sliding": Policy("sliding"),
    "no-sink": Policy("streamingvlm", {"memory.text_sink": 0}),
    "no-text-window": Policy("streamingvlm", {"memory.text_window": 0}),
    "native-positions": Policy("streamingvlm", {"memory.positions": "native"}),
    "window-1s": Policy("streamingvlm", {"memory.vision_window": 1}),
    "window-4s": Policy("streamingvlm", {"memory.vision_window": 4}),
    "window-8s": Policy("streamingvlm", {"memory.vision_window": 8}),
    "window-32s": Policy("streamingvlm", {"memory.vision_window": 32}),
    "pruned-50": Policy("streamingvlm", compress="pruner(pruned=0.5,strategy=dual-anchor)"),
    "pruned-70": Policy("streamingvlm", compress="pruner(pruned=0.7,strategy=dual-anchor)"),
    "pruned-95": Policy("streamingvlm", compress="pruner(pruned=0.95,strategy=dual-anchor)"),
    "cached-half": Policy("streamingvlm", compress="cacher(interval=2,reuse=0.5,variant=stc-paper)"),
    "cached-n2": Policy("streamingvlm", compress="cacher(interval=2,reuse=0.75,variant=stc-paper)"),
    "cached-n16": Policy("streamingvlm", compress="cacher(interval=16,reuse=0.95,variant=stc-paper)"),
    "stc": Policy("streamingvlm", compress="stc"),
}
"""Policies by name: five to compare, then the ablations of StreamingVLM's Table 4, then what compression costs."""


def run_policy(
    task: str, checkpoint: str, policy: Policy, data: Path, folder: Path, settings: Mapping[str, int | str] = {}
) -> RunRecords:
    """Run a policy unless its run stands, and return what is on record of it.

    Args:
        task: What is asked of it.
        checkpoint: Weights.
        policy: The policy.
        data: The task's data.
        folder: Run folder.
        settings: Further settings.
    """
    if not (folder / "metrics.json").is_file():
        options = RunOptions(
            task=task,
            model=policy.model,
            data=str(data),
            checkpoint=checkpoint,
            out=str(folder),
            device="cpu",
            settings=dict(settings) | dict(policy.settings),
            compress=policy.compress,
        )
        execute(make_plan(options), print)
        finish_run(folder)
    return read_run(folder, ticks=False)


def measure(name: str, policy: Policy, data: Path, out: Path) -> Sequence[Metric]:
    """Run a policy unless its run stands, and return its figures."""
    found = run_policy("inf-streams", "learnt", policy, data, out / name).metrics
    return () if found is None else found.metrics


def cell(metric: Metric | None) -> str:
    """Return a figure with its interval and n."""
    if metric is None or metric.value is None:
        return "–"
    ends = "" if metric.low is None or metric.high is None else f" [{metric.low:.1f}, {metric.high:.1f}]"
    return f"{metric.value:.1f}{ends}"


def table(runs: Mapping[str, Sequence[Metric]], group: str) -> list[str]:
    """Return a table of all facts by policy for one group of metrics."""
    head = f"| policy | {' | '.join(FACTS)} | p50 / p95 ms | tokens p50 |"
    lines = [head, "|---" * (len(FACTS) + 3) + "|"]
    for name, metrics in runs.items():
        by_key = {(metric.name, metric.group): metric for metric in metrics}
        cells = [cell(by_key.get((f"demo.{fact}", group))) for fact in FACTS]
        p50, p95 = (by_key.get(("latency_per_second", part)) for part in ("p50", "p95"))
        tokens = by_key.get(("cache_tokens", "p50"))
        times = " / ".join("–" if m is None or m.value is None else f"{1000 * m.value:.0f}" for m in (p50, p95))
        held = "–" if tokens is None or tokens.value is None else f"{tokens.value:.0f}"
        lines.append(f"| {name} | {' | '.join(cells)} | {times} | {held} |")
    return lines


def minutes(runs: Mapping[str, Sequence[Metric]], fact: str) -> list[str]:
    """Return a table of one fact by minute of the stream."""
    found = {
        name: {m.group: m for m in metrics if m.name == f"demo.{fact}" and m.group}
        for name, metrics in runs.items()
    }
    groups = sorted({group for rows in found.values() for group in rows}, key=lambda group: int(group.split()[1]))
    lines = [
        f"| {fact}, minute | {' | '.join(group.split()[1] for group in groups)} |",
        "|---" * (len(groups) + 1) + "|",
    ]
    for name, rows in found.items():
        values = [rows[group].value if group in rows else None for group in groups]
        lines.append(f"| {name} | {' | '.join('–' if value is None else f'{value:.0f}' for value in values)} |")
    return lines


def main() -> None:
    """Run what is asked for and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="data of evalkit data demo; made below --out by default")
    parser.add_argument("--matches", type=int, default=12)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--seed", type=int, default=700)
    parser.add_argument("--only", help=f"policies, comma between; of {', '.join(POLICIES)}")
    args = parser.parse_args()
    data = args.data or args.out / "data"
    if args.data is None:
        task_named("inf-streams").make_demo(data, DemoSize(args.matches, 60 * args.minutes, args.seed))
    names = args.only.split(",") if args.only else list(POLICIES)
    runs = {name: measure(name, POLICIES[name], data, args.out) for name in names}
    print("\n".join(table(runs, "")))
    for fact in ("sight", "venue", "kept", "score"):
        print("\n" + "\n".join(minutes(runs, fact)))


if __name__ == "__main__":
    main()

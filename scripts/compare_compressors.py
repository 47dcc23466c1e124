#!/usr/bin/env python3
"""Runs ReKV alone and under each compressor of STC's table, and prints them beside each other, paired with ReKV.

    python scripts/compare_compressors.py --task ovobench --data demo --checkpoint tiny-llava --out runs/stc-table

Other models, rows and scores: --model, --row NAME=COMPRESSION (the first is the one others are held to), --metric.

The runs are those of `evalkit lab`, which takes each second of a video through all of them in turn, so that they
meet the same load of the machine. Interrupted, the same command goes on. Written beside the runs: the table as
Markdown, LaTeX and CSV, and without --metric the Pareto plot of score against time.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.cli.main import main as evalkit
from evalkit.errors import EvalkitError, UsageError
from evalkit.leaderboard.compare import compare_runs
from evalkit.models.checkpoints import BUILT_IN
from evalkit.records import RunRecords, read_run, write_atomic
from evalkit.report import to_csv, to_latex, to_markdown
from evalkit.report.plots import plot_runs
from evalkit.report.scores import scaled
from evalkit.report.tables import Cell, Column, Estimate, Table
from evalkit.stats import holm

#: Rows of STC's table (arXiv 2512.00891, 49 of 196 tokens kept) as evalkit names them; DyCoke has no row there.
COMPARED: Mapping[str, str] = {
    "ReKV": "none",
    "+ ToMe": "tome-49",
    "+ VisionZip": "visionzip-49",
    "+ VidCom2": "vidcom2-25",
    "+ DyCoke": "dycoke-ttm-70",
    "+ STC-Pruner": "stc-pruner-75",
    "+ STC": "stc",
}
ACCURACY = ("strict", "official")


@dataclass(frozen=True, slots=True)
class Method:
    """A finished run and what it is called.

    Args:
        name: Its row.
        records: What it left.
    """

    name: str
    records: RunRecords

    def score(self, wanted: str) -> Estimate | None:
        """Return a score over all questions in per cent.

        Args:
            wanted: ``strict`` or ``official`` accuracy, or the name of a metric.
        """
        metrics = () if self.records.metrics is None else self.records.metrics.metrics
        for metric in metrics:
            found = (
                metric.score == wanted and metric.name == "total" if wanted in ACCURACY else metric.name == wanted
            )
            if found and not metric.group:
                return scaled(metric)[0]
        return None

    def milliseconds(self, *stages: str) -> float:
        """Return the mean milliseconds that some stages take of a second with frames."""
        ticks = [tick for tick in self.records.ticks if tick.frames]
        return 1000 * statistics.fmean(sum(getattr(tick.stages, stage) for stage in stages) for tick in ticks)

    @property
    def tokens_in(self) -> float:
        """Vision tokens that enter the language model in a second with frames, mean."""
        return statistics.fmean(tick.tokens_in.get("vision", 0) for tick in self.records.ticks if tick.frames)

    @property
    def tokens_held(self) -> int:
        """Tokens that stand in memory at most."""
        return max(sum(tick.kept.values()) for tick in self.records.ticks)

    @property
    def decoded(self) -> float | None:
        """Tokens decoded a second, over all replies of two tokens or more."""
        said = [*self.records.answers, *self.records.ticks]
        spans = [one.token_times for one in said if len(one.token_times) > 1]
        spent = sum(times[-1] - times[0] for times in spans)
        return sum(len(times) - 1 for times in spans) / spent if spent else None

    @property
    def first_token(self) -> float | None:
        """Milliseconds from a question, or a second's frames, to the first token, median."""
        asked = [
            a.first_token for a in self.records.answers if a.first_token is not None and a.kind != "narration"
        ]
        times = asked or [tick.first_token for tick in self.records.ticks if tick.first_token is not None]
        return 1000 * statistics.median(times) if times else None


def lab_words(args: argparse.Namespace, specs: Sequence[str]) -> list[str]:
    """Return the command line of the runs."""
    words = [
        "lab",
        "--task",
        args.task,
        "--data",
        args.data,
        "--models",
        args.model,
        "--checkpoint",
        args.checkpoint,
    ]
    for spec in specs:
        words += ["--compress", spec]
    words += [word for setting in args.set for word in ("--set", setting)]
    words += ["--limit", str(args.limit)] if args.limit else []
    words += ["--resume"] if (args.out / "lab.json").exists() else []
    return [*words, "--out", str(args.out)]


def find_runs(out: Path, compared: Mapping[str, str]) -> list[Method]:
    """Return the finished runs below a folder, in the order asked for.

    Raises:
        UsageError: One of them is not there.
    """
    from evalkit.compress import parse_compression

    found = {
        str(one.manifest.fingerprint.get("model.compress")): one
        for one in (read_run(path.parent) for path in sorted(out.glob("*/run.json")))
        if one.manifest.status == "done"
    }
    methods = []
    for name, spec in compared.items():
        canonical = parse_compression(spec).canonical()
        if canonical not in found:
            raise UsageError(f"no finished run of {name} ({canonical}) below {out}")
        methods.append(Method(name, found[canonical]))
    return methods


def method_table(methods: Sequence[Method], per_token: int | None, metric: str | None = None) -> Table:
    """Return the comparison; the first method is the one others are held to.

    Args:
        methods: Finished runs of one task.
        per_token: Bytes of keys and values that a token takes in all layers.
        metric: What is compared; the benchmark's accuracy, strict and official, without.
    """
    scores = ACCURACY if metric is None else (metric,)
    columns = (
        Column("Method", text=True),
        *(Column(name.capitalize() if metric is None else name, "%", 1, interval=True) for name in scores),
        Column(f"minus {methods[0].name}", "points", 1, interval=True),
        Column("p Holm", digits=3),
        Column("Vision encode", "ms", 1),
        Column("Compress", "ms", 2),
        Column("Prefill", "ms", 1),
        Column("First token", "ms", 0),
        Column("Tokens in", "1/s", 0),
        Column("Decoded", "1/s", 0),
        Column("Held", "tokens", 0),
        Column("Keys and values", "MiB", 2),
    )
    host, *others = methods
    pairs = [compare_runs({one.name: one.records, host.name: host.records}, metric=metric) for one in others]
    p_values = holm([pair.rows[0].paired.permutation_p for pair in pairs])
    paired: dict[str, tuple[Estimate | None, Cell]] = {host.name: (None, None)}
    for one, pair, p in zip(others, pairs, p_values, strict=True):
        row = pair.rows[0].paired
        scaled = (None if part is None else 100 * part for part in (row.difference, row.low, row.high))
        paired[one.name] = Estimate(*scaled), p
    rows: list[tuple[Cell, ...]] = []
    for one in methods:
        rows.append(
            (
                one.name,
                *(one.score(name) for name in scores),
                *paired[one.name],
                one.milliseconds("vision_encode"),
                one.milliseconds("compress"),
                one.milliseconds("prefill"),
                one.first_token,
                one.tokens_in,
                one.decoded,
                one.tokens_held,
                None if per_token is None else one.tokens_held * per_token / 2**20,
            )
        )
    compression = {one.name: one.records.manifest.fingerprint["model.compress"] for one in others}
    notes = (
        f"n = {pairs[0].n} {pairs[0].unit} on {pairs[0].clusters} videos; differences are paired and clustered by "
        f"video, with 95 % intervals; p flips the signs of whole videos, Holm over the {len(pairs)} rows.",
        "Milliseconds: mean of a second with frames; first token: median from the question or the frames. Held: "
        "tokens in memory at most, in every layer.",
        *(f"{name}: {text}" for name, text in compression.items()),
        *(line for one in methods for line in one.records.manifest.warnings),
    )
    manifest = host.records.manifest
    caption = f"{manifest.task}, {manifest.model} on {manifest.fingerprint['model.checkpoint']}, compressed"
    return Table(caption, columns, tuple(rows), notes, "compressors")


def bytes_per_token(checkpoint: str) -> int | None:
    """Return the bytes of keys and values of a token in all layers, where the checkpoint is on this machine."""
    from evalkit.models.load import LoadRequest, load_backbone

    if checkpoint not in BUILT_IN and not Path(checkpoint).is_dir():
        return None
    backbone = load_backbone(LoadRequest(checkpoint, device="cpu"))
    text = backbone.network.config.get_text_config()
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * text.num_key_value_heads * width * backbone.dtype.itemsize)


def _row(text: str) -> tuple[str, str]:
    name, equals, spec = text.partition("=")
    if not equals or not name or not spec:
        raise UsageError(f"--row is NAME=COMPRESSION, not {text!r}")
    return name, spec


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; exit codes are those of evalkit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--task", default="ovobench")
    parser.add_argument("--data", default="demo")
    parser.add_argument("--checkpoint", default="tiny-llava")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="setting of every run")
    parser.add_argument("--limit", type=int, help="samples of every run")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs; with runs in it, they go on")
    parser.add_argument("--model", default="rekv", help="the host, whose name the first row has (default rekv)")
    parser.add_argument("--row", action="append", metavar="NAME=SPEC", help="rows in place of STC's (repeatable)")
    parser.add_argument("--metric", help="what is compared (default: accuracy, strict and official)")
    args = parser.parse_args(arguments)
    try:
        compared = dict(COMPARED) if args.row is None else dict(_row(text) for text in args.row)
        code = evalkit(lab_words(args, list(compared.values())))
        if code:
            return code
        table = method_table(find_runs(args.out, compared), bytes_per_token(args.checkpoint), args.metric)
        for ending, render in (("md", to_markdown), ("tex", to_latex), ("csv", to_csv)):
            write_atomic(args.out / f"compressors.{ending}", render(table))
        runs = [one.records.folder.path for one in find_runs(args.out, compared)]
        if args.metric is None:  # the plot is of a benchmark's main score
            plot_runs(runs, "pareto", args.out / "plots")
        sys.stdout.write(to_markdown(table))
    except EvalkitError as error:
        sys.stderr.write(f"compare_compressors: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

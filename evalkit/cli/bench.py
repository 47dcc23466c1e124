"""Measure latency and memory per second on synthetic frames, model by model, or what compression saves; draw it.

The paper's efficiency figure: every model narrates the same frames and speaks the same number of tokens each
second; one that only answers is asked after every second and answers in as many. Latency per token is (vision
encode + prefill + generate) / tokens of that second. With --compress, one model sees a drifting picture (or
--video) with each specification and without any, second by second in turn, and answers a question after every
second: stage times, error of the features, agreement of answers.

With --sustain, the largest frame rate that each model keeps up with: doubled or halved from --fps, then bisected
to 0.25 fps, each rate accepted or refused over ten minutes of stream after the memory stopped growing. With
--sustain --streams, the largest number of streams at --fps that it keeps up with as one batch.
With --horizon, the stream time at which each model first falls behind, runs out of memory or degenerates.
"""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
import datetime
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.cli.main import EXIT_DONE, EXIT_FAILED_SAMPLES
from evalkit.cli.output import emit_json, note, say
from evalkit.errors import UsageError

if TYPE_CHECKING:
    from evalkit.bench.measure import BenchRequest
    from evalkit.report.tables import Table

_MODELS = "full,sliding,sliding-chunked,streamingvlm"
_SECONDS, _HORIZON = 120, 7200


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--models", help=f"models, separated by commas (default {_MODELS}; with --compress one, default full)"
    )
    parser.add_argument("--checkpoint", help="weights for all of them, such as tiny (default: each model's own)")
    parser.add_argument(
        "--seconds",
        type=int,
        help="length of the stream (default 120; with --sustain 1800, with --horizon 7200: the longest)",
    )
    parser.add_argument("--size", default="504x280", help="WIDTHxHEIGHT of the frames (default 504x280)")
    parser.add_argument("--fps", type=float, default=2.0, help="frames per second (default 2)")
    parser.add_argument("--tokens", type=int, default=20, help="tokens spoken per second (default 20)")
    parser.add_argument(
        "--free-length",
        action="store_true",
        help="let each second end where the model ends it, after at most --tokens (not with --compress)",
    )
    parser.add_argument("--previous-words", type=int, default=1100, help="words of previous text at the start")
    found = parser.add_mutually_exclusive_group()
    found.add_argument(
        "--sustain", action="store_true", help="find the largest frame rate kept up with; --fps is tried first"
    )
    parser.add_argument(
        "--streams",
        action="store_true",
        help="with --sustain: find the largest number of streams at --fps instead",
    )
    found.add_argument("--horizon", action="store_true", help="find the stream time at which each model fails")
    parser.add_argument(
        "--compress", metavar="SPEC[;SPEC...]", help="compare compression with none; specs as for evalkit run"
    )
    parser.add_argument("--video", metavar="FILE", help="with --compress: stream this video instead")
    parser.add_argument(
        "--repeats", type=int, default=3, help="with --compress: passes over the stream (default 3)"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    parser.add_argument("--attention", default="sdpa", help="attention kernel of transformers")
    parser.add_argument(
        "--decode-step",
        choices=("plain", "recorded"),
        default="plain",
        help="steps of one token: plain, or recorded once per stream (a CUDA graph); not with --compress",
    )
    parser.add_argument("--seed", type=int, default=42, help="seed of the frames")
    parser.add_argument("--out", metavar="DIR", help="folder for records and figure (default runs/bench/STARTED)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def run(args: argparse.Namespace) -> int:
    """Measure, print and draw."""
    args.seconds = _length(args)
    _check_numbers(args)
    out = _folder(args.out)
    if args.compress is not None and (args.sustain or args.horizon or args.free_length):
        raise UsageError("--compress measures by itself: leave --sustain, --horizon and --free-length out")
    if args.compress is not None:
        return _bench_compression(args, out)
    if args.video is not None:
        raise UsageError("--video goes with --compress; models are measured on synthetic frames")
    if args.streams and not args.sustain:
        raise UsageError("--streams goes with --sustain: it finds the largest number of streams kept up with")
    if args.sustain:
        return _bench_sustain(args, out)
    if args.horizon:
        return _bench_horizon(args, out)
    return _bench_models(args, out)


def _length(args: argparse.Namespace) -> int:
    """Return the length of the stream; one that no rate could be accepted in is refused.

    Raises:
        UsageError: It is too short for ``--sustain``.
    """
    if not args.sustain:
        return int((_HORIZON if args.horizon else _SECONDS) if args.seconds is None else args.seconds)
    from evalkit.bench.sustain import SustainRule

    rule = SustainRule()
    shortest = round(rule.least + rule.settle)
    if args.seconds is not None and args.seconds < shortest:
        raise UsageError(
            f"--sustain needs --seconds of at least {shortest}: {rule.least:g} s are measured after the memory "
            f"has not grown for {rule.settle:g} s"
        )
    return round(rule.most) if args.seconds is None else int(args.seconds)


def _check_numbers(args: argparse.Namespace) -> None:
    """Refuse what no stream can be made of, before anything is loaded or written."""
    from evalkit.stream import FrameSchedule

    if min(args.seconds, args.tokens, args.repeats) < 1:
        raise UsageError("bench needs --seconds, --tokens and --repeats of at least 1")
    for option, value in (("--seed", args.seed), ("--previous-words", args.previous_words)):
        if value < 0:
            raise UsageError(f"{option} must be 0 or more, not {value}")
    try:
        FrameSchedule(0, args.seconds, args.fps)
    except UsageError as error:
        raise UsageError(f"--fps {args.fps:g}: {error}") from error


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UsageError("--models names no model")
    if len(set(names)) < len(names):
        raise UsageError("--models names a model twice: each has one folder of records")
    return names


def _folder(named: str | None) -> Path:
    stamp = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    out = Path(named) if named else Path("runs") / "bench" / stamp
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"--out {out} exists and is not an empty folder")
    return out


def _bench_compression(args: argparse.Namespace, out: Path) -> int:
    from evalkit.bench.compression import CompressionRequest, compare_compression, compression_json
    from evalkit.records import write_atomic
    from evalkit.report import to_text
    from evalkit.report.compression import compression_table, plot_compression

    names = _names(args.models or "full")
    if len(names) > 1:
        raise UsageError("--compress compares specifications on one model: give --models one name")
    request = CompressionRequest(
        specs=tuple(spec.strip() for spec in args.compress.split(";")),
        model=names[0],
        checkpoint=args.checkpoint,
        seconds=args.seconds,
        size=_size(args.size),
        fps=args.fps,
        tokens=args.tokens,
        device=args.device,
        dtype=args.dtype,
        attention=args.attention,
        seed=args.seed,
        video=None if args.video is None else Path(args.video),
        repeats=args.repeats,
    )
    figures = compression_json(compare_compression(request))
    drawn = plot_compression(figures, out)
    write_atomic(out / "compression.json", json.dumps(figures, indent=1) + "\n")
    if args.json:
        emit_json({"compression": figures, "figures": [str(path) for path in drawn]})
    else:
        say(to_text(compression_table(figures)))
        say("figures: " + ", ".join(str(path) for path in drawn))
    return EXIT_DONE


def _request(args: argparse.Namespace) -> BenchRequest:
    from evalkit.bench.measure import BenchRequest

    return BenchRequest(
        models=_names(args.models or _MODELS),
        checkpoint=args.checkpoint,
        seconds=args.seconds,
        size=_size(args.size),
        fps=args.fps,
        tokens=args.tokens,
        previous_words=args.previous_words,
        device=args.device,
        dtype=args.dtype,
        attention=args.attention,
        decode_step=args.decode_step,
        seed=args.seed,
        exact=not args.free_length,
    )


def _bench_models(args: argparse.Namespace, out: Path) -> int:
    from evalkit.bench.policies import bench_json, bench_models
    from evalkit.cli.run import latency_report
    from evalkit.report import plot_runs

    folders = bench_models(_request(args), out)
    figures = bench_json(folders)
    drawn = plot_runs(folders, "latency", out)
    if args.json:
        emit_json(figures | {"figures": [str(path) for path in drawn]})
    else:
        say(latency_report(folders))
        say("figures: " + ", ".join(str(path) for path in drawn))
    failed = [name for name, model in figures["models"].items() if model["failed"]]
    for name in failed:
        note(
            f"{name} stopped after {figures['models'][name]['seconds']} s: {figures['models'][name]['failed'][0]}"
        )
    return EXIT_FAILED_SAMPLES if failed else EXIT_DONE


def _bench_sustain(args: argparse.Namespace, out: Path) -> int:
    from evalkit.bench.crowd import measure_crowd
    from evalkit.bench.rates import measure_rates
    from evalkit.bench.sustain import SustainRule, sustain_json, sustain_table

    rule = SustainRule(most=float(args.seconds))
    measure, unit = (measure_crowd, f"streams at {args.fps:g} fps") if args.streams else (measure_rates, "fps")
    found = measure(_request(args), rule, out)
    _tell(sustain_table(found, rule, unit), sustain_json(found, rule), out, as_json=args.json)
    return EXIT_DONE


def _bench_horizon(args: argparse.Namespace, out: Path) -> int:
    from evalkit.bench.horizon import horizon_json, horizon_table, measure_horizon

    request = _request(args)
    found = measure_horizon(request, out)
    _tell(horizon_table(found, request), horizon_json(found), out, as_json=args.json)
    return EXIT_DONE


def _tell(table: Table, figures: dict[str, Any], out: Path, *, as_json: bool) -> None:
    """Print a table or its figures, and write both beside the records."""
    from evalkit.records import write_atomic
    from evalkit.report.table_files import write_table
    from evalkit.report.tables import to_text

    write_table(table, out)
    write_atomic(out / f"{table.label}.json", json.dumps(figures, indent=1) + "\n")
    if as_json:
        emit_json(figures)
    else:
        say(to_text(table))
        say(f"table and records: {out}")


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"--size wants WIDTHxHEIGHT in pixels, such as 504x280, not {text!r}")
    if int(width) % 28 or int(height) % 28:
        raise UsageError(f"--size {text}: both sides must be multiples of 28 pixels")
    return int(width), int(height)

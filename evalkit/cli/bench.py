"""Measure latency and memory per second on synthetic frames, model by model, or what compression saves; draw it.

The paper's efficiency figure: every model narrates the same frames and speaks the same number of tokens each
second. Latency per token is (vision encode + prefill + generate) / tokens of that second. With --compress, one
model sees a drifting picture (or --video) with each specification and without any, second by second in turn, and
answers a question after every second: stage times, error of the features, agreement of answers.
"""

from __future__ import annotations

__all__ = ["configure", "run"]

import argparse
import datetime
import json
from pathlib import Path

from evalkit.cli.main import EXIT_DONE, EXIT_FAILED_SAMPLES
from evalkit.cli.output import emit_json, note, say
from evalkit.errors import UsageError

_MODELS = "full,sliding,sliding-chunked,streamingvlm"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "--models", help=f"models, separated by commas (default {_MODELS}; with --compress one, default full)"
    )
    parser.add_argument("--checkpoint", help="weights for all of them, such as tiny (default: each model's own)")
    parser.add_argument("--seconds", type=int, default=120, help="length of the stream (default 120)")
    parser.add_argument("--size", default="504x280", help="WIDTHxHEIGHT of the frames (default 504x280)")
    parser.add_argument("--fps", type=float, default=2.0, help="frames per second (default 2)")
    parser.add_argument("--tokens", type=int, default=20, help="tokens spoken per second (default 20)")
    parser.add_argument("--previous-words", type=int, default=1100, help="words of previous text at the start")
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
    parser.add_argument("--seed", type=int, default=42, help="seed of the frames")
    parser.add_argument("--out", metavar="DIR", help="folder for records and figure (default runs/bench/STARTED)")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else on stdout")


def run(args: argparse.Namespace) -> int:
    """Measure, print and draw."""
    _check_numbers(args)
    out = _folder(args.out)
    if args.compress is not None:
        return _bench_compression(args, out)
    if args.video is not None:
        raise UsageError("--video goes with --compress; models are measured on synthetic frames")
    return _bench_models(args, out)


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


def _bench_models(args: argparse.Namespace, out: Path) -> int:
    from evalkit.bench.policies import BenchRequest, bench_json, bench_models
    from evalkit.cli.run import latency_report
    from evalkit.report import plot_runs

    request = BenchRequest(
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
        seed=args.seed,
    )
    folders = bench_models(request, out)
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


def _size(text: str) -> tuple[int, int]:
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise UsageError(f"--size wants WIDTHxHEIGHT in pixels, such as 504x280, not {text!r}")
    if int(width) % 28 or int(height) % 28:
        raise UsageError(f"--size {text}: both sides must be multiples of 28 pixels")
    return int(width), int(height)

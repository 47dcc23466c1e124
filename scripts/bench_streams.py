"""Compare several streams that advance together through one network with the same streams in turn, as a ratio.

Both sides are evalkit's own sessions over one network, on made-up frames; the sides take turns, part by part of
the stream, so that a noisy machine troubles them alike. Windows are filled before anything is measured.

    python scripts/bench_streams.py --streams 8                      # hidden 64, 3 layers, vocabulary 151,936
    python scripts/bench_streams.py --streams 8 --config cache       # hidden 512, 8 layers
    python scripts/bench_streams.py --streams 16 --alone 1 --config random-qwen2.5-vl-7b --device cuda
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from bench_second import CONFIGS, network_of

from evalkit.memory import StreamingVLM
from evalkit.models.backbone import Backbone
from evalkit.models.cached import CachedModel
from evalkit.models.checkpoints import RANDOM
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.protocol import SessionRequest, StreamSession
from evalkit.models.qwen_vl import QwenVL
from evalkit.models.settings import GenerationSettings
from evalkit.models.text import HuggingFaceText
from evalkit.models.tiny import tiny_tokenizer
from evalkit.stream import Chunk, FrameSchedule, Narration

WARM = 20
"""Seconds before anything is measured: StreamingVLM's windows are full after 16."""


def seconds_of(number: int, seconds: int, size: tuple[int, int]) -> list[Chunk]:
    """Return a stream of noise, another for each number."""
    width, height = size
    frames = np.random.default_rng(number).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    ticks = FrameSchedule(0, seconds, 2)
    return [Chunk(tick, frames, tick.frame_times, tick.frame_times, 0.0, 0.0) for tick in ticks]


def stages_of(seconds: list[dict[str, float]]) -> dict[str, float]:
    """Return the median milliseconds a stream spends in each stage of a second, waiting for others included."""
    return {
        stage: round(1000 * statistics.median(one[stage] for one in seconds), 2)
        for stage in seconds[0]
        if any(one[stage] for one in seconds)
    }


def backbone_of(args: argparse.Namespace) -> Backbone:
    """Return the network: a small one on the CPU, or a published shape on a device."""
    if args.config in RANDOM:
        return load_backbone(LoadRequest(args.config, args.device, decode_step=args.decode_step))
    backbone = QwenVL(network_of(CONFIGS[args.config]), HuggingFaceText(tiny_tokenizer()), name=args.config)
    if args.decode_step == "recorded":
        backbone.record_steps()
    return backbone


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--config", choices=(*CONFIGS, *RANDOM), default="overhead")
    parser.add_argument("--device", default="cpu", help="of a published shape")
    parser.add_argument("--decode-step", choices=("plain", "recorded"), default="plain")
    parser.add_argument("--alone", type=int, help="streams run in turn (default: all)")
    parser.add_argument("--seconds", type=int, default=12, help="seconds measured, after the windows filled")
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--size", default="504x280")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch threads")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    width, height = map(int, args.size.split("x"))
    backbone = backbone_of(args)
    generation = GenerationSettings(temperature=0, max_new_tokens=args.tokens, exact_tokens=True)
    alone = CachedModel("alone", backbone, StreamingVLM(), generation, "bench")
    group, together = alone.together()
    streams = [seconds_of(number, WARM + args.seconds, (width, height)) for number in range(args.streams)]

    def opened(model: CachedModel, count: int) -> list[StreamSession]:
        return [
            model.open(SessionRequest(str(number), 2.0, narration=Narration("Describe it.", "word " * 1100)))
            for number in range(count)
        ]

    singles = min(args.alone or args.streams, args.streams)
    in_turn, at_once = opened(alone, singles), opened(together, args.streams)
    said: dict[str, list[list[int]]] = {"turn": [[] for _ in in_turn], "together": [[] for _ in streams]}

    spent: dict[str, list[dict[str, float]]] = {"turn": [], "together": []}

    def speak(name: str, session: StreamSession, chunks: list[Chunk], into: list[int]) -> None:
        for chunk in chunks:
            spoken = session.speak(chunk)
            into += spoken.ids
            if chunk.tick.index >= WARM:
                spent[name].append(dict(spoken.step.stages))

    def timed(work: Callable[[], None]) -> tuple[float, float]:
        backbone.synchronise()
        began, busy = time.perf_counter(), time.process_time()
        work()
        backbone.synchronise()
        return time.perf_counter() - began, time.process_time() - busy

    def side(name: str, sessions: list[StreamSession], part: slice) -> list[Callable[[], None]]:
        return [
            partial(speak, name, session, chunks[part], said[name][number])
            for number, (session, chunks) in enumerate(zip(sessions, streams, strict=False))
        ]

    def turn(part: slice) -> None:
        for job in side("turn", in_turn, part):
            job()

    def batch(part: slice) -> None:
        group.run(side("together", at_once, part), args.streams)

    parts = [slice(0, WARM), *(slice(start, start + 2) for start in range(WARM, WARM + args.seconds, 2))]
    times = [(timed(partial(turn, part)), timed(partial(batch, part))) for part in parts][1:]
    wall, busy = ([(one[clock], other[clock]) for one, other in times] for clock in (0, 1))
    share = singles / args.streams
    result = {
        "config": args.config,
        "streams": args.streams,
        "torch_threads": torch.get_num_threads(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        "in_turn_s": round(sum(one for one, _ in wall), 3),
        "together_s": round(sum(other for _, other in wall), 3),
        "ratio": round(statistics.median(share * other / one for one, other in wall), 4),
        "ratio_by_cpu": round(statistics.median(share * other / one for one, other in busy), 4),
        "times_one": round(statistics.median(singles * other / one for one, other in wall), 4),
        "stages_ms": {name: stages_of(seconds) for name, seconds in spent.items()},
        "same_words": said["turn"] == said["together"][:singles],
        "device": str(backbone.device),
        "decode_step": args.decode_step,
        "refused": list(backbone.warnings),
        "load": round(os.getloadavg()[0], 1),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()

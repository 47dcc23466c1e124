"""Measure what STC saves on this machine and print one JSON object of ratios.

Three measurements, all with random weights in real shapes: the cacher on a SigLIP tower (hidden 1152, 16 heads,
729 tokens), the cacher on a Qwen2.5-VL tower, and prefill with and without the pruner on a Qwen2 text stack.
The times of a pair are taken back to back in one run, and the median of their ratios is given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, Qwen2Config, Qwen2Model, SiglipVisionConfig, SiglipVisionModel
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLVisionConfig
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from evalkit.compress import (
    CacherSettings,
    EncodingComparison,
    Pruner,
    PrunerSettings,
    QwenVisionCacher,
    SiglipCacher,
    compare_encoding,
)

Clock = Callable[[], float]
Compare = Callable[[SiglipCacher | QwenVisionCacher, list[tuple[Tensor, ...]]], EncodingComparison]
TimeSteps = Callable[[list[Callable[[], object]], torch.device], list[list[float]]]


def main() -> None:
    """Run the measurements chosen on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--layers", type=int, default=4, help="encoder and text layers")
    parser.add_argument("--frames", type=int, default=8, help="frames of the encoded stream")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--text", default="896,14,2,4864", help="text hidden,heads,kv heads,MLP size")
    parser.add_argument(
        "--clock", default="wall", choices=("wall", "cpu"), help="cpu: CPU time, for a machine that others use"
    )
    parser.add_argument("--threads", type=int, help="torch threads; take 1 with --clock cpu")
    parser.add_argument("--only", choices=("siglip", "qwen", "prefill"))
    args = parser.parse_args()
    torch.manual_seed(0)
    if args.threads:
        torch.set_num_threads(args.threads)
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    place = {"device": torch.device(args.device), "dtype": getattr(torch, args.dtype)}
    result: dict[str, Any] = {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": args.device,
        "dtype": args.dtype,
        "layers": args.layers,
        "repeats": args.repeats,
        "clock": args.clock,
    }
    if args.only in (None, "siglip"):
        result["siglip"] = siglip(args.layers, args.frames, place, partial(timed, args.repeats, clock))
    if args.only in (None, "qwen"):
        result["qwen_vision"] = qwen_vision(args.layers, args.frames, place, partial(timed, args.repeats, clock))
    if args.only in (None, "prefill"):
        result["prefill"] = prefill(args.layers, args.text, place, partial(interleaved, args.repeats, clock))
    print(json.dumps(result, indent=2))


def drifting_frames(frames: int, shape: tuple[int, ...], place: dict[str, Any]) -> Tensor:
    """Return a stream whose neighbouring frames are alike: a random walk of noise."""
    noise = torch.randn((frames, *shape), generator=torch.Generator().manual_seed(1))
    return noise.mul_(0.3).cumsum_(0).to(**place)


def timed(
    repeats: int, clock: Clock, cacher: SiglipCacher | QwenVisionCacher, chunks: list[tuple[Tensor, ...]]
) -> EncodingComparison:
    """Compare one cacher on one stream."""
    return compare_encoding(cacher, chunks, repeats, clock)


def siglip(layers: int, frames: int, place: dict[str, Any], compare: Compare) -> list[dict[str, Any]]:
    """Measure the cacher on SigLIP-so400m's shape at the given depth."""
    config = SiglipVisionConfig(
        hidden_size=1152,
        intermediate_size=4304,
        num_hidden_layers=layers,
        num_attention_heads=16,
        image_size=384,
        patch_size=14,
        vision_use_head=False,
    )
    tower = SiglipVisionModel(config).eval().to(**place)
    pixels = drifting_frames(frames, (3, 384, 384), place)
    rows = []
    for settings in cacher_settings():
        cacher = SiglipCacher(tower, settings)
        chunks: list[tuple[Tensor, ...]] = [(frame.unsqueeze(0),) for frame in pixels]
        rows.append(row(settings, compare(cacher, chunks)))
    return rows


def qwen_vision(layers: int, frames: int, place: dict[str, Any], compare: Compare) -> list[dict[str, Any]]:
    """Measure the cacher on Qwen2.5-VL-7B's tower shape at the given depth, full attention in the last layer."""
    config = Qwen2_5_VLVisionConfig(
        depth=layers,
        hidden_size=1280,
        intermediate_size=3420,
        num_heads=16,
        out_hidden_size=3584,
        fullatt_block_indexes=[layers - 1],
    )
    tower = Qwen2_5_VisionTransformerPretrainedModel(config).eval().to(**place)
    grid = torch.tensor([[1, 26, 46]], device=place["device"])
    pixels = drifting_frames(frames, (26 * 46, 1176), place)
    chunks: list[tuple[Tensor, ...]] = [(frame, grid) for frame in pixels]
    return [row(s, compare(QwenVisionCacher(tower, s), chunks)) for s in cacher_settings()[:2]]


def cacher_settings() -> list[CacherSettings]:
    """Return the paper's two intervals at 75 % reused, and two other shares."""
    return [CacherSettings(interval=n, reuse=r) for n, r in ((4, 0.75), (2, 0.75), (4, 0.5), (4, 0.85))]


def row(settings: CacherSettings, result: EncodingComparison) -> dict[str, Any]:
    """Return one line of the table."""
    full = statistics.median(chunk.full_seconds for chunk in result.chunks)
    return {
        "interval": settings.interval,
        "reuse": settings.reuse,
        "between_references": round(result.between_references or 1.0, 4),
        "saved": round(result.saved, 4),
        "relative_error": round(result.relative_error, 4),
        "reused_share": round(result.reused_share, 4),
        "full_frame_seconds": round(full, 5),
    }


def prefill(layers: int, text: str, place: dict[str, Any], time_steps: TimeSteps) -> dict[str, Any]:
    """Measure the prefill of 32 frames of 196 tokens against 60 kept of each, and the pruner's own time."""
    hidden, heads, kv_heads, inner = (int(part) for part in text.split(","))
    config = Qwen2Config(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        intermediate_size=inner,
        vocab_size=256,
    )
    model = Qwen2Model(config).eval().to(**place)
    features = drifting_frames(32, (196, hidden), place)
    pruner = Pruner(PrunerSettings(keep=60))
    state = pruner.new_state()
    rows = torch.cat([pruner.prune(frame[None], state).rows() + 196 * i for i, frame in enumerate(features)])
    everything = features.reshape(1, -1, hidden)
    some = everything[:, rows]

    def prune_stream() -> None:
        memory = pruner.new_state()
        for frame in features:
            pruner.prune(frame[None], memory)

    def run(embeds: Tensor, positions: Tensor) -> Callable[[], object]:
        return lambda: model(inputs_embeds=embeds, position_ids=positions[None], use_cache=True)

    def stream(tokens: int) -> Callable[[], object]:
        def append_frame_by_frame() -> None:
            cache = DynamicCache(config=config)
            for frame in features:
                model(inputs_embeds=frame[None, :tokens], past_key_values=cache, use_cache=True)

        return append_frame_by_frame

    steps = [
        run(everything, torch.arange(32 * 196, device=place["device"])),
        run(some, rows),
        stream(196),
        stream(60),
        prune_stream,
    ]
    with torch.no_grad():
        return prefill_figures(time_steps(steps, place["device"]))


def prefill_figures(turns: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Return the ratios of what `prefill` timed: whole, kept, whole and kept frame by frame, pruner; per turn."""
    ratio, streamed_ratio, share, streamed_share = (
        statistics.median(values)
        for values in zip(
            *((b / a, d / c, e / (a - b), e / (c - d)) for a, b, c, d, e in turns),
            strict=True,
        )
    )
    return {
        "frames": 32,
        "tokens": 196,
        "kept": 60,
        "prefill_ratio": round(ratio, 4),
        "pruner_share_of_saved": round(share, 4),
        "frame_by_frame_ratio": round(streamed_ratio, 4),
        "frame_by_frame_pruner_share_of_saved": round(streamed_share, 4),
        "full_seconds": round(statistics.median(turn[0] for turn in turns), 4),
        "pruner_seconds": round(statistics.median(turn[4] for turn in turns), 5),
    }


def interleaved(
    repeats: int, clock: Clock, steps: list[Callable[[], object]], device: torch.device
) -> list[list[float]]:
    """Return the seconds of each step, turn by turn, after one untimed turn."""
    turns: list[list[float]] = []
    for _ in range(repeats + 1):
        taken = []
        for step in steps:
            start = settled(clock, device)
            step()
            taken.append(settled(clock, device) - start)
        turns.append(taken)
    return turns[1:]


def settled(clock: Clock, device: torch.device) -> float:
    """Return the time once the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock()


if __name__ == "__main__":
    main()

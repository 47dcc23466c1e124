"""Measure what each compressor of tokens saves in prefill against what its kept share promises, and its own cost.

Random weights in real shapes: 32 frames of 196 tokens on a Qwen2 text stack, all at once and frame by frame onto
the cache, and one layer of SigLIP's for what is asked of the tower. ToMe is also timed inside a whole tower.
The times of a turn are taken back to back and the medians of their ratios are given, as one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from bench_compress import drifting_frames, interleaved
from torch import Tensor
from transformers import DynamicCache, Qwen2Config, Qwen2Model, SiglipVisionConfig, SiglipVisionModel

from evalkit.compress import NoState, SideProducts, parse_compression
from evalkit.compress.visionzip import pool_map
from evalkit.models.side_products import watch_siglip_layer

FRAMES, TOKENS, GRID = 32, 196, 27
SPECS = (
    "stc-pruner-60", "stc-pruner-75", "visionzip-49", "visionzip-49-dominant", "vidcom2-25", "vidcom2(scope=call)",
    "dycoke-ttm-70", "frame-stride(every=4)", "stc-dart", "stc-visionzip",
)  # fmt: skip
"""Presets and settings of the papers; ToMe's 49 tokens of a frame are prefilled as VisionZip's are."""

Step = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Lane:
    """A compressor on the stream.

    Args:
        spec: As ``--compress`` says it.
        counts: Tokens it keeps of each frame.
        own: Does all that it does on the stream: what it asks of the tower, and the choice.
    """

    spec: str
    counts: tuple[int, ...]
    own: Step


def main() -> None:
    """Run the measurements chosen on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--layers", type=int, default=4, help="text layers")
    parser.add_argument("--vision-layers", type=int, default=26, help="layers of the tower that ToMe is timed in")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--text", default="896,14,2,4864", help="text hidden,heads,kv heads,MLP size")
    parser.add_argument("--clock", default="cpu", choices=("wall", "cpu"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=("prefill", "tome"))
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    place = {"device": torch.device(args.device), "dtype": getattr(torch, args.dtype)}
    time_steps = partial(interleaved, args.repeats, clock)
    result: dict[str, Any] = {"torch": torch.__version__, **vars(args)}
    with torch.no_grad():
        if args.only in (None, "prefill"):
            result["prefill"] = prefill(args.layers, args.text, place, time_steps)
        if args.only in (None, "tome"):
            result["tome"] = tome(args.vision_layers, place, time_steps)
    print(json.dumps(result, indent=2))


def siglip(layers: int, place: dict[str, Any]) -> SiglipVisionModel:
    """Return a tower of SigLIP-so400m's width."""
    config = SiglipVisionConfig(
        hidden_size=1152,
        intermediate_size=4304,
        num_hidden_layers=layers,
        num_attention_heads=16,
        image_size=384,
        patch_size=14,
        vision_use_head=False,
    )
    return SiglipVisionModel(config).eval().to(**place)


def lanes(hidden: int, place: dict[str, Any]) -> list[Lane]:
    """Return every compressor with what it keeps of a drifting stream, which enters it frame by frame."""
    features = drifting_frames(FRAMES, (TOKENS, hidden), place)
    tower = siglip(1, place)
    pixels = drifting_frames(1, (3, 384, 384), place)
    attention: Any = tower.encoder.layers[0].self_attn
    with watch_siglip_layer(attention, partial(pool_map, grid=GRID)) as watched:
        tower(pixels)
    found = []
    for spec in SPECS:
        (part,) = parse_compression(spec).parts
        built = part.kind.build(part.settings)
        step = FRAMES if "scope=call" in spec else 1
        own = partial(_on_stream, built, features, step, watched if part.kind.needs else None)
        rows = own()
        counts = torch.bincount(rows // TOKENS, minlength=FRAMES).tolist()
        found.append(Lane(spec, tuple(counts), own))
    return found


def _on_stream(built: Any, features: Tensor, step: int, watched: Callable[[Any], SideProducts] | None) -> Tensor:
    state, kept = built.new_state(), []
    for start in range(0, FRAMES, step):
        side = () if watched is None else (watched(None),)
        rows = built.prune(features[start : start + step], state, *side).rows()
        kept.append(rows + start * TOKENS)
    return torch.cat(kept)


def prefill(layers: int, text: str, place: dict[str, Any], time_steps: Any) -> dict[str, Any]:
    """Measure the prefill of what each compressor keeps against that of everything."""
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
    everything = drifting_frames(1, (FRAMES * TOKENS, hidden), place)
    measured = lanes(hidden, place)
    whole = (TOKENS,) * FRAMES
    patterns = list(dict.fromkeys([whole, *(lane.counts for lane in measured)]))  # values do not matter to time

    def at_once(counts: Sequence[int]) -> None:
        model(inputs_embeds=everything[:, : sum(counts)], use_cache=True)

    def by_frame(counts: Sequence[int]) -> None:
        cache = DynamicCache(config=config)
        for count in filter(None, counts):
            model(inputs_embeds=everything[:, :count], past_key_values=cache, use_cache=True)

    steps: list[Step] = [partial(way, counts) for way in (at_once, by_frame) for counts in patterns]
    steps += [lane.own for lane in measured]
    turns = time_steps(steps, place["device"])
    return {
        "frames": FRAMES,
        "tokens": TOKENS,
        "rows": [_row(lane, measured, patterns, turns) for lane in measured],
    }


def _row(
    lane: Lane, measured: Sequence[Lane], patterns: Sequence[tuple[int, ...]], turns: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """Return a compressor's line: shares of the full prefill, and saved over promised."""
    kept = sum(lane.counts) / (FRAMES * TOKENS)
    place, many = patterns.index(lane.counts), len(patterns)
    own = 2 * many + measured.index(lane)
    once = statistics.median(turn[place] / turn[0] for turn in turns)
    streamed = statistics.median(turn[many + place] / turn[many] for turn in turns)
    return {
        "spec": lane.spec,
        "kept": round(kept, 4),
        "prefill_ratio": round(once, 4),
        "saved_over_promised": round((1 - once) / (1 - kept), 3),
        "frame_by_frame_ratio": round(streamed, 4),
        "frame_by_frame_saved_over_promised": round((1 - streamed) / (1 - kept), 3),
        "own_ms_a_frame": round(1000 * statistics.median(turn[own] for turn in turns) / FRAMES, 3),
        "own_over_saved": round(
            statistics.median(turn[own] / (turn[many] - turn[many + place]) for turn in turns), 4
        ),
    }


def tome(layers: int, place: dict[str, Any], time_steps: Any) -> list[dict[str, Any]]:
    """Measure a tower that merges against itself, frame by frame."""
    tower = siglip(layers, place)
    pixels = drifting_frames(1, (3, 384, 384), place)
    hosts = []
    for spec in ("tome-49", "tome(keep=49)", "tome(r=13)"):
        (part,) = parse_compression(spec).parts
        hosts.append((spec, part.kind.build(tower, part.settings)))
    plain: Step = partial(tower, pixels)
    turns = time_steps([plain, *(partial(host.encode, pixels, NoState()) for _, host in hosts)], place["device"])
    rows = []
    for number, (spec, host) in enumerate(hosts, start=1):
        encoded = host.encode(pixels, NoState())
        left = encoded.features.shape[1] if encoded.places is not None else TOKENS
        ratio = statistics.median(turn[number] / turn[0] for turn in turns)
        saved = encoded.report.reused_share
        if saved is None:  # the same schedule with the grid restored counts it
            saved = hosts[1][1].encode(pixels, NoState()).report.reused_share
        rows.append(
            {
                "spec": spec,
                "tokens_to_language_model": left,
                "encode_ratio": round(ratio, 4),
                "promised_ratio": round(1 - saved, 4),
                "saved_over_promised": round((1 - ratio) / saved, 3),
            }
        )
    return rows


if __name__ == "__main__":
    main()

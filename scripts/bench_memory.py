"""What memories that see tensors cost beside bare loops, as ratios within one run.

    python scripts/bench_memory.py --only infinipot   # a second beside streamingvlm's, as many tokens cached
    python scripts/bench_memory.py --only second      # ReKV reads a second beside a bare loop, the same window
    python scripts/bench_memory.py --only question    # ReKV answers after 600 s beside a prefill of as many tokens
    python scripts/bench_memory.py --only score       # 10,000 blocks scored in one layer

A text stack of hidden 512, 8 layers, 8 heads, 2 of keys and values, float32; 196 tokens a frame, ReKV's own window
(15,000) and 64 frames retrieved. Both sides alternate, so that a noisy machine troubles them alike.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from bench_second import CONFIGS, network_of
from transformers import DynamicCache, Qwen2Config, Qwen2ForCausalLM

from evalkit.memory import MemoryPolicy, StreamingVLM
from evalkit.memory.budgets import InfiniPotSettings
from evalkit.memory.rekv import StreamDecoder, best_blocks
from evalkit.memory.retrieval import ReKVSettings
from evalkit.memory.tensors import BlockQuery
from evalkit.models.cutting import CuttingSession
from evalkit.models.protocol import SessionRequest
from evalkit.models.qwen_vl import QwenVL
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.models.text import HuggingFaceText
from evalkit.models.tiny import tiny_tokenizer
from evalkit.stream import Chunk, FrameSchedule

FRAME = 196
QUESTION = 30


def text_stack() -> Any:
    """Return a random Qwen2 of the shape named above."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=2048,
        hidden_size=512,
        intermediate_size=1024,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=262144,
    )
    return Qwen2ForCausalLM._from_config(config, dtype=torch.float32, attn_implementation="sdpa").eval()


def took(work: Callable[[], object]) -> float:
    """Return the wall seconds of some work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def decoder_of(network: Any, settings: ReKVSettings) -> StreamDecoder:
    """Return ReKV over a network, its initial prompt of 13 tokens read."""
    text = network.model
    decoder = StreamDecoder(text, network.lm_head, settings, range(13), text.embed_tokens)
    decoder.begin(FRAME)
    return decoder


@torch.inference_mode()
def infinipot(seconds: int) -> dict[str, Any]:
    """Compare seconds that are only seen, over whole rounds of cuts, at the same mean number of cached tokens."""
    backbone = QwenVL(network_of(CONFIGS["cache"]), HuggingFaceText(tiny_tokenizer()), name="cache")
    settings = InfiniPotSettings()
    mean = settings.frames + settings.between // 2
    policies: dict[str, tuple[type[CachedSession], MemoryPolicy]] = {
        "infinipot-v": (CuttingSession, settings),
        "streamingvlm": (CachedSession, StreamingVLM(vision_window=mean, text_rounds=mean)),
    }
    request = SessionRequest("bench", 2.0)
    sessions = {
        name: kind(backbone, policy, GenerationSettings(), request) for name, (kind, policy) in policies.items()
    }
    frames = np.random.default_rng(0).integers(0, 256, (2, 280, 504, 3), dtype=np.uint8)
    spent = dict.fromkeys(sessions, 0.0)
    cached = dict.fromkeys(sessions, 0)
    warm = 2 * settings.most_frames
    rounds = -(-seconds // settings.between) * settings.between
    for tick in FrameSchedule(0, warm + rounds, 2):
        chunk = Chunk(tick, frames, tick.frame_times, tick.frame_times, 0.0, 0.0)
        for name, session in sessions.items():
            seconds_taken = took(lambda session=session, chunk=chunk: session.observe(chunk))
            if tick.index >= warm:
                spent[name] += seconds_taken / rounds
                cached[name] += session.cache_tokens
    return {
        "second_s": spent,
        "mean_cached_tokens": {name: round(total / rounds) for name, total in cached.items()},
        "ratio": spent["infinipot-v"] / spent["streamingvlm"],
    }


@torch.inference_mode()
def second(repeats: int) -> dict[str, Any]:
    """Compare the reading of a frame of 196 tokens (a second at 1 fps) once the window is full."""
    network, settings = text_stack(), ReKVSettings()
    decoder = decoder_of(network, settings)
    features = torch.randn(FRAME, 512)
    cache, place = DynamicCache(config=network.config), 0

    def bare() -> None:
        nonlocal place
        positions = torch.arange(place, place + FRAME)[None]
        network.model(inputs_embeds=features[None], position_ids=positions, past_key_values=cache, use_cache=True)
        place += FRAME
        for layer in cache.layers:  # what the next frame cannot see any more goes
            over = layer.keys.shape[2] - settings.n_local
            if over > 0:
                layer.keys, layer.values = layer.keys[:, :, over:], layer.values[:, :, over:]

    for _ in range(settings.n_local // FRAME + 2):
        decoder.read_frame(features)
        bare()
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(took(lambda: decoder.read_frame(features)))
        theirs.append(took(bare))
    return {"rekv_s": statistics.median(ours), "bare_s": statistics.median(theirs), **ratio_of(ours, theirs)}


@torch.inference_mode()
def question(repeats: int) -> dict[str, Any]:
    """Compare a question after 600 s at 0.5 fps (retrieval and prefill) with a prefill of as many tokens."""
    network, settings = text_stack(), ReKVSettings()
    decoder = decoder_of(network, settings)
    for _ in range(300):
        layers = [(torch.randn(2, FRAME, 64), torch.randn(2, FRAME, 64), torch.randn(2, 64)) for _ in range(8)]
        decoder.blocks.add(layers)
    ids = list(range(100, 100 + QUESTION))

    def ours() -> None:
        found, _ = decoder.retrieve(ids, room=QUESTION)
        decoder.extend(found, ids)

    tokens = 13 + settings.topk * FRAME + QUESTION
    embedded = torch.randn(1, tokens, 512)

    def bare() -> None:
        hidden = network.model(inputs_embeds=embedded, use_cache=True).last_hidden_state
        network.lm_head(hidden[:, -1])

    ours()
    mine, others = [], []
    for _ in range(repeats):
        mine.append(took(ours))
        others.append(took(bare))
    stored = decoder.blocks.stored_bytes / 2**20
    figures = {"rekv_s": statistics.median(mine), "prefill_s": statistics.median(others), "tokens": tokens}
    return figures | {"stored_mib": round(stored, 1), **ratio_of(mine, others)}


@torch.inference_mode()
def score(repeats: int) -> dict[str, Any]:
    """Time the choice among 10,000 blocks in one layer of LLaVA-OneVision's 7B (28 heads of 128, 4 of keys)."""
    asked = BlockQuery(0, 1, torch.randn(28, QUESTION, 128), torch.randn(10_000, 4, 128))
    best_blocks(asked, 64)
    times = [took(lambda: best_blocks(asked, 64)) for _ in range(repeats)]
    return {"ms_a_layer": 1000 * statistics.median(times), "worst_ms": 1000 * max(times)}


def ratio_of(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Return the median of the ratios."""
    return {"ratio": statistics.median(a / b for a, b in zip(ours, theirs, strict=True))}


def main() -> None:
    """Measure and print one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("infinipot", "second", "question", "score"))
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "infinipot": lambda: infinipot(8 * args.repeats),
        "second": lambda: second(args.repeats),
        "question": lambda: question(args.repeats),
        "score": lambda: score(10 * args.repeats),
    }
    for name, part in parts.items():
        if args.only in (None, name):
            figures = {"part": name, "torch_threads": torch.get_num_threads(), **part()}
            sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()

"""Compare a steady second of evalkit's session with a bare transformers loop, in one run, as a ratio.

The bare loop has no harness: transformers' DynamicCache filled to the length the session's cache has, then per
second the same vision encode, the same number of tokens prefilled and the same number decoded greedily. Both
sides alternate second by second, so that a noisy machine troubles them alike.

    python scripts/bench_second.py --config overhead     # hidden 64, 3 layers, vocabulary 151,936
    python scripts/bench_second.py --config cache        # hidden 512, 8 layers, 8 heads, 2 of keys and values
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

import numpy as np
import torch
from transformers import DynamicCache, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from evalkit.memory import StreamingVLM
from evalkit.models.protocol import SessionRequest
from evalkit.models.qwen_vl import QwenVL
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.models.text import HuggingFaceText
from evalkit.models.tiny import tiny_scale, tiny_tokenizer
from evalkit.models.weights import fill_parameters
from evalkit.stream import Chunk, FrameSchedule, Narration

CONFIGS = {
    "overhead": {
        "hidden": 64,
        "layers": 3,
        "heads": 4,
        "kv": 2,
        "inter": 128,
        "vhidden": 32,
        "sections": [2, 3, 3],
    },
    "cache": {
        "hidden": 512,
        "layers": 8,
        "heads": 8,
        "kv": 2,
        "inter": 1024,
        "vhidden": 64,
        "sections": [8, 12, 12],
    },
}
VOCABULARY = 151936


def config_of(shape: dict[str, object]) -> Qwen2_5_VLConfig:
    """Return the configuration of a shape, with Qwen's vocabulary size and the tiny tokenizer's special ids."""
    ids = tiny_tokenizer().convert_tokens_to_ids
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": shape["hidden"],
            "intermediate_size": shape["inter"],
            "num_hidden_layers": shape["layers"],
            "num_attention_heads": shape["heads"],
            "num_key_value_heads": shape["kv"],
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": shape["sections"]},
            "tie_word_embeddings": False,
        },
        vision_config={
            "depth": 2,
            "hidden_size": shape["vhidden"],
            "out_hidden_size": shape["hidden"],
            "num_heads": 2,
            "intermediate_size": 64,
            "fullatt_block_indexes": [1],
            "window_size": 56,
            "tokens_per_second": 2,
        },
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        video_token_id=ids("<|video_pad|>"),
        image_token_id=ids("<|image_pad|>"),
        tie_word_embeddings=False,
    )


def network_of(shape: dict[str, object]) -> Qwen2_5_VLForConditionalGeneration:
    """Return a random network of a shape."""
    network = Qwen2_5_VLForConditionalGeneration._from_config(
        config_of(shape), dtype=torch.float32, attn_implementation="sdpa"
    )
    fill_parameters(network, tiny_scale)
    return network.eval()


class BareLoop:
    """A second of streaming without a harness.

    Args:
        network: The network.
        cached: Tokens that stand in the cache before a second.
        pixels: Patches of a second.
        grid: Their ``(1, 3)`` grid.
        new: Tokens prefilled per second.
        said: Tokens decoded per second.
    """

    def __init__(
        self,
        network: Qwen2_5_VLForConditionalGeneration,
        cached: int,
        pixels: torch.Tensor,
        grid: torch.Tensor,
        new: int,
        said: int,
    ) -> None:
        self._network = network
        self._pixels, self._grid = pixels, grid
        self._cached, self._new, self._said = cached, new, said
        self._cache = DynamicCache(config=network.config.text_config)
        self._ids = torch.full((1, new), 300)
        self._run(torch.full((1, cached), 300), 0)

    def _run(self, ids: torch.Tensor, start: int, features: torch.Tensor | None = None) -> torch.Tensor:
        embeddings = self._network.model.language_model.embed_tokens(ids)
        if features is not None:
            embeddings[0, 10 : 10 + len(features)] = features
        positions = torch.arange(start, start + ids.shape[1]).expand(3, 1, -1)
        out = self._network.model.language_model(
            inputs_embeds=embeddings, position_ids=positions, past_key_values=self._cache, use_cache=True
        )
        return self._network.lm_head(out.last_hidden_state[:, -1])

    @torch.inference_mode()
    def second(self) -> float:
        """Do one second; return its wall time."""
        began = time.perf_counter()
        features = self._network.model.get_video_features(self._pixels, self._grid).pooler_output[0]
        logits = self._run(self._ids, self._cached, features)
        for step in range(self._said):
            token = logits.argmax(-1, keepdim=True)
            int(token)
            if step < self._said - 1:
                logits = self._run(token, self._cached + self._new + step)
        took = time.perf_counter() - began
        self._cache.crop(-(self._new + self._said - 1))
        return took


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=CONFIGS, default="overhead")
    parser.add_argument("--seconds", type=int, default=24, help="seconds measured, after the windows filled")
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--size", default="504x280")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    network = network_of(CONFIGS[args.config])
    backbone = QwenVL(network_of(CONFIGS[args.config]), HuggingFaceText(tiny_tokenizer()), name=args.config)
    generation = GenerationSettings(temperature=0, max_new_tokens=args.tokens, exact_tokens=True)
    request = SessionRequest("bench", 2.0, narration=Narration("Describe the match.", "word " * 1100))
    session = CachedSession(backbone, StreamingVLM(), generation, request)
    frames = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    packed = backbone.pack(frames)
    t, h, w = packed.grid
    ours: list[float] = []
    theirs: list[float] = []
    bare: BareLoop | None = None
    warm = 24
    for tick in FrameSchedule(0, warm + args.seconds, 2):
        before = session.cache_tokens
        began = time.perf_counter()
        step = session.speak(Chunk(tick, frames, tick.frame_times, tick.frame_times, 0.0, 0.0)).step
        took = time.perf_counter() - began
        if tick.index >= warm:
            if bare is None:
                new = sum(step.tokens_in.values()) + 1
                cached = before - sum(step.evicted.values()) + 1
                grid = torch.tensor([[t, 2 * h, 2 * w]])
                bare = BareLoop(network, cached, packed.pixels, grid, new, args.tokens)
                bare.second()
            ours.append(took)
            theirs.append(bare.second())
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    result = {
        "config": args.config,
        "torch_threads": torch.get_num_threads(),
        "cache_tokens": session.cache_tokens,
        "session_second_s": statistics.median(ours),
        "bare_second_s": statistics.median(theirs),
        "ratio": ratio,
        "stages_s": {name: round(value, 4) for name, value in step.stages.items()},
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()

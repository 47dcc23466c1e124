"""Compare the step of one token, plain and recorded once per stream, behind a cache of a given length, in one run.

Random weights; forward and output layer, token by token, no vision. The sides take turns token by token.

    python scripts/bench_one_token.py --config 7b --device cuda --dtype bfloat16     # Qwen2.5-VL-7B's shape
    python scripts/bench_one_token.py --config overhead                              # any machine
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time

import numpy as np
import torch
from bench_second import CONFIGS, config_of
from transformers import Qwen2_5_VLForConditionalGeneration

from evalkit.memory.cache import SpanCache
from evalkit.models.qwen_vl import QwenVL
from evalkit.models.text import HuggingFaceText
from evalkit.models.tiny import tiny_tokenizer

SHAPES = CONFIGS | {
    "7b": {
        "hidden": 3584,
        "layers": 28,
        "heads": 28,
        "kv": 4,
        "inter": 18944,
        "vhidden": 32,
        "sections": [16, 24, 24],
    }
}


def network_of(name: str, device: str, dtype: torch.dtype) -> Qwen2_5_VLForConditionalGeneration:
    """Return a network of a shape with the weights that transformers draws, made where it computes."""
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            return Qwen2_5_VLForConditionalGeneration._from_config(
                config_of(SHAPES[name]), attn_implementation="sdpa"
            ).eval()
    finally:
        torch.set_default_dtype(usual)


class Side:
    """One way to do steps, with a stream of its own.

    Args:
        backbone: The network.
        filled: Tokens its cache holds at first.
    """

    def __init__(self, backbone: QwenVL, filled: int) -> None:
        self._backbone = backbone
        self._cache: SpanCache = backbone.new_cache(rebases=True)
        self.times: list[float] = []
        width = backbone.network.config.get_text_config().hidden_size
        self._embeddings = torch.randn(1, filled, width, device=backbone.device, dtype=backbone.dtype)
        self.step(self._embeddings)
        self.times.clear()

    def step(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Run new tokens and return the logits of the last."""
        backbone, at = self._backbone, float(self._cache.length)
        placed = np.tile(np.arange(at, at + embeddings.shape[1], dtype=np.float32), (3, 1))
        self._cache.expect(placed)
        positions = torch.from_numpy(placed).to(backbone.device)
        backbone.synchronise()
        began = time.perf_counter()
        logits = backbone.logits(backbone.forward(embeddings, positions, self._cache))
        backbone.synchronise()
        self.times.append(time.perf_counter() - began)
        return logits


@torch.inference_mode()
def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", choices=SHAPES, default="overhead")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--cached", type=int, default=3000, help="tokens in the cache at first")
    parser.add_argument("--tokens", type=int, default=200, help="steps measured")
    args = parser.parse_args()
    torch.manual_seed(0)
    network = network_of(args.config, args.device, getattr(torch, args.dtype))
    plain, recorded = (QwenVL(network, HuggingFaceText(tiny_tokenizer()), name=args.config) for _ in range(2))
    recorded.record_steps()
    torch.manual_seed(1)
    sides = [Side(plain, args.cached)]
    torch.manual_seed(1)
    sides.append(Side(recorded, args.cached))
    width, apart = network.config.get_text_config().hidden_size, 0.0
    for _ in range(args.tokens + 5):
        token = torch.randn(1, 1, width, device=plain.device, dtype=plain.dtype)
        one, other = (side.step(token) for side in sides)
        apart = max(apart, float((one - other).abs().max()))
    before, after = (statistics.median(side.times[5:]) for side in sides)
    result = {
        "config": args.config,
        "device": args.device,
        "dtype": args.dtype,
        "cached": args.cached,
        "plain_ms": round(1000 * before, 3),
        "recorded_ms": round(1000 * after, 3),
        "ratio": round(after / before, 4),
        "largest_logit_difference": apart,
        "refused": list(recorded.warnings),
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()

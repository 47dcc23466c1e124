"""The tiny models and the tokenizer the StreamingVLM traces were recorded with."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from evalkit.models.qwen_vl import QwenVL
from evalkit.models.weights import fill_parameters

IM_START, IM_END, VISION_START, VISION_END, VIDEO_PAD = 151644, 151645, 151652, 151653, 151656
SPECIAL = {
    "<|im_start|>": IM_START,
    "<|im_end|>": IM_END,
    "<|vision_start|>": VISION_START,
    "<|vision_end|>": VISION_END,
    "<|video_pad|>": VIDEO_PAD,
}
FIXED = {**SPECIAL, "user": 872, "assistant": 77091, "Time": 1462, "\n": 198, " ...": 2503}
PIECES = re.compile(
    r" \.\.\.|" + "|".join(re.escape(s) for s in SPECIAL) + r"|previous text|\n| ?[A-Za-z]+|\d|\s|[^\w\s]|_"
)


class TraceText:
    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for piece in PIECES.findall(text):
            if piece == "previous text":
                ids += [19702, 1467]
            else:
                ids.append(FIXED.get(piece, 1500 + zlib.crc32(piece.encode()) % 17000))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(str(i) for i in ids)


def scale(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith("ln_q.weight") or (len(shape) == 1 and "norm" in name):
        return -1.0
    if len(shape) == 1:
        return 0.02
    if "embed_tokens" in name:
        return 1.0
    if "lm_head" in name:
        return 3 / np.sqrt(shape[-1])
    return 1 / np.sqrt(np.prod(shape[1:]))


def text_config_of(model: dict[str, Any]) -> dict[str, Any]:
    """The text side of the tiny Qwen models."""
    return {
        "vocab_size": 151936,
        "hidden_size": model.get("hidden", 64),
        "intermediate_size": model.get("inter", 128),
        "num_hidden_layers": model.get("layers", 3),
        "num_attention_heads": model.get("heads", 4),
        "num_key_value_heads": model.get("kv", 2),
        "max_position_embeddings": 32768,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": list(model.get("sections", (2, 3, 3))),
        },
        "tie_word_embeddings": False,
        "bos_token_id": 151643,
        "eos_token_id": IM_END,
        "pad_token_id": 151643,
    }


SPECIAL_IDS = {
    "vision_start_token_id": VISION_START,
    "vision_end_token_id": VISION_END,
    "video_token_id": VIDEO_PAD,
    "image_token_id": 151655,
    "tie_word_embeddings": False,
}


def config_of(model: dict[str, Any]) -> Qwen2_5_VLConfig:
    hidden = model.get("hidden", 64)
    vdepth = model.get("vdepth", 2)
    return Qwen2_5_VLConfig(
        text_config=text_config_of(model),
        vision_config={
            "depth": vdepth,
            "hidden_size": model.get("vhidden", 32),
            "out_hidden_size": hidden,
            "num_heads": model.get("vheads", 2),
            "intermediate_size": model.get("vinter", 64),
            "fullatt_block_indexes": [vdepth - 1],
            "window_size": 56,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
        },
        **SPECIAL_IDS,
    )


def end_row(network: Any, seed: int, eos_scale: float) -> None:
    """Draw the output row of the end marker, which decides how long replies are."""
    hidden = network.lm_head.weight.shape[1]
    row = np.random.default_rng([99, seed]).standard_normal(hidden) * eos_scale / np.sqrt(hidden)
    with torch.no_grad():
        network.lm_head.weight[IM_END] = torch.from_numpy(row.astype(np.float32))


def network_of(model: dict[str, Any], seed: int, eos_scale: float) -> Qwen2_5_VLForConditionalGeneration:
    network = Qwen2_5_VLForConditionalGeneration._from_config(
        config_of(model), dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    fill_parameters(network, scale)
    end_row(network, seed, eos_scale)
    return network


def backbone_of(meta: dict[str, Any]) -> QwenVL:
    network = network_of(meta["model"], meta["seed"], meta["eos_scale"])
    return QwenVL(network, TraceText(), name=meta["name"])

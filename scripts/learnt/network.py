"""The network of `learnt`: a small Qwen2.5-VL whose tower is trained on cells and written out for pixels."""

from __future__ import annotations

__all__ = [
    "CHUNK_SECONDS",
    "PATCH_CELLS",
    "build_network",
    "network_config",
    "save_checkpoint",
    "write_card",
    "write_folder",
]

import hashlib
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from evalkit.models.card import CARD_NAME, CheckpointCard, Trained
from evalkit_tasks.demo.draw import CELL, HEIGHT, WIDTH
from learnt.chunks import INSTRUCTION, SINK, WINDOW

PATCH_CELLS = 4
"""Cells a side of a patch; the merged token covers 8 x 8 cells, so a picture of 16 x 32 cells is 8 tokens."""

CHUNK_SECONDS = 24
"""Length of the longest chunk it is trained on."""

_HIDDEN = 128
_NAMED_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def network_config(tokenizer: Tokenizer, patch: int) -> Qwen2_5_VLConfig:
    """Return the configuration with patches of ``patch`` inputs a side (cells or pixels)."""
    ids = tokenizer.token_to_id
    text = {
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": _HIDDEN,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "initializer_range": 0.05,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 6, 6]},
        "bos_token_id": None,
        "eos_token_id": ids("<|im_end|>"),
        "pad_token_id": ids("<|endoftext|>"),
    }
    vision = {
        "depth": 2,
        "hidden_size": 64,
        "out_hidden_size": _HIDDEN,
        "num_heads": 4,
        "intermediate_size": 128,
        "fullatt_block_indexes": [0, 1],
        "window_size": patch * 8,
        "patch_size": patch,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "initializer_range": 0.05,
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        video_token_id=ids("<|video_pad|>"),
        image_token_id=ids("<|image_pad|>"),
        tie_word_embeddings=False,
    )


def build_network(tokenizer: Tokenizer, patch: int = PATCH_CELLS) -> Any:
    """Return a network with fresh weights from torch's random state, float32."""
    config = network_config(tokenizer, patch)
    return Qwen2_5_VLForConditionalGeneration._from_config(config, dtype=torch.float32, attn_implementation="sdpa")


@torch.no_grad()
def save_checkpoint(network: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a folder that transformers loads: bfloat16, patch weights spread evenly over the pixels of a cell.

    A patch's weight on the mean of a cell equals the same weight, divided by the cell's pixels, on each of them.
    """
    spread = build_network(tokenizer, PATCH_CELLS * CELL)
    state = dict(network.state_dict())
    name = "model.visual.patch_embed.proj.weight"
    state[name] = (state[name] / CELL**2).repeat_interleave(CELL, -1).repeat_interleave(CELL, -2)
    spread.load_state_dict(state)
    card = CheckpointCard(
        generation={"temperature": 0.0, "repetition_penalty": 1.0},
        memory={"text_sink": SINK, "text_window": WINDOW, "seconds": CHUNK_SECONDS},
        trained=Trained(
            frame_size=(WIDTH, HEIGHT),
            fps=2.0,
            instruction=INSTRUCTION,
            chunk_seconds=CHUNK_SECONDS,
            data="evalkit's made-up matches",
        ),
    )
    write_folder(spread, tokenizer, folder, card)


def write_folder(network: Any, tokenizer: Tokenizer, folder: Path, card: CheckpointCard) -> None:
    """Write weights in bfloat16, the tokenizer, and the card."""
    folder.mkdir(parents=True, exist_ok=True)
    network.to(torch.bfloat16).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",  # noqa: S106 - a token of text
        pad_token="<|endoftext|>",  # noqa: S106
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    write_card(folder, card)


def write_card(folder: Path, card: CheckpointCard) -> None:
    """Write ``evalkit.json``: the card with the digests of a checkpoint's files."""
    for name in _NAMED_FILES:
        (folder / name).chmod(0o644)
    digests = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in _NAMED_FILES}
    text = card.model_copy(update={"sha256": digests}).model_dump_json(indent=1, exclude_defaults=True)
    (folder / CARD_NAME).write_text(text + "\n", encoding="utf-8")

"""The built-in checkpoint ``tiny``: a small Qwen2.5-VL with random but fixed weights, built in memory."""

from __future__ import annotations

__all__ = [
    "TINY_REVISION",
    "bias_towards_words",
    "tiny_network",
    "tiny_qwen",
    "tiny_scale",
    "tiny_text_config",
    "tiny_tokenizer",
]

import math
from importlib.resources import files
from typing import Any

import torch
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from evalkit.models.weights import Scale, fill_parameters

TINY_REVISION = "1"
"""Changes whenever the weights, the shapes or the tokenizer do; part of the fingerprint."""

_WORD, _DIGIT, _FRAGMENT, _END = 3.0, 2.0, 0.3, -7.0
"""Spread of the output logits of whole words, digits, fragments of words, and the end marker, so that random
weights say words, sometimes few, and often run into the token limit; the sign picks a side of the row's draw."""


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Return the tokenizer: byte-level BPE of 1,024 tokens with Qwen's special tokens."""
    path = files("evalkit.models") / "tiny_tokenizer.json"
    return PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        eos_token="<|im_end|>",  # noqa: S106 - a token of text
        pad_token="<|endoftext|>",  # noqa: S106
        clean_up_tokenization_spaces=False,
    )


def tiny_scale(name: str, shape: tuple[int, ...]) -> float:
    """Return the spread of a parameter's draw (see ``fill_parameters``): fan-in scaled, norms one."""
    if name.endswith("ln_q.weight") or (len(shape) == 1 and "norm" in name and name.endswith("weight")):
        return -1.0
    if len(shape) == 1:
        return 0.02
    if "embed_tokens" in name:
        return 0.2
    return 1 / math.sqrt(math.prod(shape[1:]))


def tiny_text_config(vocabulary: int, hidden: int = 64) -> dict[str, Any]:
    """Return the shape of the text model: four heads, and a feed-forward part of twice the width."""
    return {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": 2 * hidden,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "tie_word_embeddings": False,
    }


@torch.no_grad()
def bias_towards_words(head: torch.nn.Linear, tokenizer: PreTrainedTokenizerFast) -> None:
    """Scale the rows of an output head so that random hidden states choose whole words."""
    spread = torch.full((head.weight.shape[0], 1), _FRAGMENT)
    for token, index in tokenizer.get_vocab().items():
        if index == tokenizer.eos_token_id:
            spread[index] = _END
        elif token.startswith("Ġ") and token[1:].isalpha() and (len(token) > 3 or token in ("Ġa", "Ġto", "Ġit")):
            spread[index] = _WORD
        elif token.isdigit():
            spread[index] = _DIGIT
    head.weight.mul_(spread)


def tiny_network(
    kind: type[Any], config: Any, tokenizer: PreTrainedTokenizerFast, scale: Scale = tiny_scale
) -> Any:
    """Build a network of a class in transformers with the fixed weights, float32, in eval mode."""
    network = kind._from_config(config, dtype=torch.float32, attn_implementation="sdpa").eval()
    fill_parameters(network, scale)
    bias_towards_words(network.lm_head, tokenizer)
    return network


def tiny_qwen(hidden: int = 64) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerFast]:
    """Build the model and its tokenizer.

    Args:
        hidden: Width of the text model, a multiple of 64. Servers' attention kernels take heads of 32 and up, a
            width of 128.
    """
    tokenizer = tiny_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    end = ids("<|im_end|>")
    sections = [hidden // 32, 3 * hidden // 64, 3 * hidden // 64]
    text = tiny_text_config(len(tokenizer), hidden) | {
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections},
        "bos_token_id": None,
        "eos_token_id": end,
        "pad_token_id": ids("<|endoftext|>"),
    }
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "out_hidden_size": text["hidden_size"],
        "num_heads": 2,
        "intermediate_size": 64,
        "fullatt_block_indexes": [1],
        "window_size": 112,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
    }
    config = Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        video_token_id=ids("<|video_pad|>"),
        image_token_id=ids("<|image_pad|>"),
        tie_word_embeddings=False,
    )
    return tiny_network(Qwen2_5_VLForConditionalGeneration, config, tokenizer), tokenizer

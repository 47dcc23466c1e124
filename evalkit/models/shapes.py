"""Built-in checkpoints ``random-...``: published models' shapes with random weights, for what a policy costs.

Time and memory of a policy follow from the shapes, not from what the weights say: so both can be measured on a
device without a download. What such a network says means nothing. It is drawn on the device that computes, in the
type it computes in, so that nothing larger than itself is ever held; the same seed gives other weights elsewhere.
"""

from __future__ import annotations

__all__ = ["RANDOM_REVISION", "random_network"]

from collections.abc import Callable
from typing import Any

import psutil
import torch
from transformers import (
    LlavaOnevisionConfig,
    LlavaOnevisionForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from evalkit.errors import ModelError
from evalkit.models.tiny import tiny_tokenizer

RANDOM_REVISION = "1"
"""Changes whenever a shape, the draw or the tokenizer does; part of the fingerprint."""

_SEED = 0
_VISION = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "fullatt_block_indexes": [7, 15, 23, 31],
    "window_size": 112,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "tokens_per_second": 2,
}
"""Vision tower of Qwen2.5-VL, all sizes."""


def _qwen(*, hidden: int, inner: int, layers: int, heads: int, kv_heads: int, vocabulary: int, tied: bool) -> Any:
    """Return Qwen2.5-VL's configuration at a size (its ``config.json``), its class and its tokenizer."""
    tokenizer = tiny_tokenizer()
    ids = tokenizer.convert_tokens_to_ids
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": hidden,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "max_position_embeddings": 128000,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]},
            "tie_word_embeddings": tied,
            "bos_token_id": None,
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config=_VISION | {"out_hidden_size": hidden},
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        video_token_id=ids("<|video_pad|>"),
        image_token_id=ids("<|image_pad|>"),
        tie_word_embeddings=tied,
    )
    return Qwen2_5_VLForConditionalGeneration, config, tokenizer


def _qwen_3b() -> Any:
    return _qwen(hidden=2048, inner=11008, layers=36, heads=16, kv_heads=2, vocabulary=151936, tied=True)


def _qwen_7b() -> Any:
    return _qwen(hidden=3584, inner=18944, layers=28, heads=28, kv_heads=4, vocabulary=152064, tied=False)


def _llava_7b() -> Any:
    """Return LLaVA-OneVision's configuration over Qwen2-7B, as in llava-hf's ``config.json``."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<video>"]})
    ids = tokenizer.convert_tokens_to_ids
    config = LlavaOnevisionConfig(
        text_config={
            "model_type": "qwen2",
            "vocab_size": 152064,
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "max_position_embeddings": 32768,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "tie_word_embeddings": False,
            "bos_token_id": None,
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 26,
            "num_attention_heads": 16,
            "image_size": 384,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_token_index=ids("<image>"),
        video_token_index=ids("<video>"),
        tie_word_embeddings=False,
    )
    return LlavaOnevisionForConditionalGeneration, config, tokenizer


_SHAPES: dict[str, Callable[[], Any]] = {
    "random-llava-onevision-7b": _llava_7b,
    "random-qwen2.5-vl-3b": _qwen_3b,
    "random-qwen2.5-vl-7b": _qwen_7b,
}


def random_network(
    name: str, device: torch.device, dtype: torch.dtype, attention: str = "sdpa"
) -> tuple[Any, PreTrainedTokenizerFast]:
    """Draw a network of a published shape.

    Args:
        name: Which, such as ``random-qwen2.5-vl-7b``.
        device: Where it is drawn and lies.
        dtype: Type of its weights.
        attention: Attention kernel of transformers.

    Returns:
        The network in eval mode, and the tokenizer of ``tiny``, which knows the first 1,024 of its ids.

    Raises:
        KeyError: There is no such shape.
        ModelError: It takes more memory than is free there.
        ValueError: The attention kernel does not exist.
        ImportError: It is not installed.
    """
    kind, config, tokenizer = _SHAPES[name]()
    _check_room(name, kind, config, device, dtype)
    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), device:
            torch.manual_seed(_SEED)
            network = kind._from_config(config, attn_implementation=attention)
    finally:
        torch.set_default_dtype(usual)
    return network.eval(), tokenizer


def _check_room(name: str, kind: Any, config: Any, device: torch.device, dtype: torch.dtype) -> None:
    """Refuse what does not fit: a process that takes all memory is killed without a word."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    elif device.type == "cpu":
        free = psutil.virtual_memory().available
    else:
        return
    with torch.device("meta"):
        needed = sum(one.numel() for one in kind._from_config(config).parameters()) * dtype.itemsize
    if needed > free:
        raise ModelError(
            f"checkpoint {name} takes {needed / 2**30:.1f} GiB in {str(dtype).removeprefix('torch.')}; "
            f"{free / 2**30:.1f} GiB are free on {device}"
        )

"""The built-in checkpoint ``tiny-llava``: a small LLaVA-OneVision with random but fixed weights."""

from __future__ import annotations

__all__ = ["TINY_LLAVA_REVISION", "tiny_llava"]

from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast

from evalkit.models.tiny import (
    TINY_REVISION,
    tiny_network,
    tiny_scale,
    tiny_text_config,
    tiny_tokenizer,
)

TINY_LLAVA_REVISION = f"1-{TINY_REVISION}"
"""Changes whenever the weights, the shapes or the tokenizer do; part of the fingerprint."""

_POSITIONS = 0.5
"""Spread of the tower's position embedding: enough that the tokens of a plain picture differ."""


def _scale(name: str, shape: tuple[int, ...]) -> float:
    if "position_embedding" in name:
        return _POSITIONS
    return tiny_scale(name, shape)


def tiny_llava(hidden: int = 64) -> tuple[LlavaOnevisionForConditionalGeneration, PreTrainedTokenizerFast]:
    """Build the model and its tokenizer; frames are 384x384 and 196 tokens, as in the real checkpoints.

    Args:
        hidden: Width of the text model, a multiple of 64.
    """
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<video>"]})
    ids = tokenizer.convert_tokens_to_ids
    config = LlavaOnevisionConfig(
        text_config=tiny_text_config(len(tokenizer), hidden)
        | {
            "model_type": "qwen2",
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
            "bos_token_id": None,
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 384,
            "patch_size": 14,
            "vision_use_head": False,
        },
        image_token_index=ids("<image>"),
        video_token_index=ids("<video>"),
        tie_word_embeddings=False,
    )
    return tiny_network(LlavaOnevisionForConditionalGeneration, config, tokenizer, _scale), tokenizer

"""The network of `learnt-llava`: a small LLaVA-OneVision whose text layers begin with a circuit that recalls."""

from __future__ import annotations

__all__ = [
    "GRID",
    "LLAVA_CARD",
    "LONGEST",
    "PIXELS_PER_INPUT",
    "begin_recalling",
    "begin_with_words",
    "build_llava",
    "llava_features",
    "save_llava",
]

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from evalkit.models.card import CheckpointCard, Trained
from evalkit.models.llava_onevision import SIGLIP_MEAN, SIGLIP_STD
from evalkit.models.pack import normalise
from evalkit_tasks.demo.draw import HEIGHT, WIDTH
from evalkit_tasks.demo.match import DemoMatch, Moment
from learnt.chunks import seen_pixels
from learnt.llava_vocabulary import ASKED, COUNT, NEXT_GOAL, STEPS, options
from learnt.network import write_folder

PATCH = 4
"""Inputs a side of a patch: 4 cells across and 2 down, as a frame of 16 x 32 cells is squeezed into a square."""

SIDE = 32
"""Inputs a side of a frame in training."""

GRID = 4
"""Pooled tokens a side: 16 tokens a frame."""

PIXELS_PER_INPUT = 7
"""Pixels a side of one input at export: frames are scaled to 224 x 224, a row of which is a row of the file."""

LONGEST = 61
"""Seconds of the longest stream it is trained on."""

_HIDDEN, _LAYERS, _HEADS, _KV_HEADS = 128, 4, 4, 2
_ROPE_THETA = 1e5
_EMBEDDING_SPREAD = 0.5
"""So large that what layers add at first does not drown what a token is."""

LLAVA_CARD = CheckpointCard(
    generation={"answer_temperature": 0.0, "repetition_penalty": 1.0},
    trained=Trained(
        frame_size=(WIDTH, HEIGHT),
        fps=1.0,
        questions=(*ASKED.values(), COUNT, *(f"\n{step}\n" for step in STEPS), NEXT_GOAL),
        chunk_seconds=LONGEST,
        data="evalkit's made-up matches",
    ),
)


def llava_config(tokenizer: Tokenizer, scale: int = 1) -> LlavaOnevisionConfig:
    """Return the configuration with ``scale`` pixels a side of each training input."""
    ids = tokenizer.token_to_id
    text = {
        "model_type": "qwen2",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": _HIDDEN,
        "intermediate_size": 256,
        "num_hidden_layers": _LAYERS,
        "num_attention_heads": _HEADS,
        "num_key_value_heads": _KV_HEADS,
        "max_position_embeddings": 32768,
        "initializer_range": 0.05,
        "tie_word_embeddings": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": _ROPE_THETA},
        "bos_token_id": None,
        "eos_token_id": ids("<|im_end|>"),
        "pad_token_id": ids("<|endoftext|>"),
    }
    vision = {
        "model_type": "siglip_vision_model",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": SIDE * scale,
        "patch_size": PATCH * scale,
        "vision_use_head": False,
    }
    return LlavaOnevisionConfig(
        text_config=text,
        vision_config=vision,
        image_token_index=ids("<image>"),
        video_token_index=ids("<video>"),
        tie_word_embeddings=False,
    )


def build_llava(tokenizer: Tokenizer, scale: int = 1) -> Any:
    """Return a network with fresh weights from torch's random state, float32."""
    network = LlavaOnevisionForConditionalGeneration._from_config(
        llava_config(tokenizer, scale), dtype=torch.float32, attn_implementation="sdpa"
    )
    with torch.no_grad():
        nn.init.normal_(network.model.language_model.embed_tokens.weight, std=_EMBEDDING_SPREAD)
        nn.init.normal_(network.model.image_newline, std=_EMBEDDING_SPREAD)
        nn.init.normal_(network.model.vision_tower.embeddings.position_embedding.weight, std=0.3)
        nn.init.normal_(network.model.multi_modal_projector.linear_2.weight, std=0.12)
    return network


@torch.no_grad()
def begin_with_words(network: Any, tokenizer: Tokenizer) -> None:
    """Let the options begin as sums of their words, at the input and at the output, and of something of their own.

    ``goal Red 3 -2`` and ``goal Red 1 -0`` are two tokens of which either is seldom practised; what they share is.
    """
    inputs, outputs = network.model.language_model.embed_tokens.weight, network.lm_head.weight
    words: dict[str, torch.Tensor] = {}
    for option in options():
        parts = option.replace("-", " -").split()
        for part in parts:
            words.setdefault(part, torch.randn(2, _HIDDEN))
        shared = torch.stack([words[part] for part in parts]).sum(0) / len(parts) ** 0.5
        [row] = tokenizer.encode(f" {option}", add_special_tokens=False).ids
        for weight, share in zip((inputs, outputs), shared, strict=True):
            spread = weight[row].std()
            weight[row] = (0.5 * weight[row] + 0.87 * spread * share).clone()


@torch.no_grad()
def begin_recalling(network: Any) -> None:
    """Set the first two text layers to a circuit that finds what stood before an earlier copy of a token.

    From random weights that circuit (an induction head) did not form in a thousand steps. Layer 0 gets a head that
    looks one token back and one that looks two back, by biases that rotary positions turn into a peak there; each
    writes what it finds into a subspace of its own. Layer 1 gets heads whose queries read the first subspace and
    whose keys read what a token itself is. All of it is trained on like any other weight.
    """
    layers = network.model.language_model.layers
    width = _HIDDEN // _HEADS
    bases = torch.linalg.qr(torch.randn(_HIDDEN, _HIDDEN))[0].T
    own, before, two_before = (bases[i * width : (i + 1) * width] for i in range(3))
    first = layers[0].self_attn
    for kv, (back, subspace) in enumerate(((1, before), (2, two_before))):
        head = kv * (_HEADS // _KV_HEADS)
        _look_back(first, head, kv, back, width)
        first.v_proj.weight[kv * width : (kv + 1) * width] = own
        first.o_proj.weight[:, head * width : (head + 1) * width] = _EMBEDDING_SPREAD * subspace.T
    second = layers[1].self_attn
    for head in range(_HEADS // _KV_HEADS):
        second.q_proj.weight[head * width : (head + 1) * width] = 1.7 * before
    second.k_proj.weight[:width] = 1.7 * own


def _look_back(attention: Any, head: int, kv: int, back: int, width: int, sharpness: float = 40.0) -> None:
    """Let a head look ``back`` tokens back whatever stands there: scores are sums of cosines of the distance."""
    frequencies = 6
    angle = _ROPE_THETA ** (-torch.arange(frequencies) / (width // 2)) * back
    query, key, size = head * width, kv * width, sharpness**0.5
    attention.q_proj.weight[query : query + width] = 0
    attention.k_proj.weight[key : key + width] = 0
    attention.q_proj.bias[query : query + frequencies] = size * torch.cos(angle)
    attention.q_proj.bias[query + width // 2 : query + width // 2 + frequencies] = -size * torch.sin(angle)
    attention.k_proj.bias[key : key + frequencies] = size


def llava_pixels(shown: Sequence[tuple[DemoMatch, Moment]], rng: np.random.Generator) -> torch.Tensor:
    """Return one frame a second as the tower takes it in training, ``(n, 3, 32, 32)``: each row of cells twice."""
    frames = seen_pixels(shown, rng)[::2].repeat(2, axis=1)
    return normalise(frames, SIGLIP_MEAN, SIGLIP_STD)


def llava_features(
    network: Any, shown: Sequence[tuple[DemoMatch, Moment]], rng: np.random.Generator
) -> torch.Tensor:
    """Return the tokens of some seconds, ``(16 n, hidden)``."""
    # The network reads its features before the tower's last norm.
    hidden = network.model.vision_tower(llava_pixels(shown, rng), output_hidden_states=True).hidden_states[-1]
    pooled: torch.Tensor = network.model.apply_pooling(network.model.multi_modal_projector(hidden))
    return pooled.flatten(0, 1)


@torch.no_grad()
def save_llava(network: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Write a folder that transformers loads: bfloat16, patch weights spread evenly over an input's pixels."""
    scale = PIXELS_PER_INPUT
    spread = build_llava(tokenizer, scale)
    state = dict(network.state_dict())
    name = "model.vision_tower.embeddings.patch_embedding.weight"
    state[name] = (state[name] / scale**2).repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    spread.load_state_dict(state)
    write_folder(spread, tokenizer, folder, LLAVA_CARD)

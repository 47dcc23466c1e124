"""Which checkpoints evalkit can load, and what of one can be looked at without loading it (no torch)."""

from __future__ import annotations

__all__ = [
    "ARCHITECTURES",
    "BUILT_IN",
    "RANDOM",
    "check_checkpoint",
    "missing_checkpoint",
    "tokens_of",
    "unknown_architecture",
]

import json
from importlib.resources import as_file, files
from pathlib import Path

from evalkit.errors import ModelError, suggest
from evalkit.models.card import SHIPPED, check_digests, shipped_folder

RANDOM = ("random-llava-onevision-7b", "random-qwen2.5-vl-3b", "random-qwen2.5-vl-7b")
"""Built-in shapes of published models with random weights."""

BUILT_IN = ("tiny", "tiny-llava", "tiny-llava-wide", "tiny-wide", *SHIPPED, *RANDOM)
"""Checkpoints that come with evalkit; the wide ones have heads that servers' attention kernels take."""

ARCHITECTURES = {
    "llava_onevision": "LlavaOnevisionForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
}
"""By ``model_type`` of ``config.json``, the class in transformers."""


def check_checkpoint(name: str) -> None:
    """Look at what a checkpoint's folder says of itself; a hub id is looked up when it is loaded.

    Raises:
        ModelError: The folder holds no model, or one of an architecture that evalkit has no backbone for.
    """
    if name in SHIPPED:
        check_digests(name, shipped_folder(name))
    if name in BUILT_IN or not Path(name).exists():
        return
    try:
        config = json.loads((Path(name) / "config.json").read_text(encoding="utf-8"))
        architecture = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(missing_checkpoint(name)) from error
    if architecture not in ARCHITECTURES:
        raise unknown_architecture(name, architecture)


def tokens_of(name: str, text: str) -> int | None:
    """Count the tokens of a text without loading anything but the tokenizer.

    Args:
        name: Checkpoint: a built-in one, or a folder.
        text: The text.

    Returns:
        Their number, or ``None`` where no ``tokenizer.json`` is at hand.
    """
    from tokenizers import Tokenizer

    if name in SHIPPED:
        tokenizer = Tokenizer.from_file(str(shipped_folder(name) / "tokenizer.json"))
    elif name in BUILT_IN:
        with as_file(files("evalkit.models") / "tiny_tokenizer.json") as path:
            tokenizer = Tokenizer.from_file(str(path))
    elif (path := Path(name) / "tokenizer.json").is_file():
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except (
            Exception
        ):  # the library raises nothing narrower; a broken tokenizer is told when the model is loaded
            return None
    else:
        return None
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def missing_checkpoint(name: str) -> str:
    """Return what to say of a checkpoint that is not there."""
    if Path(name).exists():
        return f"checkpoint folder {name} holds no transformers model (no readable config.json)"
    return (
        f"checkpoint {name!r} is neither a folder, nor in the local hub cache, nor to be fetched from the hub"
        f"{suggest(name, BUILT_IN)}; {', '.join(BUILT_IN)} need no download"
    )


def unknown_architecture(name: str, architecture: object) -> ModelError:
    """Return the error for a checkpoint of another architecture."""
    known = ", ".join(sorted(ARCHITECTURES))
    return ModelError(f"checkpoint {name} is a {architecture!r} model; evalkit runs {known}")

"""From a checkpoint's name to a backbone on a device, with errors that say what to do."""

from __future__ import annotations

__all__ = [
    "LoadRequest",
    "checkpoint_revision",
    "load_backbone",
    "load_network",
    "resolve_device",
    "resolve_dtype",
]

import hashlib
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from evalkit.errors import ModelError, UsageError, suggest
from evalkit.memory import PositionRule
from evalkit.models.backbone import Backbone
from evalkit.models.card import SHIPPED, check_digests, shipped_folder
from evalkit.models.checkpoints import ARCHITECTURES, RANDOM, missing_checkpoint, unknown_architecture
from evalkit.models.entry import DecodeStep
from evalkit.models.llava_onevision import LlavaOnevision
from evalkit.models.qwen_vl import QwenVL
from evalkit.models.shapes import RANDOM_REVISION, random_network
from evalkit.models.text import HuggingFaceText, TextCodec
from evalkit.models.tiny import TINY_REVISION, tiny_qwen
from evalkit.models.tiny_llava import TINY_LLAVA_REVISION, tiny_llava
from evalkit.video.resize import STREAMINGVLM_LIMITS

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """Which weights, and how.

    Args:
        checkpoint: Hub id, folder, or a built-in name (``tiny``, ``tiny-llava``, ``random-qwen2.5-vl-7b``).
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        dtype: ``auto`` (float32 on the CPU, bfloat16 elsewhere), ``float32``, ``bfloat16`` or ``float16``.
        attention: Attention kernel of transformers (``sdpa``, ``eager``, ``flash_attention_2``).
        after_vision: Position rule for text after a video; see ``PositionRule``.
        frame_pixels: Most pixels of a frame; ``None`` for the model's own.
        decode_step: Whether steps of one token are recorded once per stream.
    """

    checkpoint: str
    device: str = "auto"
    dtype: str = "auto"
    attention: str = "sdpa"
    after_vision: Literal["max", "spatial"] = "max"
    frame_pixels: int | None = None
    decode_step: DecodeStep = "plain"


def resolve_device(name: str) -> torch.device:
    """Return the device a name stands for.

    Raises:
        UsageError: No such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}: use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError(f"--device {name}: no CUDA device here; use --device cpu")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise UsageError(f"--device {name}: there are {torch.cuda.device_count()} CUDA devices here")
    elif device.type != "cpu":
        raise UsageError(f"device {name!r} is not supported: use auto, cpu, cuda or cuda:N")
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """Return the type of the weights.

    Raises:
        UsageError: Unknown name.
    """
    if name == "auto":
        return torch.float32 if device.type == "cpu" else torch.bfloat16
    if name not in _DTYPES:
        raise UsageError(f"unknown dtype {name!r}{suggest(name, _DTYPES)} (known: auto, {', '.join(_DTYPES)})")
    return _DTYPES[name]


def load_backbone(request: LoadRequest) -> Backbone:
    """Load a checkpoint.

    Raises:
        ModelError: It cannot be found, or is of an architecture evalkit has no backbone for.
        UsageError: The device or dtype does not exist.
    """
    device = resolve_device(request.device)
    dtype = resolve_dtype(request.dtype, device)
    network, tokenizer = load_network(request)
    network = _cast(network.to(device), dtype)
    backbone = _BACKBONES[network.config.model_type](network, HuggingFaceText(tokenizer), request)
    if request.decode_step == "recorded":
        backbone.record_steps()
    return backbone


def load_network(request: LoadRequest) -> tuple[Any, Any]:
    """Load a checkpoint's network, in eval mode and in the type of its files, and its tokenizer.

    Raises:
        ModelError: It cannot be found, or is of an architecture evalkit has no backbone for.
        UsageError: The attention kernel does not exist.
    """
    if request.checkpoint in RANDOM:
        device = resolve_device(request.device)
        with _kernel(request.attention):
            return random_network(
                request.checkpoint, device, resolve_dtype(request.dtype, device), request.attention
            )
    return (_built_in if request.checkpoint in _BUILT_IN else _from_transformers)(request)


def _cast(network: Any, dtype: torch.dtype) -> Any:
    """Cast the weights and leave the buffers: in bfloat16 the rotary frequencies would be off by up to 0.4 %."""
    for parameter in network.parameters():
        parameter.data = parameter.data.to(dtype)
    return network


def _built_in(request: LoadRequest) -> tuple[Any, Any]:
    build, _ = _BUILT_IN[request.checkpoint]
    network, tokenizer = build()
    with _kernel(request.attention):
        network.set_attn_implementation(request.attention)
    return network, tokenizer


@contextmanager
def _kernel(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UsageError(f"attention kernel {name!r} cannot be used: {reason}") from error


def _qwen(network: Any, text: TextCodec, request: LoadRequest) -> Backbone:
    positions = PositionRule("3d", request.after_vision)
    limits = (
        STREAMINGVLM_LIMITS if request.frame_pixels is None else STREAMINGVLM_LIMITS.within(request.frame_pixels)
    )
    return QwenVL(network, text, name=request.checkpoint, positions=positions, limits=limits)


def _llava(network: Any, text: TextCodec, request: LoadRequest) -> Backbone:
    if request.frame_pixels is not None:
        raise UsageError(f"{request.checkpoint} takes frames of one size; leave --frame-pixels out")
    return LlavaOnevision(network, text, name=request.checkpoint)


_BUILT_IN: dict[str, tuple[Callable[[], tuple[Any, Any]], str]] = {
    "tiny": (tiny_qwen, TINY_REVISION),
    "tiny-llava": (tiny_llava, TINY_LLAVA_REVISION),
    "tiny-llava-wide": (lambda: tiny_llava(128), TINY_LLAVA_REVISION),
    "tiny-wide": (lambda: tiny_qwen(128), TINY_REVISION),
}
"""Built-in checkpoints: what makes network and tokenizer, and the revision of the weights."""

_SAMPLES, _SAMPLE_BYTES = 4096, 4096

_BACKBONES: dict[str, Callable[[Any, TextCodec, LoadRequest], Backbone]] = {
    "llava_onevision": _llava,
    "qwen2_5_vl": _qwen,
    "qwen2_vl": _qwen,
}
"""By ``config.model_type``, the backbone over the class of `ARCHITECTURES`."""


def _from_transformers(request: LoadRequest) -> tuple[Any, Any]:
    import transformers
    from safetensors import SafetensorError

    name = request.checkpoint
    source = name
    if name in SHIPPED:
        source = str(shipped_folder(name))
        check_digests(name, Path(source))
    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    for library in ("transformers", "huggingface_hub"):
        logging.getLogger(library).setLevel(logging.ERROR)
    try:
        config = transformers.AutoConfig.from_pretrained(source)
    except (OSError, ValueError) as error:
        raise ModelError(missing_checkpoint(name)) from error
    if config.model_type not in ARCHITECTURES:
        raise unknown_architecture(name, config.model_type)
    try:
        network_class = getattr(transformers, ARCHITECTURES[config.model_type])
        network, found = network_class.from_pretrained(
            source,
            dtype="auto",
            attn_implementation=request.attention,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(f"checkpoint {name} cannot be loaded: {reason}") from error
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source)
    except Exception as error:  # of a damaged file tokenizers raises a bare Exception
        reason = " ".join(str(error).split())
        raise ModelError(f"checkpoint {name}: its tokenizer is missing or damaged: {reason[:200]}") from error
    # What the files do not hold, or in another shape, transformers draws at random and reports in a log line.
    missing = sorted({*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])})
    if missing:
        raise ModelError(
            f"checkpoint {name} lacks {len(missing)} of its weights, such as {missing[0]}: "
            "it is damaged, downloaded in part, or another model's"
        )
    return network.eval(), tokenizer


def checkpoint_revision(checkpoint: str, network: Any) -> str:
    """Return what identifies the weights: a hub commit, a digest of a folder's files, or a built-in's number."""
    if checkpoint in _BUILT_IN:
        return f"built-in-{_BUILT_IN[checkpoint][1]}"
    if checkpoint in RANDOM:
        return f"built-in-{RANDOM_REVISION}"
    if checkpoint in SHIPPED:
        return f"built-in-{check_digests(checkpoint, shipped_folder(checkpoint))}"
    commit = getattr(network.config, "_commit_hash", None)
    if commit:
        return str(commit)
    digest = hashlib.sha256()
    for path in sorted(Path(checkpoint).glob("*")):
        if path.suffix in (".json", ".safetensors", ".bin"):
            digest.update(f"{path.name}:{path.stat().st_size}".encode())
            for part in _read_samples(path):
                digest.update(part)
    return f"folder-{digest.hexdigest()[:16]}"


def _read_samples(path: Path) -> Iterator[bytes]:
    """Yield pieces spread evenly over a file, of a small one all: weights that were trained differ everywhere."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for start in range(0, size, max(_SAMPLE_BYTES, size // _SAMPLES)):
            file.seek(start)
            yield file.read(_SAMPLE_BYTES)

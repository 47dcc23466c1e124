"""A checkpoint as a folder of transformers' files, with everything that a server such as vLLM reads."""

from __future__ import annotations

__all__ = ["export_checkpoint"]

import json
import sys
from pathlib import Path
from typing import Any

import transformers
from safetensors.torch import load_file, save_file

from evalkit.errors import UsageError
from evalkit.models.llava_onevision import SIGLIP_MEAN, SIGLIP_STD
from evalkit.models.load import LoadRequest, load_network
from evalkit.models.pack import CLIP_MEAN, CLIP_STD
from evalkit.records import write_atomic
from evalkit.video import STREAMINGVLM_LIMITS, PixelLimits

_QWEN_TEMPLATE = """\
{%- if messages[0]['role'] != 'system' -%}
<|im_start|>system
You are a helpful assistant.<|im_end|>
{% endif -%}
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% if message['content'] is string %}{{ message['content'] }}{% else %}
{%- for part in message['content'] -%}
{%- if part['type'] in ('image', 'image_url') or 'image' in part or 'image_url' in part -%}
<|vision_start|><|image_pad|><|vision_end|>
{%- elif part['type'] in ('video', 'video_url') or 'video' in part -%}
<|vision_start|><|video_pad|><|vision_end|>
{%- elif 'text' in part -%}{{ part['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""
"""Qwen's chat layout, as `evalkit.models.layout` writes it; a role may be any word (``previous text``)."""

_LLAVA_TEMPLATE = """\
{%- if messages[0]['role'] != 'system' -%}
<|im_start|>{{ 'system ' }}
You are a helpful assistant.<|im_end|>
{%- endif -%}
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}{{ {'user': ' ', 'assistant': '\\n'}.get(message['role'], ' \\n') }}
{%- if message['content'] is string -%}{{ message['content'] }}{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] in ('image', 'image_url') or 'image' in part or 'image_url' in part -%}<image>
{%- elif part['type'] in ('video', 'video_url') or 'video' in part -%}<video>
{%- elif 'text' in part -%}{{ '\\n' ~ part['text'] if message['role'] == 'user' else part['text'] }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}<|im_end|>
{%- endfor -%}
{%- if add_generation_prompt -%}
<|im_start|>assistant
{% endif -%}
"""
"""LLaVA-OneVision's chat layout, as `evalkit.models.llava_onevision` writes it."""

_TOWER, _TOWER_PUBLISHED = "vision_tower.", "vision_tower.vision_model."
"""Prefix of the tower's weights in transformers 5, and in published checkpoints, whose names servers want."""


def export_checkpoint(checkpoint: str, folder: Path, *, max_frames: int = 768) -> Path:
    """Write a checkpoint's folder.

    Args:
        checkpoint: What ``--checkpoint`` takes.
        folder: Where to; it must be empty or not there.
        max_frames: Most frames of a video that a server's processor samples by itself.

    Raises:
        UsageError: The folder holds something.
        ModelError: The checkpoint cannot be loaded.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not an empty folder")
    network, tokenizer = load_network(LoadRequest(checkpoint, device="cpu"))
    folder.mkdir(parents=True, exist_ok=True)
    if not sys.stderr.isatty():
        transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)
    tokenizer.model_max_length = network.config.text_config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    llava = network.config.model_type == "llava_onevision"
    (folder / "chat_template.jinja").write_text(_LLAVA_TEMPLATE if llava else _QWEN_TEMPLATE, encoding="utf-8")
    _write(folder, "generation_config.json", _generation(network.config, tokenizer))
    for name, content in (_llava_files if llava else _qwen_files)(network.config, max_frames).items():
        _write(folder, name, content)
    if llava:
        _publish_names(folder / "model.safetensors")
    return folder


def _write(folder: Path, name: str, content: dict[str, Any]) -> None:
    write_atomic(folder / name, json.dumps(content, indent=2) + "\n")


def _generation(config: Any, tokenizer: Any) -> dict[str, Any]:
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    return {
        "bos_token_id": None,
        "do_sample": False,
        "eos_token_id": end,
        "pad_token_id": config.text_config.pad_token_id if config.text_config.pad_token_id is not None else end,
    }


def _qwen_files(
    config: Any, max_frames: int, limits: PixelLimits = STREAMINGVLM_LIMITS
) -> dict[str, dict[str, Any]]:
    vision = config.vision_config
    processor = "Qwen2_5_VLProcessor" if config.model_type == "qwen2_5_vl" else "Qwen2VLProcessor"
    common = {
        "processor_class": processor,
        "patch_size": vision.patch_size,
        "merge_size": vision.spatial_merge_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "min_pixels": limits.min_pixels,
        "max_pixels": limits.frame_pixels,
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
    }
    video = {
        "video_processor_type": "Qwen2VLVideoProcessor",
        "min_frames": 4,
        "max_frames": max_frames,
        "fps": 2.0,
    }
    return {
        "preprocessor_config.json": {"image_processor_type": "Qwen2VLImageProcessor", **common},
        "video_preprocessor_config.json": {**common, **video},
    }


def _llava_files(config: Any, max_frames: int) -> dict[str, dict[str, Any]]:
    side = config.vision_config.image_size
    size = {"height": side, "width": side}
    common = {
        "processor_class": "LlavaOnevisionProcessor",
        "size": size,
        "image_mean": list(SIGLIP_MEAN),
        "image_std": list(SIGLIP_STD),
    }
    pinpoints = config.image_grid_pinpoints
    tokens = (side // config.vision_config.patch_size) ** 2
    return {
        "preprocessor_config.json": {
            "image_processor_type": "LlavaOnevisionImageProcessor",
            "image_grid_pinpoints": pinpoints,
            "do_pad": True,
            **common,
        },
        "video_preprocessor_config.json": {"video_processor_type": "LlavaOnevisionVideoProcessor", **common},
        "processor_config.json": {
            "processor_class": "LlavaOnevisionProcessor",
            "num_image_tokens": tokens,
            "vision_feature_select_strategy": config.vision_feature_select_strategy,
            "image_token": "<image>",
            "video_token": "<video>",
        },
    }


def _publish_names(path: Path) -> None:
    """Give the tower's weights the names of published checkpoints."""
    tensors = load_file(path)
    renamed = {
        name.replace(_TOWER, _TOWER_PUBLISHED, 1)
        if _TOWER in name and _TOWER_PUBLISHED not in name
        else name: tensor
        for name, tensor in tensors.items()
    }
    save_file(renamed, path, metadata={"format": "pt"})

"""Which compressor fits a vision tower."""

from __future__ import annotations

__all__ = ["merge_inside", "wrap_vision_tower"]

from torch import nn
from transformers import SiglipVisionModel
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionTransformerPretrainedModel

from evalkit.compress.cacher import SiglipCacher
from evalkit.compress.qwen_cacher import QwenVisionCacher
from evalkit.compress.settings import CacherSettings, ToMeSettings
from evalkit.compress.tome_tower import SiglipToMe
from evalkit.errors import UsageError


def wrap_vision_tower(tower: nn.Module, settings: CacherSettings) -> SiglipCacher | QwenVisionCacher:
    """Return the cacher for a tower.

    Args:
        tower: ``SiglipVisionModel`` (LLaVA-OneVision's ``vision_tower``) or
            ``Qwen2_5_VisionTransformerPretrainedModel`` (Qwen2.5-VL's ``visual``).
        settings: Settings of the cacher.

    Raises:
        UsageError: No cacher wraps this kind of tower.
    """
    if isinstance(tower, SiglipVisionModel):
        return SiglipCacher(tower, settings)
    if isinstance(tower, Qwen2_5_VisionTransformerPretrainedModel):
        return QwenVisionCacher(tower, settings)
    raise UsageError(
        f"the cacher wraps the vision towers of LLaVA-OneVision (SigLIP) and Qwen2.5-VL, not "
        f"{type(tower).__name__}; leave it out with --compress none or a pruner alone"
    )


def merge_inside(tower: nn.Module, settings: ToMeSettings) -> SiglipToMe:
    """Return a tower that merges tokens.

    Args:
        tower: ``SiglipVisionModel``, LLaVA-OneVision's.
        settings: How many tokens, and whether the grid is restored.

    Raises:
        UsageError: The tower is another. Qwen's attends within windows and joins 2x2 patches, which merging would
            have to keep whole.
    """
    if isinstance(tower, SiglipVisionModel):
        return SiglipToMe(tower, settings)
    raise UsageError(
        f"tome merges inside SigLIP towers (LLaVA-OneVision), not inside {type(tower).__name__}: "
        "choose visionzip or another compressor"
    )

"""Every recorded STC trace, replayed: hidden states within 1e-4 relative, kept indices equal."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import SiglipVisionConfig, SiglipVisionModel

from evalkit.compress.cacher import SiglipCacher
from evalkit.compress.pruner import Pruner
from evalkit.compress.settings import CacherSettings, PrunerSettings

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(os.environ.get("EVALKIT_GOLDEN_DIR", ROOT / ".." / "shared" / "golden")) / "stc"
TRACES = sorted(GOLDEN.rglob("*.npz"))


def traces(kind: str) -> list[Any]:
    found = [
        pytest.param(path, id=path.stem) for path in TRACES if read_meta(path)["name"].startswith(f"stc_{kind}")
    ]
    reason = f"no stc_{kind} traces below {GOLDEN}"
    return found or [pytest.param(None, marks=pytest.mark.skip(reason=reason), id="missing")]


def read_meta(path: Path) -> dict[str, Any]:
    with np.load(path) as trace:
        meta: dict[str, Any] = json.loads(str(trace["meta"]))
    return meta


def recorded_weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    draw = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if "norm" in name:
        draw = np.full(shape, 0.0 if name.endswith("bias") else 1.0, np.float32)
    elif len(shape) == 1:
        draw = draw * np.float32(0.02)
    elif "position_embedding" in name:
        draw = draw * np.float32(0.5)
    else:
        draw = draw * np.float32(1.0 / np.sqrt(np.prod(shape[1:])))
    return torch.from_numpy(draw.astype(np.float32))


def recorded_tower(config: dict[str, Any]) -> SiglipVisionModel:
    tower = SiglipVisionModel(SiglipVisionConfig(**config, attn_implementation="sdpa")).eval()
    with torch.no_grad():
        for name, weight in tower.named_parameters():
            old_name = name if name.startswith("vision_model.") else f"vision_model.{name}"
            weight.copy_(recorded_weight(old_name, tuple(weight.shape)))
    return tower


@pytest.mark.parametrize("path", traces("cacher"))
def test_cacher_gives_the_hidden_states_recorded_from_the_released_code(path: Path) -> None:
    meta = read_meta(path)
    settings = CacherSettings.from_recompute(
        meta["cache_interval"], meta["update_token_ratio"], chunk=meta["frames_per_chunk"]
    )
    cacher = SiglipCacher(recorded_tower(meta["config"]), settings)
    state = cacher.new_state()
    with np.load(path) as trace:
        pixels = torch.from_numpy(trace["pixel_values"])
        size = meta["frames_per_chunk"]
        for chunk, start in enumerate(range(0, len(pixels), size)):
            frames = pixels[start : start + size]
            expected = torch.from_numpy(trace[f"{chunk:03d}/hidden"])
            got = cacher.encode(frames, state).features
            assert got.shape == expected.shape
            error = (got - expected).abs().max() / expected.abs().max()
            assert error <= 1e-4, f"chunk {chunk}: relative error {error:.2e}"


@pytest.mark.parametrize("path", traces("pruner"))
def test_pruner_keeps_the_tokens_recorded_from_the_released_code(path: Path) -> None:
    meta = read_meta(path)
    most_frames = int(np.max(meta["frames_per_step"]))
    pruner = Pruner(PrunerSettings(keep=meta["keep_per_frame"], chunk=most_frames))
    state = pruner.new_state()
    with np.load(path) as trace:
        for step in range(meta["steps"]):
            features = torch.from_numpy(trace[f"{step:03d}/features"])
            frames = features.view(-1, meta["tokens_per_frame"], meta["dim"])
            kept = pruner.prune(frames, state).rows().tolist()
            assert kept == trace[f"{step:03d}/kept"].tolist(), f"step {step}"

"""Choices and vectors of the original compressors, on random input, repeated by ours."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from evalkit.compress import dycoke, tome, vidcom2, visionzip
from evalkit.memory import hermes
from evalkit.memory.infinipot import InfiniPotSettings, select_tokens

FOLDER = Path(os.environ.get("EVALKIT_GOLDEN_DIR", "../shared/golden")) / "compressors"
FILES = sorted(FOLDER.glob("*.npz"))
MISSING = f"no golden traces at {FOLDER}"


class Trace:
    """A file: its arrays as tensors, and what it was made with."""

    def __init__(self, path: Path) -> None:
        self._arrays = np.load(path)
        self.meta: dict[str, Any] = json.loads(str(self._arrays["meta"]))

    def __getitem__(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self._arrays[name]))

    def __contains__(self, name: str) -> bool:
        return name in self._arrays


def close(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours.float(), theirs.float(), rtol=1e-4, atol=2e-5)


def equal(ours: Tensor, theirs: Tensor) -> None:
    assert ours.long().tolist() == theirs.long().tolist()


def sources(batch: int, tokens: int) -> Tensor:
    return torch.eye(tokens).expand(batch, -1, -1)


def tome_merge(trace: Trace) -> None:
    meta, x = trace.meta, trace["x"]
    size = trace["size"] if meta["weighted"] else torch.ones_like(x[..., :1])
    flags = {"class_token": meta["class_token"], "distill_token": meta["distill_token"]}
    matching = tome.match(trace["metric"], meta["r"], **flags)
    if matching is None:  # nothing is merged
        protected = meta["class_token"] + meta["distill_token"]
        assert min(meta["r"], (x.shape[1] - protected) // 2) <= 0
        for name, same in (("out", x), ("out_size", size), ("source", sources(*x.shape[:2])), ("unmerged", x)):
            if name in trace:
                close(same, trace[name])
        return
    grown = tome.merge(size, matching)
    out = tome.merge(x * size, matching) / grown
    close(out, trace["out"])
    close(grown, trace["out_size"])
    equal(tome.merge(sources(*x.shape[:2]), matching, "amax"), trace["source"])
    if not meta["distill_token"]:
        close(tome.unmerge(out, matching), trace["unmerged"])


def _weight(name: str, shape: tuple[int, ...]) -> Tensor:
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    if len(shape) > 1:
        return torch.from_numpy(drawn * np.float32(1 / np.sqrt(np.prod(shape[1:]))))
    if "norm" in name:
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    return torch.from_numpy(drawn * 0.02)


def _linear(x: Tensor, name: str, out: int) -> Tensor:
    return F.linear(x, _weight(f"{name}.weight", (out, x.shape[-1])), _weight(f"{name}.bias", (out,)))


def _norm(x: Tensor, name: str) -> Tensor:
    dim = x.shape[-1]
    return F.layer_norm(x, (dim,), _weight(f"{name}.weight", (dim,)), _weight(f"{name}.bias", (dim,)), 1e-6)


def tome_vit(trace: Trace) -> None:
    meta, x = trace.meta, trace["x"]
    plan = tome.merges_per_layer(meta["layers"], meta["r"])
    assert plan == meta["r_per_layer"]
    size: Tensor | None = None
    source = sources(*x.shape[:2])
    for layer, r in enumerate(plan[: meta["layers"]]):
        name = f"blocks.{layer}"
        joint = _linear(_norm(x, f"{name}.norm1"), f"{name}.attn.qkv", 3 * meta["dim"])
        q, k, v = joint.unflatten(-1, (3, meta["heads"], -1)).permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        weights = tome.weighted_attention(scores, size if meta["prop_attn"] else None)
        x = x + _linear((weights @ v).transpose(1, 2).flatten(2), f"{name}.attn.proj", meta["dim"])
        matching = tome.match(k.mean(dim=1), r, class_token=meta["class_token"])
        if matching is not None:
            size = torch.ones_like(x[..., :1]) if size is None else size
            x = tome.merge(x * size, matching) / tome.merge(size, matching)
            size = tome.merge(size, matching)
            source = tome.merge(source, matching, "amax")
        inner = F.gelu(_linear(_norm(x, f"{name}.norm2"), f"{name}.mlp.fc1", meta["mlp"]))
        x = x + _linear(inner, f"{name}.mlp.fc2", meta["dim"])
        close(x, trace[f"{layer:03d}/hidden"])
        if f"{layer:03d}/size" in trace:
            assert size is not None
            close(size, trace[f"{layer:03d}/size"])
    equal(source, trace["source"])


def visionzip_clip(trace: Trace) -> None:
    meta = trace.meta
    zipped = visionzip.zip_with_class_token(
        trace["attention"], trace["hidden"], trace["metric"], meta["dominant"], meta["contextual"]
    )
    equal(zipped.dominant, trace["keep"])
    close(zipped.out, trace["out"])


def visionzip_siglip(trace: Trace) -> None:
    meta = trace.meta
    received = trace["attention"].mean(dim=1).mean(dim=1)
    pooled = visionzip.pool_map(trace["features"], meta["grid"])
    looked_at = visionzip.pool_map(received.unsqueeze(-1), meta["grid"]).squeeze(-1)
    metric = visionzip.pool_map(trace["metric"], meta["grid"])
    close(pooled, trace["pooled"])
    close(looked_at, trace["pooled_attention"])
    zipped = visionzip.zip_without_class_token(
        looked_at, pooled, metric, meta["tokens"], int(meta["tokens"] * meta["dominant_ratio"])
    )
    close(zipped.out, trace["out"])


def vidcom2_clip(trace: Trace) -> None:
    meta = trace.meta
    features = trace["features"].unflatten(0, (meta["frames"], meta["tokens"]))
    choice = vidcom2.choose_in_clip(features, meta["base_scale"])
    equal(choice.kept, trace["kept"])
    equal(choice.counts, trace["counts"])
    close(choice.scales, trace["scales"])
    close(choice.video_score, trace["video_score"])
    close(choice.frame_score, trace["frame_score"])


def rekv_baselines(trace: Trace) -> None:
    meta = trace.meta
    assert set(meta["modes"]) <= set(vidcom2.STC_MODES)
    tokens = meta["tokens_per_frame"]
    for mode in meta["modes"]:
        scorer = vidcom2.StreamScorer(mode, meta["keep_per_frame"])
        for step in range(meta["steps"]):
            features = trace[f"{step:03d}/features"].unflatten(0, (meta["frames_per_step"], tokens))
            places = scorer.choose(features)
            rows = places + torch.arange(len(features)).unsqueeze(1) * tokens
            equal(rows.flatten(), trace[f"{step:03d}/kept/{mode}"])
    scores, full = trace["visionzip/scores"], trace["visionzip/tokens"]
    equal(
        visionzip.attended_least(scores.flatten(), full.shape[0], meta["keep_fraction"]), trace["visionzip/kept"]
    )
    each = meta["dycoke_tokens_per_frame"]
    frames = trace["dycoke_easy/features"].shape[0] // each
    equal(dycoke.strided_rows(frames, each, meta["dycoke_stride"]), trace["dycoke_easy/kept"])


def dycoke_ttm(trace: Trace) -> None:
    meta = trace.meta
    features = trace["features"].unflatten(0, (meta["frames"], meta["tokens"]))
    equal(dycoke.merge_in_clip(features, meta["merging_ratio"]), trace["kept"])


def dycoke_cache(trace: Trace) -> None:
    meta = trace.meta
    before = None
    for step in range(meta["steps"]):
        view = dycoke.view_of_cache(
            trace[f"{step:03d}/attention"],
            before,
            meta["image_token_start_index"],
            meta["image_token_length"],
            meta["dycoke_p"],
        )
        before = view.attention
        assert view.similarity == pytest.approx(float(trace[f"{step:03d}/similarity"]), abs=1e-5)
        assert (view.kept is not None) == meta["pruned"][step]
        if view.kept is not None:
            equal(view.kept, trace[f"{step:03d}/kept"].sort().values)


def infinipot(trace: Trace) -> None:
    meta = trace.meta
    frames = meta["compress_frames"]
    between = max(1, meta["block_frames"] - frames)
    settings = InfiniPotSettings(frames, meta["tar_ratio"], meta["query_ratio"], meta["adaptive_pooling"], between)
    keys = values = torch.empty(meta["layers"], meta["kv_heads"], 0, meta["head_dim"])
    system = meta["system"]
    for call in range(meta["calls"]):
        keys = torch.cat([keys, trace[f"{call:03d}/keys"]], dim=2)
        values = torch.cat([values, trace[f"{call:03d}/values"]], dim=2)
        kept = select_tokens(
            keys[:, :, system:],
            values[:, :, system:],
            settings,
            tokens=meta["tokens_per_frame"],
            height=meta["frame_height"],
        )
        equal(kept, trace[f"{call:03d}/kept"])
        rows = torch.cat([torch.arange(system).expand(*kept.shape[:2], -1), kept + system], dim=2)
        wide = rows.unsqueeze(-1).expand(-1, -1, -1, meta["head_dim"])
        keys, values = keys.gather(2, wide), values.gather(2, wide)


def hermes_rounds(trace: Trace) -> None:
    meta = trace.meta
    layers: list[hermes.LayerCache | None] = [None] * meta["layers"]
    for number in range(meta["rounds"]):
        name = f"{number:03d}"
        keys, values = trace[f"{name}/keys"], trace[f"{name}/values"]
        grown = [hermes.grow(one, keys[k], values[k]) for k, one in enumerate(layers)]
        looks = [
            hermes.LayerLooks(
                *(trace[f"{name}/{k:02d}/attention_{kind}"] for kind in ("local", "global", "mixed"))
            )
            for k in range(meta["layers"])
        ]
        after, kept = hermes.compress_round(
            grown,
            looks,
            start=meta["visual_start"],
            budget=meta["kv_size"],
            max_positions=meta["max_position_embeddings"],
            theta=meta["rope_theta"],
        )
        for k, one in enumerate(after):
            equal(kept[k], trace[f"{name}/{k:02d}/kept"])
            equal(one.positions, trace[f"{name}/{k:02d}/positions_after"])
            close(one.keys, trace[f"{name}/{k:02d}/keys_after"])
            close(one.values, trace[f"{name}/{k:02d}/values_after"])
        layers = list(after)


CHECKS: dict[str, Callable[[Trace], None]] = {
    "tome_merge": tome_merge,
    "tome_vit": tome_vit,
    "visionzip_clip": visionzip_clip,
    "visionzip_siglip": visionzip_siglip,
    "vidcom2": vidcom2_clip,
    "rekv_baselines": rekv_baselines,
    "dycoke_ttm": dycoke_ttm,
    "dycoke_cache": dycoke_cache,
    "infinipot": infinipot,
    "hermes": hermes_rounds,
}


@pytest.mark.skipif(not FILES, reason=MISSING)
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
@torch.no_grad()
def test_it_chooses_and_merges_as_the_original_does(path: Path) -> None:
    CHECKS[path.stem.rpartition("_")[0]](Trace(path))

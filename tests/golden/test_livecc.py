"""LiveCC's released loop on a tiny Qwen2-VL, repeated turn by turn."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden.streamingvlm_model import SPECIAL_IDS, TraceText, end_row, text_config_of
from numpy.typing import NDArray
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

from evalkit.memory import FullAttention
from evalkit.models.livecc import FIRST_TURN, LiveCCSession
from evalkit.models.protocol import SessionRequest
from evalkit.models.qwen_vl import QwenVL
from evalkit.models.session import PrefillTrace
from evalkit.models.settings import GenerationSettings
from evalkit.models.weights import fill_parameters
from evalkit.stream import Chunk, FrameSchedule, Narration

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("EVALKIT_GOLDEN_DIR", ROOT.parent / "shared" / "golden")) / "livecc"
FILES = sorted(FOLDER.glob("*.npz"))


def scale(name: str, shape: tuple[int, ...]) -> float:
    if name.endswith("ln_q.weight") or (len(shape) == 1 and "norm" in name and name.endswith("weight")):
        return -1.0
    if len(shape) == 1:
        return 0.02
    if "embed_tokens" in name:
        return 1.0
    if "lm_head" in name:
        return 3 / np.sqrt(shape[-1])
    return 1 / np.sqrt(np.prod(shape[1:]))


def backbone_of(meta: dict[str, Any]) -> QwenVL:
    model = meta["model"]
    config = Qwen2VLConfig(
        text_config=text_config_of(model),
        vision_config={
            "depth": model["vdepth"],
            "embed_dim": model["vhidden"],
            "hidden_size": model["hidden"],
            "num_heads": model["vheads"],
            "mlp_ratio": 2,
            "patch_size": 14,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        **SPECIAL_IDS,
    )
    network = Qwen2VLForConditionalGeneration._from_config(
        config, dtype=torch.float32, attn_implementation="sdpa"
    ).eval()
    fill_parameters(network, scale)
    end_row(network, meta["seed"], meta["eos_scale"])
    return QwenVL(network, TraceText(), name=meta["name"])


class Watch:
    prefill: PrefillTrace
    ids: list[int]
    cached: int

    def prefilled(self, trace: PrefillTrace) -> None:
        self.prefill = trace

    def replied(self, ids: Any, cached: int) -> None:
        self.ids, self.cached = list(ids), cached


def seconds(meta: dict[str, Any]) -> Iterator[Chunk]:
    """The stream's seconds; the frames of the first turn are those of three."""
    pictures: dict[int, NDArray[np.float32]] = {}
    for turn in range(meta["turns"]):
        count = 6 if turn == 0 else 2
        drawn = np.random.default_rng([meta["seed"], turn]).standard_normal((count, *meta["frame"]))
        for part, frames in enumerate(np.split(drawn.astype(np.float32), count // 2)):
            pictures[part if turn == 0 else turn + FIRST_TURN - 1] = frames
    for tick in FrameSchedule(0, len(pictures), 2):
        yield Chunk(tick, pictures[tick.index], tick.frame_times, tick.frame_times, 0.0, 0.0)  # type: ignore[arg-type]


@pytest.mark.skipif(not FILES, reason=f"no LiveCC traces in {FOLDER} (set EVALKIT_GOLDEN_DIR)")
@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_the_loop_repeats_the_original_turn_by_turn(path: Path) -> None:
    golden = np.load(path)
    meta = json.loads(str(golden["meta"]))
    backbone = backbone_of(meta)
    packed = backbone.pack_normalised
    backbone.pack = lambda frames: packed(torch.from_numpy(frames))  # type: ignore[method-assign]
    watch = Watch()
    generation = GenerationSettings(
        temperature=0, repetition_penalty=meta["repetition_penalty"], max_new_tokens=meta["max_new_tokens"]
    )
    request = SessionRequest(meta["name"], 2.0, narration=Narration(instruction=meta["query"], previous_text=""))
    session = LiveCCSession(backbone, FullAttention(), generation, request, trace=watch)
    for chunk in seconds(meta):
        spoken = session.speak(chunk)
        turn = chunk.tick.index - FIRST_TURN + 1
        if turn < 0:
            assert spoken.text == ""
            continue
        name = f"{turn:03d}"
        before = int(golden[f"{name}/kv_len_before"])
        assert watch.prefill.ids.tolist() == golden[f"{name}/input_ids"].tolist(), f"context of turn {turn}"
        assert watch.prefill.cached == before
        ours = watch.prefill.positions[:, before:]
        np.testing.assert_array_equal(ours, golden[f"{name}/position_ids"], err_msg=f"positions of turn {turn}")
        if turn:  # the words of the turn before
            decoded = golden[f"{turn - 1:03d}/decode_positions"]
            said = watch.prefill.positions[:, before - len(decoded) : before]
            np.testing.assert_array_equal(said.T, decoded, err_msg=f"positions of turn {turn - 1}'s words")
        logits = watch.prefill.logits.numpy()
        for ids, values in (("probe_ids", f"{name}/probe_logits"), (f"{name}/top_ids", f"{name}/top_logits")):
            np.testing.assert_allclose(logits[golden[ids]], golden[values], atol=1e-3, rtol=0)
        assert watch.ids == golden[f"{name}/generated_ids"].tolist(), f"reply of turn {turn}"
        assert watch.cached == golden[f"{name}/kv_len_after"]
    assert turn == meta["turns"] - 1


@pytest.mark.skipif(not FILES, reason=f"no LiveCC traces in {FOLDER} (set EVALKIT_GOLDEN_DIR)")
def test_a_restored_loop_goes_on_as_the_unbroken_one() -> None:
    meta = json.loads(str(np.load(FILES[0])["meta"]))
    backbone = backbone_of(meta)
    packed = backbone.pack_normalised
    backbone.pack = lambda frames: packed(torch.from_numpy(frames))  # type: ignore[method-assign]
    request = SessionRequest(meta["name"], 2.0, narration=Narration(instruction=meta["query"], previous_text=""))
    generation = GenerationSettings(temperature=0, max_new_tokens=6)

    def opened() -> LiveCCSession:
        return LiveCCSession(backbone, FullAttention(), generation, request)

    whole, broken, resumed = opened(), opened(), opened()
    chunks = list(seconds(meta))
    said = [whole.speak(chunk).text for chunk in chunks]
    broken.speak(chunks[0])
    assert broken.state() is None
    before = [broken.speak(chunk).text for chunk in chunks[1:5]]
    state = broken.state()
    assert state is not None
    resumed.restore(state)
    assert ["", *before, *(resumed.speak(chunk).text for chunk in chunks[5:])] == said

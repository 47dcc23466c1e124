"""Second by second, the session reproduces what the original StreamingVLM did."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from golden.streamingvlm_model import backbone_of

from evalkit.memory import SlidingWindow, StreamingVLM
from evalkit.memory.policies import MemoryPolicy
from evalkit.models.batch import BatchServer, SharedBackbone, StreamBatch
from evalkit.models.protocol import SessionRequest
from evalkit.models.session import CachedSession, PrefillTrace
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Chunk, FrameSchedule, Narration

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("EVALKIT_GOLDEN_DIR", ROOT.parent / "shared" / "golden")) / "streamingvlm"
FILES = sorted(FOLDER.glob("*.npz"))
DEFAULTS = {"window_size": 16, "text_round": 16, "text_sink": 512, "text_sliding_window": 512}


def policy_of(meta: dict[str, Any]) -> MemoryPolicy:
    value = DEFAULTS | meta
    common = {
        "vision_window": value["window_size"],
        "text_rounds": value["text_round"],
        "text_sink": value["text_sink"],
        "text_window": value["text_sliding_window"],
        "positions": "native" if meta.get("pos_mode") == "append" else "contiguous",
    }
    return SlidingWindow(**common) if meta.get("recompute") else StreamingVLM(**common)


class Watch:
    def __init__(self) -> None:
        self.prefill: PrefillTrace | None = None
        self.reply: tuple[Sequence[int], int] = ((), 0)

    def prefilled(self, trace: PrefillTrace) -> None:
        self.prefill = trace

    def replied(self, ids: Sequence[int], cached: int) -> None:
        self.reply = (ids, cached)


def repeat(path: Path, backbone: Any) -> None:
    """Go through a trace's stream and hold every second against it."""
    golden = np.load(path)
    meta = json.loads(str(golden["meta"]))
    watch = Watch()
    request = SessionRequest(
        sample=meta["name"],
        fps=2.0,
        narration=Narration(instruction=meta.get("query", ""), previous_text=meta.get("previous_text", "")),
    )
    generation = GenerationSettings(temperature=0, repetition_penalty=1.05, max_new_tokens=20)
    session = CachedSession(backbone, policy_of(meta), generation, request, trace=watch)
    for tick in FrameSchedule(0, meta["chunks"], 2):
        frames = (
            np.random.default_rng([meta["seed"], tick.index]).standard_normal(meta["frame"]).astype(np.float32)
        )
        chunk = Chunk(tick, torch.from_numpy(frames), tick.frame_times, tick.frame_times, 0.0, 0.0)  # type: ignore[arg-type]
        session.speak(chunk)
        want = {name: golden[f"{tick.index:03d}/{name}"] for name in (
            "input_ids", "kv_len_before", "position_ids", "generated_ids", "kv_len_after", "top_ids", "top_logits",
            "probe_logits")}  # fmt: skip
        got = watch.prefill
        assert got is not None
        np.testing.assert_array_equal(got.ids, want["input_ids"], err_msg=f"context ids of second {tick.index}")
        assert got.cached == want["kv_len_before"]
        positions = got.positions
        if meta.get("pos_mode") == "append":
            positions = positions[:, got.cached :]
        np.testing.assert_array_equal(positions, want["position_ids"], err_msg=f"positions of second {tick.index}")
        logits = got.logits.numpy()
        np.testing.assert_allclose(logits[meta["probe_ids"]], want["probe_logits"], atol=1e-3, rtol=0)
        np.testing.assert_allclose(logits[want["top_ids"]], want["top_logits"], atol=1e-3, rtol=0)
        ids, cached = watch.reply
        assert list(ids) == want["generated_ids"].tolist(), f"reply of second {tick.index}"
        assert cached == want["kv_len_after"]
    assert Fraction(meta["chunks"]) == tick.end


def backbone_of_trace(meta: dict[str, Any]) -> Any:
    """The trace's frames are normalised already: only the packing of the session is used."""
    backbone: Any = backbone_of(meta)
    backbone.pack = backbone.pack_normalised
    return backbone


def meta_of(path: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads(str(np.load(path)["meta"]))
    return meta


@pytest.mark.skipif(not FILES, reason=f"no StreamingVLM traces in {FOLDER} (set EVALKIT_GOLDEN_DIR)")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_session_repeats_the_original_second_by_second(path: Path) -> None:
    repeat(path, backbone_of_trace(meta_of(path)))


class OwnHead(SharedBackbone):
    """A trace's own output layer, which differs in one row, over a network that all traces share."""

    def __init__(self, own: Any, shared: Any, group: StreamBatch) -> None:
        super().__init__(shared, group)
        self._own = own

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        super().logits(hidden)
        scores: torch.Tensor = self._own.logits(hidden)
        return scores


@pytest.mark.skipif(not FILES, reason=f"no StreamingVLM traces in {FOLDER} (set EVALKIT_GOLDEN_DIR)")
def test_all_traces_of_one_network_are_repeated_as_one_batch_of_streams() -> None:
    networks: dict[str, list[Path]] = {}
    for path in FILES:
        networks.setdefault(json.dumps(meta_of(path)["model"], sort_keys=True), []).append(path)
    together = max(networks.values(), key=len)
    shared = backbone_of_trace(meta_of(together[0]))
    batches: list[int] = []
    server = BatchServer(shared)

    def serve(requests: Sequence[Any]) -> list[Any]:
        batches.append(len(requests))
        return server(requests)

    group = StreamBatch(serve)
    own = [OwnHead(backbone_of_trace(meta_of(path)), shared, group) for path in together]
    group.run([partial(repeat, path, head) for path, head in zip(together, own, strict=True)], len(together))
    assert max(batches) == len(together) > 1

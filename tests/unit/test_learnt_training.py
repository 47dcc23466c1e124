"""Training chunks lie in the context as a session's do: same ids, same positions, same previous text."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from learnt.chunks import CLASSES, INSTRUCTION, SINK, WINDOW, Chunks, seen_pixels
from learnt.network import PATCH_CELLS, build_network, save_checkpoint
from learnt.vocabulary import END_OF_LINE, make_tokenizer
from train_learnt import DENSE, INSTRUCTION_PIECES, Log, Stage, tower_features, train, train_tower
from transformers import PreTrainedTokenizerFast

import evalkit.models.session as session_module
from evalkit.memory import FullAttention, StreamingVLM
from evalkit.memory.policies import MemoryPolicy
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.pack import normalise, to_patches
from evalkit.models.protocol import SessionRequest
from evalkit.models.qwen_vl import QwenVL
from evalkit.models.session import CachedSession, PrefillTrace
from evalkit.models.settings import GenerationSettings
from evalkit.models.text import HuggingFaceText
from evalkit.stream import Chunk, FrameSchedule, Narration
from evalkit_tasks.demo import WORDS, line, make_match
from evalkit_tasks.demo.draw import CELL
from evalkit_tasks.demo.raster import picture

MATCH = make_match(77, 80)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_tokenizer(WORDS, INSTRUCTION_PIECES)


@pytest.fixture(scope="module")
def backbone(tokenizer: Any) -> QwenVL:
    torch.manual_seed(0)
    network = build_network(tokenizer, PATCH_CELLS * CELL).eval()
    text = HuggingFaceText(PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False))
    return QwenVL(network, text, name="fresh")


@dataclass
class Traces:
    prefills: list[PrefillTrace] = field(default_factory=list)

    def prefilled(self, trace: PrefillTrace) -> None:
        self.prefills.append(trace)

    def replied(self, ids: Sequence[int], cached: int) -> None:
        """Nothing to note."""


@pytest.fixture
def gold_replies(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Puts ids into the session's mouth; whoever uses it fills the list."""
    waiting: list[int] = []

    class Scripted:
        def __init__(self, *_: Any) -> None:
            pass

        def choose(self, logits: torch.Tensor) -> torch.Tensor:
            return torch.tensor([waiting.pop(0)])

    monkeypatch.setattr(session_module, "TokenChooser", Scripted)
    return waiting


def narrate(
    backbone: QwenVL, policy: MemoryPolicy, seconds: range, previous: str, mouth: list[int]
) -> tuple[CachedSession, Traces]:
    """Let a session say the right words over some seconds of the match."""
    traces = Traces()
    request = SessionRequest("s", 2.0, narration=Narration(INSTRUCTION, previous))
    session = CachedSession(backbone, policy, GenerationSettings(), request, trace=traces)
    ticks = FrameSchedule(Fraction(seconds.start), Fraction(seconds.stop), Fraction(2))
    end = backbone.layout.tokens.turn_close
    for tick, at in zip(ticks, seconds, strict=True):
        moment = MATCH.moments[at]
        frame = picture(MATCH, moment).repeat(CELL, 0).repeat(CELL, 1)
        mouth += [*backbone.layout.text.encode(" " + " ".join(line(MATCH, moment)) + END_OF_LINE), end]
        session.speak(Chunk(tick, np.stack([frame, frame]), tick.frame_times, tick.frame_times, 0.0, 0.0))
    return session, traces


def said(seconds: Sequence[int]) -> str:
    return "".join(f" {word}" for at in seconds for word in line(MATCH, MATCH.moments[at]))


@pytest.mark.parametrize("start", [0, 9])
def test_a_chunk_has_the_ids_and_positions_of_a_session(
    start: int, backbone: QwenVL, tokenizer: Any, gold_replies: list[int]
) -> None:
    seconds = range(start, start + 4)
    _, traces = narrate(backbone, FullAttention(), seconds, said(range(start)), gold_replies)
    chunk = Chunks(tokenizer, 0).of_match(MATCH, start, 4, shift=0, instruct=True)
    for trace in traces.prefills:
        assert np.array_equal(chunk.ids[: len(trace.ids)], trace.ids)
        assert np.array_equal(chunk.positions[:, : len(trace.ids)], trace.positions)


def test_what_is_learnt_are_the_words_and_the_end_of_each_answer(tokenizer: Any) -> None:
    chunk = Chunks(tokenizer, 0).of_match(MATCH, 9, 4, shift=0, instruct=False)
    words = [int(i) for i in chunk.ids[chunk.classes > 0]]
    end = tokenizer.token_to_id("<|im_end|>")
    expected: list[int] = []
    for at in range(9, 13):
        text = " " + " ".join(line(MATCH, MATCH.moments[at])) + END_OF_LINE
        expected += [*tokenizer.encode(text, add_special_tokens=False).ids, end]
    assert words == expected
    assert [moment.at for _, moment in chunk.shown] == [9, 10, 11, 12]


def test_the_previous_text_of_a_late_chunk_is_what_streamingvlm_keeps(
    backbone: QwenVL, tokenizer: Any, gold_replies: list[int]
) -> None:
    policy = StreamingVLM(vision_window=2, text_rounds=2, text_sink=SINK, text_window=WINDOW)
    session, _ = narrate(backbone, policy, range(66), "", gold_replies)
    kept = np.concatenate([span.ids for span in session.ledger if span.kind == "previous_text"])
    assert len(kept) == SINK + WINDOW - 1
    chunk = Chunks(tokenizer, 0).of_match(MATCH, 64, 2, shift=0, instruct=False)
    opened = backbone.layout.previous_text("")[0].ids
    first = len(backbone.layout.system().ids) + len(opened)
    assert np.array_equal(chunk.ids[first : first + len(kept)], kept)


def test_every_word_is_one_token_and_text_comes_back_whole(tokenizer: Any) -> None:
    assert all(len(tokenizer.encode(f" {word}", add_special_tokens=False).ids) == 1 for word in WORDS)
    for text in (INSTRUCTION, "Time=3599.0-3600.0s", " goal Red 3 -2 ...", "Führung: 3:2\n\n„Tor!“"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_the_tower_sees_the_same_in_cells_as_in_pixels(tokenizer: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = build_network(tokenizer).eval()
    save_checkpoint(network, tokenizer, tmp_path / "folder")
    loaded = load_backbone(LoadRequest(str(tmp_path / "folder"), device="cpu"))
    cells = np.stack([picture(MATCH, MATCH.moments[at]) for at in (0, 0)])
    patches, grid = to_patches(normalise(cells), patch=PATCH_CELLS)
    with torch.inference_mode():
        wanted = network.model.visual(patches, torch.tensor([list(grid)])).pooler_output
        seen = loaded.encode(loaded.pack(cells.repeat(CELL, 1).repeat(CELL, 2)))
    assert seen.shape == wanted.shape == (8, 128)
    assert torch.allclose(seen, wanted, atol=0.05)


def test_noise_leaves_a_picture_what_it_is() -> None:
    shown = [(MATCH, moment) for moment in MATCH.moments[:30]]
    pixels = seen_pixels(shown, np.random.default_rng(0)).astype(float)
    clean = np.stack([picture(*one) for one in shown for _ in range(2)]).astype(float)
    assert 0 < np.abs(pixels - clean).mean() < 12


def test_some_steps_of_training_lower_the_loss(tokenizer: Any) -> None:
    torch.manual_seed(0)
    network = build_network(tokenizer)
    out = io.StringIO()
    log = Log(out)
    train_tower(
        lambda shown, noise: tower_features(network, shown, noise),
        network.model.visual.parameters(),
        128,
        steps=40,
        seed=0,
        log=log,
        batch=12,
    )
    stage = Stage("short", 24, 3, 2, (DENSE,), 0)
    train(network, Chunks(tokenizer, 0), [stage], 0, log, lambda: None)
    lines = [json.loads(text) for text in out.getvalue().splitlines()]
    tower = [entry["loss"] for entry in lines if entry["stage"] == "tower"]
    chunks = [entry["loss"] for entry in lines if entry["stage"] == "short"]
    assert tower[-1] < 0.9 * tower[0]
    assert chunks[-1] < 0.8 * chunks[0]
    assert set(lines[-1]["right"]) <= set(CLASSES)

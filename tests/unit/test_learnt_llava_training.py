"""Training rows of `learnt-llava` lie in the context as a session's do; its first layers recall from the start."""

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
from learnt.llava import PIXELS_PER_INPUT, begin_recalling, build_llava, llava_features, save_llava
from learnt.llava_vocabulary import THINK, THOUGHT, make_llava_tokenizer, options
from learnt.questions import KINDS, PARTS, Branch, Form, Questions, Row
from train_learnt import DENSE, Log, train_tower
from train_learnt_llava import Stage, forward, tower_parameters, train
from transformers import PreTrainedTokenizerFast

from evalkit.memory import FullAttention
from evalkit.models.card import read_card
from evalkit.models.llava_onevision import LlavaOnevision
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.protocol import SessionRequest
from evalkit.models.session import CachedSession, PrefillTrace
from evalkit.models.settings import GenerationSettings
from evalkit.models.text import HuggingFaceText
from evalkit.stream import Chunk, Elicitation, Tick
from evalkit_tasks.demo import DemoMatch, make_match
from evalkit_tasks.demo.raster import picture
from evalkit_tasks.ovobench.data import OvoSettings, load_data
from evalkit_tasks.streamingbench.data import SbSettings
from evalkit_tasks.streamingbench.data import load_data as load_streamingbench
from evalkit_tasks.toy_qa import Toy, make_toy

MATCH = make_match(77, 20)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return make_llava_tokenizer()


@pytest.fixture(scope="module")
def backbone(tokenizer: Any) -> LlavaOnevision:
    torch.manual_seed(0)
    network = build_llava(tokenizer, PIXELS_PER_INPUT).eval()
    text = HuggingFaceText(PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False))
    return LlavaOnevision(network, text, name="fresh")


@dataclass
class Traces:
    prefills: list[PrefillTrace] = field(default_factory=list)

    def prefilled(self, trace: PrefillTrace) -> None:
        self.prefills.append(trace)

    def replied(self, ids: Sequence[int], cached: int) -> None:
        """Nothing to note."""


def in_pixels(match: DemoMatch, at: int) -> Any:
    """A frame of a second in the tower's size: every cell 7 pixels wide and 14 high."""
    return picture(match, match.moments[at]).repeat(2 * PIXELS_PER_INPUT, 0).repeat(PIXELS_PER_INPUT, 1)


def asked(
    backbone: LlavaOnevision, prompt: str, spans: Sequence[tuple[float, float]], *, clip: bool
) -> PrefillTrace:
    """Let a session see spans of the match, one frame each, and ask it; return what stood in its context."""
    traces = Traces()
    request = SessionRequest("s", 1.0, time_stamps=not clip, whole_clip=clip)
    session = CachedSession(backbone, FullAttention(), GenerationSettings(), request, trace=traces)
    shown = [spans] if clip else [[span] for span in spans]
    for index, part in enumerate(shown):
        edges = Fraction(repr(part[0][0])), Fraction(repr(part[-1][1]))
        frames = [in_pixels(MATCH, int(start)) for start, _ in part if start == int(start)]
        times = tuple(start for start, _ in part)
        tick = Tick(index, *edges, tuple(map(Fraction, times)))
        pixels = np.stack(frames) if frames else np.zeros((0, 224, 224, 3), np.uint8)
        session.observe(Chunk(tick, pixels, times, times, 0.0, 0.0))
    session.ask(prompt, Elicitation(max_tokens=1), key="q")
    return traces.prefills[-1]


def branch_tokens(row: Row, number: int) -> tuple[list[int], list[int]]:
    """What a branch of a row sees and is, up to where its reply begins: ids and positions."""
    mine = [index for index, branch in enumerate(row.branches) if branch == number]
    begun = next(index for index in mine if row.parts[index])
    limit = row.limits[mine[0]]
    seen = [*range(limit), *range(mine[0], begun)]
    return [row.ids[index] for index in seen], [row.positions[index] for index in seen]


@pytest.mark.parametrize("tenth", [0, 9])
def test_a_question_in_a_stream_has_the_ids_and_positions_of_a_session(
    tenth: int, backbone: LlavaOnevision, tokenizer: Any
) -> None:
    questions = Questions(tokenizer, 0)
    branches = [questions.branch(MATCH, at, "venue") for at in (2, 4)]
    row = questions.row(MATCH, range(6), [(2, branches[0], tenth), (4, branches[1], tenth)], Form(cut=0.0))
    for number, (at, branch) in enumerate(zip((2, 4), branches, strict=True), start=1):
        spans = [(float(second), second + 1.0) for second in range(at)]
        spans.append((float(at), at + (tenth / 10 if tenth else 1.0)))
        trace = asked(backbone, branch.prompt, spans, clip=False)
        ids, positions = branch_tokens(row, number)
        assert np.array_equal(ids, trace.ids)
        assert np.array_equal(positions, trace.positions[0])


def test_a_question_on_a_whole_clip_has_them_too(backbone: LlavaOnevision, tokenizer: Any) -> None:
    questions = Questions(tokenizer, 0)
    branch = questions.branch(MATCH, 3, "shown")
    row = questions.row(MATCH, range(4), [(3, branch, 0)], Form(stamped=False, clip=True))
    trace = asked(backbone, branch.prompt, [(float(at), at + 1.0) for at in range(4)], clip=True)
    ids, positions = branch_tokens(row, 1)
    assert np.array_equal(ids, trace.ids)
    assert np.array_equal(positions, trace.positions[0])


def test_a_branch_sees_the_stream_before_it_and_no_other_branch(tokenizer: Any) -> None:
    torch.manual_seed(0)
    network = build_llava(tokenizer)
    questions = Questions(tokenizer, 0)
    first, second = (questions.branch(MATCH, at, "shown") for at in (2, 5))
    both = questions.row(MATCH, range(6), [(2, first, 0), (5, second, 9)], Form())
    alone = questions.row(MATCH, range(3), [(2, first, 0)], Form())

    def logits(row: Row) -> torch.Tensor:
        class NoNoise:
            integers = staticmethod(lambda *_: 0)
            normal = staticmethod(lambda mean, _, shape: np.full(shape, mean))

        with torch.inference_mode():
            return forward(network, [row], NoNoise())[0]  # type: ignore[arg-type]

    assert torch.allclose(logits(both)[:5], logits(alone), atol=1e-4)


def test_what_is_learnt_is_the_word_then_the_letter(tokenizer: Any) -> None:
    questions = Questions(tokenizer, 0)
    branch = Branch("venue", "Which venue did the opening card show?", "Harbour", "C")
    row = questions.row(MATCH, range(2), [(1, branch, 0)], Form())
    said = [index for index, part in zip(row.ids, row.parts, strict=True) if part]
    assert tokenizer.decode(said, skip_special_tokens=False) == f"{THINK} Harbour{THOUGHT}C<|im_end|>"
    assert [PARTS[part] for part in row.parts if part] == ["form", "venue", "form", "letter", "form"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("count", "step", "enough", "never")])
def test_a_letter_is_right_as_often_as_another(kind: str, tokenizer: Any) -> None:
    questions = Questions(tokenizer, 0)
    drawn = [questions.branch(make_match(seed, 20), 15, kind) for seed in range(120)]
    for branch in drawn:
        assert f"{branch.answer}. {branch.word}" in branch.prompt
    shares = np.bincount(["ABCD".index(branch.answer) for branch in drawn], minlength=4) / len(drawn)
    letters = 3 if kind == "scorer" else 4
    assert np.all(np.abs(shares[:letters] - 1 / letters) < 0.15)


def test_every_option_is_one_token_and_text_comes_back_whole(tokenizer: Any) -> None:
    assert all(len(tokenizer.encode(f" {option}", add_special_tokens=False).ids) == 1 for option in options())
    for text in ("Time=59.0-59.9s", "Time=3599.0-3600.0s", "A. red left;", "Führung: 3:2\n\n„Tor!“"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False).ids) == text


def test_the_questions_of_the_demos_are_in_its_vocabulary(tokenizer: Any, tmp_path: Path) -> None:
    toy = Toy(
        (make_match(7, 60),), lambda path, _: (path.parent.mkdir(parents=True, exist_ok=True), path.touch())[1]
    )
    make_toy("ovobench", tmp_path / "ovo", toy)
    make_toy("streamingbench", tmp_path / "sb", toy)
    real = SbSettings(tasks=("OP", "CR", "CS", "ATP", "EU", "TR"))
    loaded = [load_data(tmp_path / "ovo", OvoSettings()), load_streamingbench(tmp_path / "sb", real)]
    queries = [query for data in loaded for sample in data.samples for query in sample.queries]
    assert len(queries) > 20
    for query in queries:
        assert len(tokenizer.encode(query.prompt, add_special_tokens=False).ids) <= 24, query.prompt


def test_the_tower_sees_the_same_in_cells_as_in_pixels(tokenizer: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = build_llava(tokenizer).eval()
    save_llava(network, tokenizer, tmp_path / "folder")
    loaded = load_backbone(LoadRequest(str(tmp_path / "folder"), device="cpu"))

    class NoNoise:
        integers = staticmethod(lambda *_: 0)
        normal = staticmethod(lambda mean, _, shape: np.full(shape, mean))

    with torch.inference_mode():
        wanted = llava_features(network, [(MATCH, MATCH.moments[0])], NoNoise())  # type: ignore[arg-type]
        seen = loaded.encode(loaded.pack(in_pixels(MATCH, 0)[None]))
    assert seen.shape == wanted.shape == (16, 128)
    assert torch.allclose(seen, wanted, atol=0.1)
    assert set(read_card(str(tmp_path / "folder")).sha256) >= {"model.safetensors", "tokenizer.json"}


def test_the_first_layers_find_an_earlier_copy_of_a_token_before_any_training(tokenizer: Any) -> None:
    torch.manual_seed(0)
    network = build_llava(tokenizer)
    begin_recalling(network)
    text = "\nA. Harbour\nB. Eastgate\nC. Lakeside\n<think> Eastgate</think>"
    ids = tokenizer.encode(text, add_special_tokens=False)
    network.set_attn_implementation("eager")
    with torch.inference_mode():
        out = network.model.language_model(input_ids=torch.tensor([ids.ids]), output_attentions=True)
    first, second = out.attentions[0][0], out.attentions[1][0]
    option, last = ids.tokens.index("ĠEastgate"), len(ids.ids) - 1
    assert ids.tokens[option - 1] == "B."
    assert first[0, option, option - 1] > 0.9
    copies = [index for index, token in enumerate(ids.tokens) if token == "ĠEastgate"]
    assert second[0, last, copies].sum() > 0.9


def test_some_steps_of_training_lower_the_loss(tokenizer: Any) -> None:
    torch.manual_seed(0)
    network = build_llava(tokenizer)
    begin_recalling(network)
    out = io.StringIO()
    log = Log(out)
    train_tower(
        lambda shown, noise: llava_features(network, shown, noise),
        tower_parameters(network),
        128,
        steps=60,
        seed=0,
        log=log,
        batch=24,
    )
    train(network, Questions(tokenizer, 0), [Stage("short", 24, (3, 3), 2, 4, (DENSE,))], 0, log, lambda: None)
    lines = [json.loads(text) for text in out.getvalue().splitlines()]
    tower = [entry["loss"] for entry in lines if entry["stage"] == "tower"]
    rows = [entry["loss"] for entry in lines if entry["stage"] == "short"]
    assert tower[-1] < 0.9 * tower[0]
    assert rows[-1] < 0.8 * rows[0]
    assert set(lines[-1]["right"]) <= set(PARTS)

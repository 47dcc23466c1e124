"""ReKV on the built-in LLaVA: with every frame retrieved it is full attention, and questions leave no trace."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalkit.compress import parse_compression
from evalkit.errors import ModelError, UsageError
from evalkit.memory import FullAttention
from evalkit.memory.retrieval import ReKVSettings
from evalkit.models.protocol import SessionRequest
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Elicitation

if TYPE_CHECKING:
    from evalkit.models.backbone import Backbone
    from evalkit.models.retrieval import RetrievalSession
    from evalkit.models.session import PrefillTrace
    from evalkit.stream import Chunk

Seconds = Callable[..., Iterator["Chunk"]]
REQUEST = SessionRequest("sample", 1.0, time_stamps=False)
GREEDY = GenerationSettings(temperature=0, repetition_penalty=1.0, answer_tokens=6)
PROMPT = "Question: Who scored?\nOptions:\n(A) Red\n(B) Blue\nOnly give the best option."


@pytest.fixture(scope="module")
def llava() -> Backbone:
    from evalkit.models.load import LoadRequest, load_backbone

    return load_backbone(LoadRequest("tiny-llava", device="cpu"))


@pytest.fixture
def stream(llava: Backbone, seconds: Seconds) -> Callable[[int], list[Chunk]]:
    size = llava.frame_size(100, 100)
    return lambda count: list(seconds(count, fps=1, size=size))


def opened(llava: Backbone, compress: str = "none", **settings: object) -> RetrievalSession:
    from evalkit.models.retrieval import RetrievalSession
    from evalkit.models.vision import VisionSide

    vision = VisionSide(llava, parse_compression(compress)).open()
    return RetrievalSession(llava, ReKVSettings(**settings), GREEDY, REQUEST, vision=vision)  # type: ignore[arg-type]


class Watch:
    """Keeps the logits a cached session's reply begins with."""

    def prefilled(self, trace: PrefillTrace) -> None:
        self.logits = trace.logits

    def replied(self, ids: object, cached: int) -> None:
        """Nothing is kept of replies."""


def test_with_every_frame_retrieved_it_answers_as_full_attention_does(
    llava: Backbone, stream: Callable[[int], list[Chunk]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.memory.rekv import StreamDecoder
    from evalkit.models.session import CachedSession

    watch = Watch()
    full = CachedSession(llava, FullAttention(), GREEDY, REQUEST, trace=watch)
    rekv = opened(llava, n_local=100_000, topk=64)
    for chunk in stream(4):
        full.observe(chunk)
        rekv.observe(chunk)
    first: list[torch.Tensor] = []
    extend = StreamDecoder.extend
    monkeypatch.setattr(
        StreamDecoder, "extend", lambda self, *given: first.append(extend(self, *given)) or first[-1]
    )
    elicitation = Elicitation(prefix="Best option: (")
    answers = [session.ask(PROMPT, elicitation, key="q") for session in (full, rekv)]
    torch.testing.assert_close(first[0], watch.logits, rtol=1e-4, atol=1e-3)
    assert answers[0].text == answers[1].text
    assert answers[0].tokens == answers[1].tokens


def test_a_question_leaves_the_memory_as_it_was(llava: Backbone, stream: Callable[[int], list[Chunk]]) -> None:
    session = opened(llava, n_local=600, topk=2)
    *before, last = stream(5)
    for chunk in before:
        session.observe(chunk)
    kept = {name: tensor.clone() for name, tensor in session.state()["tensors"].items()}
    one = session.ask(PROMPT, Elicitation(), key="q")
    assert session.ask(PROMPT, Elicitation(), key="q").text == one.text
    after = session.state()["tensors"]
    assert kept.keys() == after.keys()
    assert all(torch.equal(kept[name], after[name]) for name in kept)
    assert session.observe(last).kept["vision"] == 5 * session.decoder.blocks.size(0)


@pytest.mark.parametrize("compress", ["none", "dycoke-ttm", "frame-stride(every=2)"])
def test_a_restored_session_goes_on_as_the_unbroken_one(
    compress: str, llava: Backbone, stream: Callable[[int], list[Chunk]]
) -> None:
    chunks = stream(6)
    whole, broken = (opened(llava, compress, n_local=600, topk=2) for _ in range(2))
    for chunk in chunks:
        whole.observe(chunk)
    for chunk in chunks[:3]:
        broken.observe(chunk)
    resumed = opened(llava, compress, n_local=600, topk=2)
    resumed.restore(broken.state())
    for chunk in chunks[3:]:
        resumed.observe(chunk)
    assert resumed.ask(PROMPT, Elicitation(), key="q").text == whole.ask(PROMPT, Elicitation(), key="q").text
    ours, theirs = resumed.state()["tensors"], whole.state()["tensors"]
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("compress", "blocks"), [("dycoke-ttm", [196, 58, 58, 58, 196]), ("frame-stride(every=4)", [196, 196])]
)
def test_frames_may_keep_different_numbers_of_tokens_and_none(
    compress: str, blocks: list[int], llava: Backbone, stream: Callable[[int], list[Chunk]]
) -> None:
    session = opened(llava, compress, n_local=600, topk=3)
    seen = [session.observe(chunk).tokens_in["vision"] for chunk in stream(5)]
    assert [count for count in seen if count] == blocks
    assert [session.decoder.blocks.size(n) for n in range(session.decoder.frames)] == blocks
    assert session.ask(PROMPT, Elicitation(), key="q").tokens


@pytest.mark.parametrize("protocol", ["rekv", "stc"])
def test_each_protocol_retrieves_within_its_budget(
    protocol: str, llava: Backbone, stream: Callable[[int], list[Chunk]]
) -> None:
    session = opened(llava, n_local=600, topk=2, protocol=protocol)
    for chunk in stream(5):
        session.observe(chunk)
    block = session.decoder.blocks.size(0)
    answer = session.ask(PROMPT, Elicitation(max_tokens=3), key="q")
    asked = answer.context_tokens - session.decoder.n_init - 2 * block
    assert 0 < asked <= session.decoder.n_init + 600
    assert 1 <= answer.tokens <= 3
    options = Elicitation(options=("A", "B"))
    assert session.ask(PROMPT, options, key="q").text in ("A", "B")


def test_what_it_cannot_do_is_one_line(llava: Backbone, stream: Callable[[int], list[Chunk]]) -> None:
    with pytest.raises(UsageError, match=r"topk=4 frames of 196 tokens are 784, and n_local=600 holds 3"):
        opened(llava, n_local=600, topk=4).observe(stream(1)[0])
    session = opened(llava)
    with pytest.raises(UsageError, match="a question before the first frame"):
        session.ask(PROMPT, Elicitation(), key="q")
    (chunk,) = stream(1)
    with pytest.raises(ModelError, match="leave subtitles out"):
        session.observe(chunk, ("Goal!",))
    with pytest.raises(ModelError, match="does not narrate"):
        session.speak(chunk)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"topk": 5, "chunk": 2}, "topk=5 is no multiple of chunk=2"),
        ({"n_local": 0}, "n_local, topk and chunk are 1 or more"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ReKVSettings(**settings)


def test_seconds_and_questions_say_what_is_kept_and_what_was_retrieved(
    llava: Backbone, stream: Callable[[int], list[Chunk]]
) -> None:
    session = opened(llava, n_local=600, topk=2)
    steps = [session.observe(chunk) for chunk in stream(5)]
    block = session.decoder.blocks.size(0)
    held = steps[-1].held
    assert held is not None
    assert (held.active, held.budget, held.stored) == (600, 600, 5 * block)
    sizes = [step.held.stored_mib for step in steps if step.held is not None]
    assert sizes == pytest.approx([sizes[0] * (1 + k) for k in range(5)], rel=1e-3)
    answer = session.ask(PROMPT, Elicitation(max_tokens=3), key="q")
    layers = len(session.decoder.text.layers)
    found = answer.retrieved
    assert found is not None
    assert (found.most, found.stored, found.blocks) == (2, 5, (2,) * layers)
    assert found.tokens == (2 * block,) * layers
    assert sum(count for _, count in found.seconds) == 2 * layers
    assert answer.stages["retrieve"] > 0
    assert answer.stages["cache"] == 0


def test_that_a_question_gets_all_there_is_is_said_once(
    llava: Backbone, stream: Callable[[int], list[Chunk]]
) -> None:
    from dataclasses import replace

    from evalkit.models.catalog import policy_recipe
    from evalkit.models.entry import ModelChoice

    said: list[str] = []
    model = policy_recipe("rekv", ModelChoice(checkpoint="tiny-llava", settings={"memory": {"topk": 3}})).over(
        llava
    )
    for _ in range(2):
        session = model.open(replace(REQUEST, warn=said.append))
        for chunk in stream(2):
            session.observe(chunk)
            session.ask(PROMPT, Elicitation(max_tokens=1), key="q")
    assert said == ["topk=3 and 1 frames are stored: a question gets all of them (said once)"]


def test_a_host_that_is_full_is_said_in_one_line_that_fails_the_sample(
    llava: Backbone, stream: Callable[[int], list[Chunk]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from evalkit.memory.blocks import BlockStore
    from evalkit.run.failures import costs_a_sample

    session = opened(llava, n_local=600, topk=2)
    first, second = stream(2)
    session.observe(first)

    def full(self: BlockStore, mean: torch.Tensor) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(BlockStore, "_remember", full)
    with pytest.raises(
        MemoryError, match="no room on the host for the keys and values of frame 2: lower"
    ) as raised:
        session.observe(second)
    assert costs_a_sample(raised.value)


@pytest.mark.slow
def test_over_three_hours_the_device_holds_the_window_and_the_host_grows_by_a_block_a_frame(
    llava: Backbone,
) -> None:
    from evalkit.memory.rekv import StreamDecoder

    network, tokens, frames = llava.network, 60, 3 * 3600 // 2  # half a frame a second, as pruned by STC
    text = network.model.language_model
    settings = ReKVSettings(n_local=1200, topk=16)
    decoder = StreamDecoder(text, network.lm_head, settings, range(13), text.embed_tokens)
    decoder.begin(tokens)
    draw = torch.Generator().manual_seed(0)
    held, spent = [], []
    for frame in range(frames):
        features = torch.randn(tokens, text.config.hidden_size, generator=draw)
        began = time.process_time()
        decoder.read_frame(features)
        spent.append(time.process_time() - began)
        held.append((decoder.window.held_bytes, decoder.blocks.stored_bytes))
        assert decoder.window.tokens == min(decoder.tokens, 1200), frame
    device, host = zip(*held, strict=True)
    assert device[-1] == device[60]
    assert host == tuple(host[0] * count for count in range(1, frames + 1))
    tenth = frames // 10
    assert statistics.median(spent[-tenth:]) < 1.5 * statistics.median(spent[tenth : 2 * tenth])
    found, _ = decoder.retrieve([5, 6, 7])
    assert all(len(blocks) == 16 and blocks[-1] < frames for blocks in found.blocks)


def test_compression_under_a_memory_that_retrieves_is_measured_in_its_own_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from evalkit.bench.compression import CompressionRequest, compare_compression
    from evalkit.models.retrieval import RetrievalSession

    asked: list[int] = []
    ask = RetrievalSession.ask
    monkeypatch.setattr(
        RetrievalSession, "ask", lambda self, *given, **keys: asked.append(1) or ask(self, *given, **keys)
    )
    request = CompressionRequest(("pruner(keep=60)",), "rekv", "tiny-llava", seconds=2, tokens=2, repeats=1)
    result = compare_compression(request)
    assert len(asked) == 2 * 2 * 2, "two seconds of warm-up and two measured, with and without"
    assert result.specs[0].share("kept") == pytest.approx(60 / 196)
    with pytest.raises(UsageError, match="livecc answers nothing"):
        compare_compression(CompressionRequest(("pruner",), "livecc", "tiny"))


def test_a_model_that_only_answers_is_benched_by_a_question_after_every_second(
    llava: Backbone, tmp_path: Path
) -> None:
    from evalkit.bench.measure import BenchRequest, choice_of, measure_stream
    from evalkit.models.catalog import policy_recipe
    from evalkit.records import read_run

    request = BenchRequest(("rekv",), "tiny-llava", seconds=3, size=(504, 280), fps=1, tokens=4)
    recipe = policy_recipe("rekv", choice_of(request))
    manifest = measure_stream(recipe.over(llava), recipe, request, tmp_path / "rekv")
    assert (manifest.status, manifest.fingerprint["turn"]) == ("done", "question")
    run = read_run(tmp_path / "rekv")
    assert [(answer.kind, answer.tokens) for answer in run.answers] == [("open", 4)] * 3
    for tick in run.ticks:
        assert tick.generated == len(tick.token_times) == 4
        assert tick.stages.retrieve > 0
        assert tick.stages.vision_encode > 0
        assert tick.stages.vision_encode < tick.first_token < tick.stages.total


@given(st.integers(1, 4), st.integers(1, 30), st.integers(0, 2**31))
def test_of_equal_scores_the_earlier_blocks_are_retrieved(chunk: int, count: int, seed: int) -> None:
    from evalkit.memory.rekv import best_blocks
    from evalkit.memory.tensors import BlockQuery

    draw = torch.Generator().manual_seed(seed)
    means = torch.randint(0, 2, (count, 1, 2), generator=draw).float()
    topk = 2 * chunk
    blocks, _ = best_blocks(BlockQuery(0, 1, torch.ones(1, 1, 2), means), topk, chunk)
    if count <= topk:
        assert blocks == list(range(count))
        return
    sums = means.sum(dim=(1, 2)).tolist()
    parts = [sums[start : start + chunk] for start in range(0, count, chunk)]
    ranked = sorted(range(len(parts)), key=lambda place: (-sum(parts[place]) / len(parts[place]), place))
    wanted = [place * chunk + k for place in sorted(ranked[:2]) for k in range(chunk)]
    assert blocks == [block for block in wanted if block < count]

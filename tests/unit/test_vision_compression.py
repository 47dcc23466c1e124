"""Compressors inside sessions: identities, state of one stream alone, positions of the full grid, exact resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from prefill_watch import PrefillWatch
from torch import nn

from evalkit.compress import CompressionSpec, check_shares, parse_compression
from evalkit.errors import UsageError
from evalkit.memory import FullAttention, MemoryPolicy, SlidingChunked, SlidingWindow, StreamingVLM, assign
from evalkit.models.backbone import Features
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.protocol import SessionRequest, Spoken
from evalkit.models.session import CachedSession
from evalkit.models.settings import GenerationSettings
from evalkit.models.vision import VisionSide
from evalkit.records import CompressorReport, StageTimes, TickRecord
from evalkit.run.checkpoint import SessionCheckpoints
from evalkit.stream import Chunk, Elicitation, Narration

Seconds = Callable[..., Iterator[Chunk]]
GREEDY = GenerationSettings(temperature=0, max_new_tokens=6, answer_tokens=4)
NARRATION = Narration("Say what happens.", " the ball goes wide on the left")
BOTH = "cacher(interval=2,reuse=0.75),pruner(keep=5)"
WINDOWS: dict[str, Any] = {"vision_window": 3, "text_rounds": 2, "text_sink": 4, "text_window": 6}
POLICIES: dict[str, MemoryPolicy] = {
    "full": FullAttention(),
    "sliding": SlidingWindow(3, 3),
    "sliding-reused": SlidingWindow(3, 2, reuse_vision=True),
    "sliding-chunked": SlidingChunked(3),
    "streamingvlm": StreamingVLM(**WINDOWS),
    "streamingvlm-native": StreamingVLM(**WINDOWS, positions="native"),
}


@pytest.fixture(scope="module")
def llava() -> Any:
    return load_backbone(LoadRequest("tiny-llava", device="cpu"))


def session_of(
    backbone: Any,
    compression: str | VisionSide,
    policy: MemoryPolicy | None = None,
    watch: PrefillWatch | None = None,
    narration: Narration | None = NARRATION,
) -> CachedSession:
    side = compression
    if isinstance(side, str):
        side = VisionSide(backbone, parse_compression(side))
    request = SessionRequest("sample", 2.0, narration=narration)
    return CachedSession(backbone, policy or FullAttention(), GREEDY, request, vision=side.open(), trace=watch)


def spoken(session: CachedSession, chunks: list[Chunk]) -> list[Spoken]:
    return [session.speak(chunk) for chunk in chunks]


def outcome(backbone: Any, compression: str, policy: MemoryPolicy, chunks: list[Chunk]) -> tuple[list[Any], ...]:
    watch = PrefillWatch()
    said = spoken(session_of(backbone, compression, policy, watch), chunks)
    return [s.ids for s in said], [t.logits for t in watch.traces], [t.positions for t in watch.traces]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "compression",
    [
        "cacher(reuse=0)",
        "cacher(reuse=0,interval=3,variant=stc-paper)",
        "pruner(keep=1000000)",
        "pruner(pruned=0,strategy=dual-anchor)",
        "visionzip(keep=1000000)",
        "stc-visionzip(share=1)",
        "vidcom2(keep=1)",
        "dycoke-ttm(pruned=0)",
        "frame-stride(every=1)",
    ],
)
def test_reusing_nothing_and_keeping_all_are_no_compression_bit_for_bit(
    policy: str, compression: str, tiny: Any, seconds: Seconds
) -> None:
    chunks = list(seconds(6))
    plain = outcome(tiny, "none", POLICIES[policy], chunks)
    other = outcome(tiny, compression, POLICIES[policy], chunks)
    assert plain[0] == other[0]
    assert all(torch.equal(a, b) for a, b in zip(plain[1], other[1], strict=True))
    assert all((a == b).all() for a, b in zip(plain[2], other[2], strict=True))


@pytest.mark.parametrize(
    "compression",
    [
        "cacher(reuse=0)",
        "pruner(keep=196)",
        "none",
        "tome(r=0)",
        "tome(r=0,restore=false)",
        "visionzip(keep=196)",
        "vidcom2(keep=1)",
    ],
)
def test_the_identities_hold_on_llava_onevision_too(compression: str, llava: Any, seconds: Seconds) -> None:
    chunks = list(seconds(3, size=(384, 384)))
    plain = outcome(llava, "none", FullAttention(), chunks)
    other = outcome(llava, compression, FullAttention(), chunks)
    assert plain[0] == other[0]
    assert all(torch.equal(a, b) for a, b in zip(plain[1], other[1], strict=True))


@pytest.mark.parametrize("policy", POLICIES)
def test_kept_tokens_stand_where_they_stood_in_the_full_grid(policy: str, tiny: Any, seconds: Seconds) -> None:
    watch = PrefillWatch()
    session = session_of(tiny, BOTH, POLICIES[policy], watch)
    for chunk in seconds(8):
        step = session.speak(chunk).step
        cacher, pruner = step.compressors
        assert (cacher.name, pruner.name) == ("stc-cacher", "stc-pruner")
        assert step.tokens_in["vision"] == pruner.tokens_out == 5
        assert step.stages["compress"] > 0
        spans = [span for span in session.ledger if span.kind == "vision"]
        for span in spans:
            assert span.rows is not None
            assert span.grid is not None
            assert len(span.rows) == len(span) == 5
            assert (np.diff(span.rows) > 0).all()
            assert span.rows[-1] < np.prod(span.grid)
        if session._policy.positions == "contiguous":
            want, _ = assign(session.ledger, tiny.positions)
            got = watch.traces[-1].positions
            np.testing.assert_array_equal(got, want[:, : got.shape[1]])
    assert len({tuple(rows) for rows in rows_of(session)}) > 1, (
        "frames differ in what is kept, so that the positions mean something"
    )


@torch.inference_mode()
@pytest.mark.parametrize("policy", ["full", "sliding-reused"])
def test_what_the_model_computes_is_a_plain_forward_over_the_kept_tokens(
    policy: str, tiny: Any, seconds: Seconds
) -> None:
    watch = PrefillWatch()
    features: list[Features] = []
    side = VisionSide(tiny, parse_compression(BOTH))
    request = SessionRequest("sample", 2.0, narration=NARRATION)
    vision = side.open(watch=features.append)
    session = CachedSession(tiny, POLICIES[policy], GREEDY, request, vision=vision, trace=watch)
    for chunk in seconds(5):
        session.speak(chunk)
    trace = watch.traces[-1]
    ids = torch.from_numpy(trace.ids)[None]
    embeddings = tiny.network.get_input_embeddings()(ids)
    standing = {span.second or 0 for span in session.ledger if span.kind == "vision"}
    embeddings[ids == tiny.layout.tokens.vision] = torch.cat([features[s].tokens for s in sorted(standing)])
    hidden = tiny.network.model.language_model(
        inputs_embeds=embeddings, position_ids=torch.from_numpy(np.array(trace.positions))[:, None]
    ).last_hidden_state
    torch.testing.assert_close(trace.logits, tiny.network.lm_head(hidden[0, -1]), atol=2e-4, rtol=0)


@pytest.mark.parametrize("compression", ["stc", BOTH, "pruner(keep=3,history=1)"])
def test_a_stream_does_not_know_of_other_streams(compression: str, tiny: Any, seconds: Seconds) -> None:
    side = VisionSide(tiny, parse_compression(compression))
    mine, other = session_of(tiny, side), session_of(tiny, side)
    alone = session_of(tiny, compression)
    for chunk, foreign in zip(seconds(4), seconds(4, seed=9), strict=True):
        other.speak(foreign)
        assert mine.speak(chunk).ids == alone.speak(chunk).ids
    late, fresh = session_of(tiny, side), session_of(tiny, compression)
    chunks = list(seconds(2))
    assert [s.ids for s in spoken(late, chunks)] == [s.ids for s in spoken(fresh, chunks)]
    assert rows_of(late) == rows_of(fresh)


def test_compat_lets_the_pruners_memory_leak_from_stream_to_stream(tiny: Any, seconds: Seconds) -> None:
    side = VisionSide(tiny, parse_compression("pruner(keep=3)").with_compat())
    spoken(session_of(tiny, side), list(seconds(5, seed=3)))
    chunks = list(seconds(2))
    leaked, clean = session_of(tiny, side), session_of(tiny, "pruner(keep=3)")
    spoken(leaked, chunks)
    spoken(clean, chunks)
    assert rows_of(leaked) != rows_of(clean)


def rows_of(session: CachedSession) -> list[list[int]]:
    return [span.rows.tolist() for span in session.ledger if span.kind == "vision" and span.rows is not None]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "compression",
    [
        "stc",
        "cacher(interval=4),pruner(keep=5,history=2)",
        "pruner(keep=4,strategy=dual-anchor,history=3)",
        "frame-stride(every=3)",
        "visionzip(keep=4,contextual=0)",
    ],
)
def test_a_session_restored_from_disk_goes_on_as_the_unbroken_one(
    policy: str, compression: str, tiny: Any, seconds: Seconds, tmp_path: Path
) -> None:
    chunks = list(seconds(7))
    unbroken = session_of(tiny, compression, POLICIES[policy])
    spoken(unbroken, chunks[:4])
    checkpoints = SessionCheckpoints(tmp_path)
    checkpoints.save("sample", 4, unbroken.state())
    saved = checkpoints.load("sample")
    assert saved is not None
    resumed = session_of(tiny, compression, POLICIES[policy])
    resumed.restore(saved[1])
    for mine, theirs in zip(spoken(resumed, chunks[4:]), spoken(unbroken, chunks[4:]), strict=True):
        assert mine.ids == theirs.ids
        assert mine.step.compressors == theirs.step.compressors
        assert mine.step.kept == theirs.step.kept
    assert [span.to_json() for span in resumed.ledger] == [span.to_json() for span in unbroken.ledger]


def test_a_question_leaves_the_compressors_as_they_were(tiny: Any, seconds: Seconds) -> None:
    for policy in POLICIES.values():
        asked, alone = (session_of(tiny, BOTH, policy, narration=None) for _ in range(2))
        for chunk in seconds(5):
            a, b = asked.observe(chunk), alone.observe(chunk)
            assert a.compressors == b.compressors
            asked.ask("What is the score?", Elicitation(), key="q")
        assert rows_of(asked) == rows_of(alone)


def test_a_window_that_is_encoded_again_starts_from_its_own_reference_and_keeps_its_tokens(
    tiny: Any, seconds: Seconds
) -> None:
    chunks = list(seconds(6))
    once, again = (
        session_of(tiny, "cacher(interval=4),pruner(keep=5)", SlidingWindow(3, 3, reuse_vision=reuse))
        for reuse in (True, False)
    )
    for index, chunk in enumerate(chunks):
        new = once.speak(chunk).step.compressors[0]
        total = again.speak(chunk).step.compressors[0]
        older = min(index, 2)
        assert total.tokens_in == new.tokens_in * (1 + older)
        assert total.reference_frames == new.reference_frames + (older > 0)
        assert rows_of(once) == rows_of(again)


@pytest.mark.parametrize(
    "compression",
    ["stc", "stc-code", "stc-cacher-n4", "stc-pruner-60", "stc-visionzip", "visionzip-49-dominant", "stc-dycoke"],
)
@pytest.mark.parametrize("policy", POLICIES)
def test_every_preset_runs_under_every_policy_and_keeps_its_claim(
    compression: str, policy: str, tiny: Any, seconds: Seconds
) -> None:
    session = session_of(tiny, compression, POLICIES[policy])
    parts = len(parse_compression(compression).parts)
    ticks = [
        TickRecord(
            sample="s", second=second, start=second, end=second + 1, frames=2, stages=StageTimes(),
            tokens_in=step.tokens_in, compressors=step.compressors,
        )
        for second, step in enumerate(s.step for s in spoken(session, list(seconds(5, size=(252, 168)))))
    ]  # fmt: skip
    assert check_shares(ticks, compressors=parts) == []
    assert [len(tick.compressors) for tick in ticks] == [parts] * 5


@pytest.mark.parametrize("policy", ["full", "sliding-reused", "streamingvlm"])
def test_merged_tokens_stand_where_their_representatives_stood(policy: str, tiny: Any, seconds: Seconds) -> None:
    seen: list[Features] = []
    side = VisionSide(tiny, parse_compression("visionzip(keep=4,contextual=2)"))
    request = SessionRequest("sample", 2.0, narration=NARRATION)
    session = CachedSession(tiny, POLICIES[policy], GREEDY, request, vision=side.open(watch=seen.append))
    plain: list[Features] = []
    bare = VisionSide(tiny, CompressionSpec()).open(watch=plain.append)
    other = CachedSession(tiny, POLICIES[policy], GREEDY, request, vision=bare)
    for chunk in seconds(4):
        step = session.speak(chunk).step
        other.speak(chunk)
        assert step.tokens_in["vision"] == step.compressors[0].tokens_out == 4
        rows = seen[-1].rows
        assert rows is not None
        own = plain[-1].tokens[torch.from_numpy(rows)]
        same = [torch.equal(a, b) for a, b in zip(seen[-1].tokens, own, strict=True)]
        assert 2 <= sum(same) <= 3, "one contextual token or both took others in"
    assert all(len(rows) == 4 for rows in rows_of(session))


def test_a_window_that_is_encoded_again_takes_no_merged_tokens(tiny: Any, seconds: Seconds) -> None:
    session = session_of(tiny, "visionzip(keep=4)", SlidingWindow(3, 3))
    first, second = seconds(2)
    session.speak(first)
    with pytest.raises(UsageError, match="tokens that were merged are not encoded again"):
        session.speak(second)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_second_may_keep_no_token(policy: str, tiny: Any, seconds: Seconds) -> None:
    watch = PrefillWatch()
    session = session_of(tiny, "frame-stride(every=3)", POLICIES[policy], watch)
    grid = 6  # tokens of a second's one grid
    for index, chunk in enumerate(seconds(5)):
        step = session.speak(chunk).step
        kept = grid if index % 3 == 0 else 0
        assert step.tokens_in["vision"] == step.compressors[0].tokens_out == kept
        assert step.compressors[0].claimed_share == (1.0 if kept else 0.0)
        assert ("vision_open" in step.tokens_in) == bool(kept)
    answers = session_of(tiny, "frame-stride(every=3)", POLICIES[policy], narration=None)
    counts = [answers.observe(chunk).tokens_in["vision"] for chunk in seconds(5)]
    assert counts == [grid, 0, 0, grid, 0]
    assert answers.ask("What is the score?", Elicitation(), key="q").tokens


@pytest.mark.parametrize(
    ("compression", "left"), [("tome(r=30,restore=false)", 669), ("tome-49", 195), ("tome(r=30)", 196)]
)
def test_tokens_merged_inside_the_tower_reach_the_language_model_as_they_are(
    compression: str, left: int, llava: Any, seconds: Seconds
) -> None:
    seen: list[Features] = []
    vision = VisionSide(llava, parse_compression(compression)).open(watch=seen.append)
    request = SessionRequest("sample", 1.0, time_stamps=False)
    session = CachedSession(llava, FullAttention(), GREEDY, request, vision=vision)
    for chunk in seconds(2, fps=1, size=(384, 384)):
        step = session.observe(chunk)
        (report,) = step.compressors
        assert step.tokens_in["vision"] == left == len(seen[-1].tokens)
        if seen[-1].rows is None:
            assert report.reused_share == report.claimed_share == pytest.approx((30 + 60) / (2 * 729))
        else:
            assert (np.diff(seen[-1].rows) >= 0).all()
            assert seen[-1].rows[-1] < 196
            assert (report.tokens_in, report.tokens_out) == (729, left)
            assert report.claimed_share == (None if "49" in compression else left / 729)
    if compression == "tome-49":
        assert "no layer merges more than half: 195 of 729 are left, not 49" in report.note
    assert session.ask("What is the score?", Elicitation(), key="q").tokens


def test_frames_of_another_size_force_a_reference_and_say_so(tiny: Any, seconds: Seconds) -> None:
    session = session_of(tiny, "cacher(interval=8)", FullAttention())
    small, large = list(seconds(2)), list(seconds(4, size=(112, 84)))[2:]
    reports = [s.step.compressors[0] for s in spoken(session, [*small, *large])]
    assert [report.reference_frames for report in reports] == [1, 0, 1, 0]
    assert reports[2].claimed_share is None
    assert "a new reference was forced" in reports[2].note
    assert reports[3].claimed_share == 0.75


def test_a_second_without_frames_reports_nothing(tiny: Any, seconds: Seconds) -> None:
    first, second = seconds(2)
    session = session_of(tiny, BOTH)
    session.speak(first)
    bare = Chunk(second.tick, second.frames[:0], (), (), 0.0, 0.0)
    assert session.speak(bare).step.compressors == ()


def test_a_tower_no_cacher_wraps_is_an_error_when_the_model_is_built() -> None:
    host: Any = SimpleNamespace(tower=nn.Linear(2, 2))
    with pytest.raises(UsageError, match="not Linear; leave it out with --compress none or a pruner alone"):
        VisionSide(host, parse_compression("stc"))
    assert VisionSide(host, parse_compression("stc-pruner-60")).open().state()["json"].keys() == {"pruner"}
    assert VisionSide(host, CompressionSpec()).open().reports() == ()


def test_reports_of_one_second_are_joined_by_tokens() -> None:
    vision = VisionSide(SimpleNamespace(), CompressionSpec()).open()
    first = CompressorReport(name="c", tokens_in=100, tokens_out=100, reused_share=0.0, claimed_share=0.0,
                             reference_frames=1)  # fmt: skip
    second = CompressorReport(name="c", tokens_in=300, tokens_out=300, reused_share=0.8, claimed_share=0.75)
    vision._note(first)
    vision._note(second)
    (joined,) = vision.reports()
    assert (joined.tokens_in, joined.tokens_out, joined.reference_frames) == (400, 400, 1)
    assert joined.reused_share == pytest.approx(0.6)
    assert joined.claimed_share == pytest.approx(0.5625)
    vision._note(first)
    vision._note(second.model_copy(update={"claimed_share": None, "note": "frames changed"}))
    (joined,) = vision.reports()
    assert joined.claimed_share is None
    assert joined.note == "frames changed"
    assert vision.reports() == ()

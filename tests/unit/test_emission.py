"""When answers come out behind the clock, three accuracies of the same answers, and the lag of a narration."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from evalkit.records import AnswerRecord, StageTimes, TickRecord
from evalkit.report.alignment import alignment_lag
from evalkit.report.emission import accuracies, answer_delays, answer_figures
from evalkit.report.replay import ReplaySettings, replay_run
from evalkit.report.replay_table import replay_json, replay_table
from evalkit.report.runs import Run, load_runs
from evalkit.report.tables import to_text
from evalkit.timing import OVERLOAD_RULES, Asked, answer_times
from evalkit_tasks.ovobench.moments import gold_at
from tests.run_folders import manifest, write_run


def tick(second: int, total: float) -> TickRecord:
    return TickRecord(
        sample="s", second=second, start=second, end=second + 1, frames=1, stages=StageTimes(total=total)
    )


def asked(query: str, at: float, gold: str, said: str, *, takes: float = 0.5, task: str = "REC") -> AnswerRecord:
    kind = "count" if task == "REC" else "yes-no" if task == "CRR" else "choice"
    return AnswerRecord(
        sample="s", query=query, kind=kind, at=at, start=0, end=at, text=said, parsed=said, rule="r", gold=gold,
        cluster="v", tags={"task": task, "category": "forward", "expected": "1"}, seconds=takes,
    )  # fmt: skip


def run_of(folder: Path, service: list[float], answers: list[AnswerRecord], **changes: Any) -> Run:
    ticks = [tick(second, total) for second, total in enumerate(service)]
    run = write_run(folder, manifest("ovobench", "m", planned=["s"], **changes), ticks=ticks, answers=answers)
    (loaded,) = load_runs([run])
    return loaded


@pytest.mark.parametrize(
    ("rule", "out"),
    [
        # Chunks arrive at 1, 2, 3, 4; each takes 1.5 s, each answer 0.5 s; asked at 2 and at 4.
        # queue: 1-2.5, 2.5-4, answer 4-4.5; 4.5-6, 6-7.5, answer 7.5-8.
        ("queue", [4.5, 8.0]),
        # drop-new: 1-2.5, the chunk of 2 is dropped, answer 2.5-3; 3-4.5, that of 4 dropped, answer 4.5-5.
        ("drop-new", [3.0, 5.0]),
        # skip-to-latest: 1-2.5, 2.5-4, answer 4-4.5; then 3 and 4 have come: 4 alone, 4.5-6, answer 6-6.5.
        ("skip-to-latest", [4.5, 6.5]),
    ],
)
def test_answers_wait_for_the_seconds_before_them_and_hold_up_those_after(rule: Any, out: list[float]) -> None:
    import numpy as np

    questions = [Asked(2.0, 0.5, 2), Asked(4.0, 0.5, 4)]
    assert answer_times(np.arange(1.0, 5.0), np.full(4, 1.5), questions, rule) == out


@pytest.mark.parametrize("rule", OVERLOAD_RULES)
def test_an_answer_never_comes_before_its_question(rule: Any) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    for _ in range(20):
        at = np.sort(rng.uniform(0, 30, 8))
        questions = [Asked(float(one), float(rng.uniform(0, 2)), int(one)) for one in at]
        out = answer_times(np.arange(1.0, 31.0), rng.uniform(0, 2.5, 30), questions, rule)
        assert all(time >= one.at + one.takes for time, one in zip(out, questions, strict=True))
        assert out == sorted(out)


def test_the_clock_says_when_each_answer_is_out(tmp_path: Path) -> None:
    run = run_of(tmp_path / "r", [1.5] * 4, [asked("7_0", 2, "1", "1"), asked("7_1", 4, "2", "2")])
    replay = replay_run(run, ReplaySettings())
    assert answer_delays(run, replay) == {("s", "7_0"): 2.5, ("s", "7_1"): 4.0}
    twice = replay_run(run, ReplaySettings(hardware=2))
    assert answer_delays(run, twice) == {("s", "7_0"): 1.0, ("s", "7_1"): 1.0}


def test_what_a_paced_run_put_on_record_goes_before_the_virtual_clock(tmp_path: Path) -> None:
    answer = asked("7_0", 2, "1", "1").model_copy(update={"emitted": 3.25})
    options = {"pace": "realtime", "overload": "queue"}
    run = run_of(tmp_path / "r", [0.5] * 4, [answer], options=options)
    assert answer_delays(run, replay_run(run, ReplaySettings())) == {("s", "7_0"): 1.25}
    assert answer_delays(run, replay_run(run, ReplaySettings(hardware=2))) == {("s", "7_0"): 0.5}


def test_first_tokens_and_tokens_of_answers_count_from_their_question(tmp_path: Path) -> None:
    answers = [
        asked("7_0", 2, "1", "1", takes=0.6).model_copy(
            update={"first_token": 0.2, "token_times": [0.2, 0.3, 0.6], "tokens": 3}
        )
    ]
    run = run_of(tmp_path / "r", [1.5] * 4, answers)
    # The second of 2 s is done at 4 s; the newest frame shown is that of 1 s.
    found = answer_figures(run, replay_run(run, ReplaySettings()))
    assert found is not None
    first = found.first
    assert first.engine is not None
    assert first.request is not None
    assert first.perceptual is not None
    assert (first.engine.p50, first.request.p50, first.perceptual.p50) == pytest.approx((0.2, 2.2, 3.2))
    assert found.per_token is not None
    assert found.between is not None
    assert found.staleness is not None
    assert found.per_token.p50 == pytest.approx(0.2)
    assert (found.between.n, found.between.max) == (2, pytest.approx(0.3))
    assert found.staleness.p50 == pytest.approx(2.6 + 1.0)


def test_three_accuracies_of_the_same_answers(tmp_path: Path) -> None:
    # Behind 2.5 s a second, the answer to the probe at 2 s is out at 6.5 s: two probes later, when 3 were seen.
    answers = [
        asked("7_0", 2, "1", "1"),
        asked("7_1", 5, "3", "3"),
        asked("7_2", 8, "3", "3"),
        asked("8", 3, "A", "A", task="OCR"),
    ]
    run = run_of(tmp_path / "r", [2.5] * 10, answers)
    slow = accuracies(run, replay_run(run, ReplaySettings()))
    assert slow is not None
    assert slow.emission is not None
    # 7_0 is out at 6.5 s and wrong then; 7_1 comes after the last probe, where nothing is known; 7_2 as well.
    assert (slow.emission.right, slow.emission.known, slow.emission.asked, slow.emission.offline) == (0, 1, 4, 1)
    assert slow.late == 4
    fast = accuracies(run, replay_run(run, ReplaySettings(hardware=8, deadline=1.0)))
    assert fast is not None
    assert fast.late == 0
    shown = to_text(replay_table([run], [replay_run(run, ReplaySettings())]))
    assert "0.00 (1 of 4)" in shown
    assert "offline these score 100.00" in shown
    figures = replay_json(run, replay_run(run, ReplaySettings()))["accuracy"]
    assert figures["late"] == 4
    assert figures["at_emission"]["known"] == 1


def test_a_task_that_tells_no_other_gold_says_so(tmp_path: Path) -> None:
    answers = [asked("8", 3, "A", "A", task="OCR")]
    run = run_of(tmp_path / "r", [0.5] * 5, answers)
    found = accuracies(run, replay_run(run, ReplaySettings()))
    assert found is not None
    assert found.emission is None
    assert "no moment" in found.why
    assert "not told" in to_text(replay_table([run], [replay_run(run, ReplaySettings())]))


@pytest.mark.parametrize(
    ("task", "moment", "gold"),
    [
        ("REC", 2.0, "1"),
        ("REC", 3.0, None),  # somewhere before 5 s the count became 3
        ("REC", 6.0, "3"),
        ("REC", 9.0, None),  # after the last probe
        ("CRR", 3.0, None),
        ("CRR", 9.0, "Yes"),  # what is enough stays enough
        ("SSR", 6.0, None),
    ],
)
def test_the_gold_of_a_forward_probe_is_known_where_its_neighbours_agree(
    task: str, moment: float, gold: str | None
) -> None:
    golds = ["1", "3", "3"] if task == "REC" else ["No", "Yes", "Yes"]
    answers = [asked(f"7_{k}", at, golds[k], "x", task=task) for k, at in enumerate((2, 5, 8))]
    found = gold_at(answers, {("s", "7_0"): moment})
    assert found == ({} if gold is None else {("s", "7_0"): gold})


def lines(shift: int, *, seed: int = 0, every: int = 1) -> tuple[list[Any], list[Any]]:
    rng = random.Random(seed)
    words = [f"w{number}" for number in range(40)]
    told = [("s", float(second), " ".join(rng.sample(words, 3))) for second in range(0, 200, every)]
    said = [("s", time + shift + rng.random(), f"and so {text}!") for _, time, text in told]
    return said, told


@pytest.mark.parametrize("shift", [-4, 0, 1, 7, 42])
def test_the_lag_of_a_narration_is_the_shift_at_which_it_fits_its_reference(shift: int) -> None:
    found = alignment_lag(*lines(shift))
    assert found is not None
    assert found.lag == shift


def test_words_that_fit_no_shift_have_no_lag_and_streams_are_kept_apart() -> None:
    said, _ = lines(3, seed=1)
    _, told = lines(3, seed=2)
    found = alignment_lag(said, told)
    assert found is not None
    assert found.lag is None
    said, told = lines(3)
    other = [("t", time, text) for _, time, text in said]
    apart = alignment_lag(other, told)
    assert apart is not None
    assert max(apart.similarity) == 0
    assert alignment_lag([("s", 1.0, "...")], told) is None
    few = alignment_lag(*(side[:20] for side in lines(3)))
    assert few is not None
    assert (few.lag, few.seconds) == (None, 20), "twenty seconds fit somewhere by chance"

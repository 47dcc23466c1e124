"""Ranking runs by their verdicts: hand-worked strengths, length control, judges, labels, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from run_folders import manifest, write_run

from evalkit.cli.main import main
from evalkit.records import AnswerRecord, VerdictRecord
from evalkit.report.speech import SpeechOfRun, count_words

WIN, TIE, LOSS = ("test", "test"), ("test", "baseline"), ("baseline", "baseline")


def votes(
    model: str,
    baseline: str,
    results: Sequence[tuple[str, str]],
    *,
    judge: str = "openai:one (details)",
    videos: int = 4,
) -> list[VerdictRecord]:
    """Give both orders of one pair per result; pair k is a window of 10 s in video k modulo videos."""
    return [
        VerdictRecord(
            key=f"{model}{baseline}{judge}{number}{order}",
            pair=f"w{number}",
            cluster=f"v{number % videos}",
            start=10.0 * number,
            end=10.0 * number + 10,
            order=order,
            vote="tie" if winner == "tie" else "first" if (winner == "test") == (order == "ab") else "second",
            winner=winner,
            rule="letter",
            reply="",
            attempts=1,
            judge=judge,
            model_name=model,
            baseline_name=baseline,
        )
        for number, pair in enumerate(results)
        for order, winner in zip(("ab", "ba"), pair, strict=True)
    ]


def speech(words: Sequence[int], videos: int = 4) -> list[AnswerRecord]:
    """Narrate ten seconds in each window, so many words a second; the tenth second says nothing."""
    return [
        AnswerRecord(
            sample=f"v{number % videos}",
            query=f"v{number % videos}@{10 * number + second}",
            kind="narration",
            at=10.0 * number + second + 1,
            start=10.0 * number + second,
            end=10.0 * number + second + 1,
            text="go " * count + "..." if second < 9 else " ...",
            cluster=f"v{number % videos}",
        )
        for number, count in enumerate(words)
        for second in range(10)
    ]


def judged(
    folder: Path,
    model: str,
    verdicts: Iterable[VerdictRecord] = (),
    answers: Iterable[AnswerRecord] = (),
    **more: Any,
) -> Path:
    changes = {"fingerprint": {"policy": "one"}, **more}
    return write_run(folder, manifest("inf-streams", model, **changes), verdicts=verdicts, answers=answers)


def ranked(capsys: pytest.CaptureFixture[str], *words: object) -> dict[str, Any]:
    assert main(["rank", *map(str, words), "--draws", "200", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main(["rank", *map(str, words)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    return err


@pytest.fixture
def three(tmp_path: Path) -> list[Path]:
    """A beats C three times in four, B and C are even."""
    a = judged(tmp_path / "a", "A", votes("A", "C", [WIN] * 6 + [LOSS] * 2))
    return [a, judged(tmp_path / "b", "B", votes("B", "C", [WIN] * 4 + [LOSS] * 4))]


def test_strengths_of_three_models_are_the_hand_worked_log_odds(three, capsys):
    ranking = ranked(capsys, *three)["rankings"][0]
    assert ranking["method"] == "bradley-terry"
    assert ranking["anchor"] == "C"
    strengths = {one["name"]: one["strength"] for one in ranking["models"]}
    assert strengths == pytest.approx({"A": math.log(3), "B": 0.0, "C": 0.0}, abs=1e-9)
    chances = {(one["model"], one["against"]): one["probability"] for one in ranking["probabilities"]}
    assert chances["A", "C"] == pytest.approx(0.75)
    assert chances["A", "B"] == pytest.approx(0.75)
    assert (ranking["games"], ranking["clusters"]) == (16, 4)


def test_many_ties_are_modelled_and_the_probability_counts_them_half(tmp_path, capsys):
    run = judged(tmp_path / "a", "A", votes("A", "C", [WIN, WIN, TIE, LOSS] * 2))
    found = ranked(capsys, run)
    ranking = found["rankings"][0]
    assert ranking["method"] == "davidson"
    assert ranking["tie_parameter"] == pytest.approx(1 / math.sqrt(2))
    strength = next(one["strength"] for one in ranking["models"] if one["name"] == "A")
    assert strength == pytest.approx(math.log(2))
    chance = next(one["probability"] for one in ranking["probabilities"] if one["model"] == "A")
    assert chance == pytest.approx(2.5 / 4)
    assert any("two models only" in line and "evalkit judge" in line for line in found["notes"])


def test_another_anchor_moves_the_zero_and_an_unknown_one_is_refused(three, capsys):
    models = ranked(capsys, *three, "--anchor", "A")["rankings"][0]["models"]
    strengths = {one["name"]: one["strength"] for one in models}
    assert strengths == pytest.approx({"A": 0.0, "B": -math.log(3), "C": -math.log(3)}, abs=1e-9)
    assert "no games of the anchor 'AA'" in refused(capsys, *three, "--anchor", "AA")


def test_models_that_never_met_are_named(tmp_path, capsys):
    a = judged(tmp_path / "a", "A", votes("A", "C", [WIN, LOSS] * 4))
    b = judged(tmp_path / "b", "B", votes("B", "D", [WIN, LOSS] * 4))
    assert "A, C never met B, D" in refused(capsys, a, b)


def test_a_model_that_took_every_point_is_named(tmp_path, capsys):
    run = judged(tmp_path / "a", "A", votes("A", "C", [WIN] * 8))
    assert "A took every point" in refused(capsys, run)


def test_unreadable_and_half_judged_pairs_are_no_games(tmp_path, capsys):
    records = votes("A", "C", [WIN, WIN, WIN, LOSS, ("test", "invalid"), WIN])[:-1]
    ranking = ranked(capsys, judged(tmp_path / "a", "A", records))["rankings"][0]
    assert ranking["games"] == 4
    assert ranking["contests"][0]["pairs"] == 6
    assert ranking["contests"][0]["win_rate"] == pytest.approx(0.75)
    only = judged(tmp_path / "b", "A", votes("A", "C", [("test", "invalid")]))
    report = ranked(capsys, only)
    assert report["rankings"][0]["contests"][0]["win_rate"] is None
    assert "strengths" not in str(report["rankings"])
    assert any("no pair has a readable verdict in both orders" in note for note in report["notes"])
    assert main(["rank", str(only)]) == 0
    assert "NOTICE" in capsys.readouterr().err


def test_length_control_is_the_win_rate_where_both_sides_talk_alike(tmp_path, capsys):
    # Where A says two words a second more it wins three in four, where both say as much two in four: a model with
    # one effect of length fits both shares, and at equal length predicts one half.
    results = [WIN, WIN, WIN, LOSS, WIN, WIN, LOSS, LOSS]
    a = judged(tmp_path / "a", "A", votes("A", "C", results), speech([3] * 4 + [1] * 4))
    c = judged(tmp_path / "c", "C", answers=speech([1] * 8))
    contest = ranked(capsys, a, c)["rankings"][0]["contests"][0]
    assert contest["win_rate"] == pytest.approx(5 / 8)
    length = contest["length_controlled"]
    assert length["raw"] == pytest.approx(5 / 8)
    assert length["win_rate"] == pytest.approx(0.5, abs=1e-6)
    assert length["words_effect"] > 0
    assert length["silence_effect"] is None
    assert (length["n"], length["clusters"]) == (8, 4)


def test_without_the_other_sides_run_there_is_no_length_control_and_it_says_so(three, capsys):
    contest = ranked(capsys, *three)["rankings"][0]["contests"][0]
    assert contest["length_controlled"] is None
    assert "no length control: name the run of C too" in contest["notes"]


def test_windows_that_a_run_did_not_narrate_are_left_out_of_length_control_and_counted(tmp_path, capsys):
    results = [WIN, LOSS, WIN, WIN]
    a = judged(tmp_path / "a", "A", votes("A", "C", results), speech([3, 1, 2, 2]))
    c = judged(tmp_path / "c", "C", answers=speech([1, 1, 1]))
    contest = ranked(capsys, a, c)["rankings"][0]["contests"][0]
    assert contest["length_controlled"]["n"] == 3
    assert any(note.startswith("1 pairs left out of length control") for note in contest["notes"])


def test_several_judges_are_ranked_apart_and_their_agreement_is_shown(tmp_path, capsys):
    one = votes("A", "C", [WIN, WIN, WIN, LOSS])
    other = votes("A", "C", [WIN, WIN, LOSS, LOSS], judge="overlap (not an LLM: words)")
    run = judged(tmp_path / "a", "A", [*one, *other])
    found = ranked(capsys, run)
    assert [ranking["judge"] for ranking in found["rankings"]] == ["openai:one", "overlap (not an LLM)"]
    rates = [ranking["contests"][0]["win_rate"] for ranking in found["rankings"]]
    assert rates == pytest.approx([0.75, 0.5])
    # Verdicts in both orders: 6 of 8 alike; margins 6/8 and 4/8, so chance gives 6/8*4/8 + 2/8*4/8 = 1/2.
    kappa = found["agreement"]["kappa"]["openai:one / overlap"]
    assert kappa["observed"] == pytest.approx(0.75)
    assert kappa["coefficient"] == pytest.approx(0.5)
    assert found["agreement"]["alpha"]["n"] == 8
    chosen = ranked(capsys, run, "--judge", "overlap")
    assert [ranking["judge"] for ranking in chosen["rankings"]] == ["overlap (not an LLM)"]
    assert chosen["agreement"] is not None
    assert "did you mean 'overlap'" in refused(capsys, run, "--judge", "overlop")


def test_of_a_pair_judged_twice_by_one_judge_the_last_verdict_counts(tmp_path, capsys):
    again = [one.model_copy(update={"key": f"{one.key} again"}) for one in votes("A", "C", [LOSS, LOSS, WIN])]
    run = judged(tmp_path / "a", "A", [*votes("A", "C", [WIN, LOSS]), *again])
    assert ranked(capsys, run)["rankings"][0]["contests"][0]["win_rate"] == pytest.approx(1 / 3)


def test_runs_of_different_settings_are_refused_and_marked_where_allowed(tmp_path, capsys):
    a = judged(tmp_path / "a", "A", votes("A", "C", [WIN, LOSS] * 4))
    b = judged(tmp_path / "b", "B", votes("B", "C", [WIN, LOSS] * 4), fingerprint={"policy": "one", "fps": 8.0})
    assert "fps (2.0 against 8.0)" in refused(capsys, a, b)
    found = ranked(capsys, a, b, "--allow-mismatch")
    assert found["mismatched"] is True
    assert [one["field"] for one in found["mismatches"]] == ["fps"]
    assert main(["rank", str(a), str(b), "--allow-mismatch", "--draws", "50"]) == 0
    assert "NOT comparable runs" in capsys.readouterr().out


def test_unfinished_runs_and_runs_without_verdicts_are_refused(tmp_path, capsys):
    running = judged(tmp_path / "a", "A", votes("A", "C", [WIN, LOSS]), status="running")
    assert "still running" in refused(capsys, running)
    assert "no verdicts in" in refused(capsys, judged(tmp_path / "b", "B"))


def test_a_baseline_that_may_be_either_of_two_runs_is_refused(tmp_path, capsys):
    a = judged(tmp_path / "a", "A", votes("A", "C", [WIN, LOSS]))
    alike = [
        judged(tmp_path / f"c{number}", "C", fingerprint={"policy": "one", "model": number}) for number in (1, 2)
    ]
    assert "judged against 'C', which may be any of" in refused(capsys, a, *alike)


def test_a_run_judged_against_its_own_namesake_needs_that_run_too(tmp_path, capsys):
    options = {"task": "inf-streams", "model": "C"}
    a = judged(
        tmp_path / "new", "C", votes("C", "C", [WIN, WIN, LOSS, WIN]), options={**options, "checkpoint": "new"}
    )
    b = judged(tmp_path / "old", "C", options={**options, "checkpoint": "old"})
    assert "name that run too" in refused(capsys, a)
    names = [one["name"] for one in ranked(capsys, a, b)["rankings"][0]["models"]]
    assert names == ["C new", "C old"]


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv"])
def test_every_form_shows_the_same_probability(three, capsys, form):
    assert main(["rank", *map(str, three), "--draws", "200", "--format", form]) == 0
    out = capsys.readouterr().out
    assert "75.00" in out
    if form == "csv":
        rows = list(csv.reader(io.StringIO(out)))
        assert rows[0][:5] == ["Rank", "Places from", "Places to", "Model", "Wins against C, fitted (%)"]
        assert (rows[1][0], *rows[1][3:5]) == ("1", "A", "75.00")


def test_the_interval_of_two_models_is_that_of_their_contest_and_no_seed_moves_it(tmp_path, capsys):
    results = [WIN, LOSS, WIN, WIN, LOSS, WIN, WIN, LOSS, LOSS, WIN, WIN] * 3
    run = judged(tmp_path / "a", "A", votes("A", "C", results, videos=8))
    assert ranked(capsys, run) == ranked(capsys, run)
    for seed in (1, 2):
        ranking = ranked(capsys, run, "--seed", seed)["rankings"][0]
        chance = next(one for one in ranking["probabilities"] if one["model"] == "A")
        assert [chance["low"], chance["high"]] == pytest.approx(ranking["contests"][0]["interval"], abs=1e-12)


def test_dots_are_no_words_and_a_second_belongs_to_the_window_it_ends_in():
    assert count_words("and 2 - 1 ... goal!") == 4
    found = SpeechOfRun.of(speech([4, 1], videos=1))
    words, silent = found.in_window("v0", 0.0, 10.0) or (0.0, 0.0)
    assert (words, silent) == pytest.approx((3.6, 0.1))
    assert found.in_window("v0", 5.0, 15.0) == pytest.approx(((4 * 4 + 5 * 1) / 10, 0.1))
    assert found.in_window("v0", 20.0, 30.0) is None
    assert found.in_window("v1", 0.0, 10.0) is None


def labels(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_a_judge_that_says_the_same_of_all_labelled_pairs_counts_with_no_weight(tmp_path, capsys):
    # Unlabelled w2-w5: the judge says 3/4. Labelled w0, w1: it says 1 and 1, humans 1 and 0.
    run = judged(tmp_path / "a", "A", votes("A", "C", [WIN, WIN, WIN, WIN, WIN, LOSS], videos=2))
    file = labels(tmp_path / "h.jsonl", {"pair": "w0", "winner": "test"}, {"pair": "w1", "winner": "baseline"})
    human = ranked(capsys, run, "--human", file)["rankings"][0]["contests"][0]["human"]
    assert human["win_rate"] == pytest.approx(0.5)
    assert (human["labels"], human["unused"]) == (2, 0)
    low, high = human["interval"]
    assert low <= 0.5 <= high
    assert main(["rank", str(run), "--human", str(file), "--draws", "50"]) == 0
    assert "win rate humans would give" in capsys.readouterr().out


def test_labels_on_every_pair_are_averaged_and_the_judge_adds_nothing(tmp_path, capsys):
    run = judged(tmp_path / "a", "A", votes("A", "C", [WIN, WIN, LOSS, WIN]))
    said = ["test", "baseline", "baseline", "tie"]
    file = labels(tmp_path / "h.jsonl", *({"pair": f"w{n}", "winner": side} for n, side in enumerate(said)))
    human = ranked(capsys, run, "--human", file)["rankings"][0]["contests"][0]["human"]
    assert human["win_rate"] == pytest.approx(1.5 / 4)


def test_a_label_on_a_pair_without_a_readable_verdict_is_counted_as_unused(tmp_path, capsys):
    run = judged(tmp_path / "a", "A", votes("A", "C", [WIN, LOSS, WIN, ("test", "invalid")]))
    file = labels(tmp_path / "h.jsonl", {"pair": "w0", "winner": "tie"}, {"pair": "w3", "winner": "test"})
    human = ranked(capsys, run, "--human", file)["rankings"][0]["contests"][0]["human"]
    assert (human["labels"], human["unused"]) == (1, 1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"pair": "nowhere", "winner": "test"}, "line 2: pair 'nowhere' was never judged"),
        ({"pair": "w0", "winner": "tie"}, "line 2: pair 'w0' is labelled in line 1 already"),
        ({"pair": "w1", "winner": "A"}, "line 2: field 'winner'"),
        ({"pair": "w1"}, "line 2: field 'winner'"),
        ({"pair": "w1", "winner": "tie", "who": "me"}, "line 2: field 'who'"),
        ({"pair": "w1", "winner": "tie", "model": "B"}, "line 2: pair 'w1' was never judged with model 'B'"),
        ("{", "line 2: not JSON"),
        ("[]", "line 2: not a JSON object"),
    ],
)
def test_a_line_of_labels_that_cannot_be_used_is_named_by_number(tmp_path, capsys, row, said):
    run = judged(tmp_path / "a", "A", votes("A", "C", [WIN, LOSS, WIN, LOSS]))
    file = labels(tmp_path / "h.jsonl", {"pair": "w0", "winner": "test"}, row)
    assert said in refused(capsys, run, "--human", file)


def test_a_window_of_two_contests_needs_its_sides_named(three, tmp_path, capsys):
    file = labels(tmp_path / "h.jsonl", {"pair": "w0", "winner": "test"})
    assert "judged in 2 contests (A against C, B against C)" in refused(capsys, *three, "--human", file)
    rows = [
        {"pair": "w0", "winner": "test", "model": "B", "baseline": "C"},
        {"pair": "w1", "winner": "tie", "model": "B"},
    ]
    contests = ranked(capsys, *three, "--human", labels(file, *rows))["rankings"][0]["contests"]
    assert contests[0]["human"] is None
    assert contests[1]["human"]["labels"] == 2


def test_a_missing_or_empty_file_of_labels_says_so(three, tmp_path, capsys):
    assert "no such file of human labels" in refused(capsys, *three, "--human", tmp_path / "none.jsonl")
    assert "no labels in it" in refused(capsys, *three, "--human", labels(tmp_path / "h.jsonl"))


@pytest.mark.parametrize("words", [("--draws", "0"), ("--seed", "-1"), ("--draws", "many"), ("--anchr", "C")])
def test_options_out_of_range_are_one_line(three, capsys, words):
    refused(capsys, *three, *words)


def test_the_fingerprint_says_which_of_two_namesakes_was_the_baseline(tmp_path, capsys):
    named = [judged(tmp_path / f"c{k}", "C", fingerprint={"policy": "one", "model": k}) for k in (1, 2)]
    digest = json.loads((named[1] / "run.json").read_text())["fingerprint_digest"]
    verdicts = [
        one.model_copy(update={"baseline_id": digest[:8]}) for one in votes("A", "C", [WIN, LOSS, WIN, TIE])
    ]
    a = judged(tmp_path / "a", "A", verdicts)
    b = judged(tmp_path / "b", "B", [one.model_copy(update={"baseline_id": "00000000"}) for one in verdicts])
    baselines = []
    for run in (a, b):
        (ranking,) = ranked(capsys, run, *named, "--allow-mismatch")["rankings"]
        baselines += [contest["baseline"] for contest in ranking["contests"]]
    known, stranger = baselines
    assert known.startswith("C ")
    assert digest[:8] in known
    assert stranger == "C-00000000"


def test_two_baselines_of_one_name_are_two_models(tmp_path, capsys):
    """A was held to one C, B to another, and neither C is at hand: they must not link A and B."""
    runs = []
    for name, id_ in (("A", "11111111"), ("B", "22222222")):
        verdicts = [one.model_copy(update={"baseline_id": id_}) for one in votes(name, "C", [WIN, LOSS, WIN, TIE])]
        runs.append(judged(tmp_path / name, name, verdicts))
    assert "A, C-11111111 never met B, C-22222222" in refused(capsys, *runs)

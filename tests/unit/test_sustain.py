"""The largest load sustained, and the time to failure: rules and search on made-up service times, no model."""

from __future__ import annotations

import pytest

from evalkit.bench.sustain import LoadVerdict, SustainRule, Trial, largest_load, sustain_json, sustain_table
from evalkit.cli.main import main
from evalkit.report.tables import to_text
from evalkit.timing import first_behind

RULE = SustainRule()


def tried(service: float, *, grows: float = 0, most: float = 1800, late: tuple[int, ...] = ()) -> LoadVerdict:
    """Try a load whose seconds take so long, those of ``late`` three seconds; the cache fills in 16 s."""
    trial = Trial(2.0, SustainRule(most=most))
    for second in range(int(most)):
        cache = 100 * min(second + 1, 16) + grows * second
        if not trial.goes_on(1.0, 3.0 if second in late else service, int(cache)):
            break
    return trial.verdict()


def test_ten_minutes_without_a_miss_after_the_memory_stopped_growing_are_accepted() -> None:
    found = tried(0.5)
    assert (found.sustained, found.reason) == (True, "")
    # The cache last grew at the end of second 16; a minute later its cap counts as reached.
    assert (found.capped_at, found.measured, found.horizon) == (76, 600, 676)
    assert (found.misses, found.factor) == (0, 0.5)
    assert found.trend is not None
    assert found.trend.slope == 0


def test_a_session_slower_than_its_stream_is_refused_as_soon_as_no_later_second_can_save_it() -> None:
    found = tried(1.01)
    # Lag grows by 10 ms a second: it is over one second before the memory is capped; ten misses too many.
    assert (found.sustained, found.reason) == (False, "misses")
    assert found.measured == found.misses
    assert 5 <= found.misses <= 12
    assert tried(2.0).reason == "backlog", "a minute behind before the memory is capped"


def test_a_few_late_seconds_take_more_seconds_to_accept_and_459_are_needed_without_one() -> None:
    assert RULE.needed() == 459
    one = tried(0.4, late=(200,))
    # The late second itself is 3 s late, and the two after it wait: 3.0, 2.4, 1.8, 1.2 s.
    assert one.misses == 4
    assert one.sustained
    assert one.measured > 600, "four misses need about 1,160 seconds"
    assert not tried(0.4, late=(200,), most=1000).sustained


def test_a_memory_that_never_stops_growing_is_no_sustained_load_at_any_rate() -> None:
    calls = []

    def run(load: float, trial: Trial) -> str:
        calls.append(load)
        second = 0
        while trial.goes_on(1.0, 0.01, 100 * second):
            second += 1
        return ""

    search = largest_load(run, RULE, first=2, step=0.25, least=0.25, most=30)
    assert calls == [2]
    assert search.best is None
    (verdict,) = search.verdicts
    assert (verdict.reason, verdict.capped_at, verdict.horizon) == ("growing", None, 1201)
    assert "the memory never stops growing" in to_text(sustain_table({"full": search}, RULE, "fps"))


@pytest.mark.parametrize("capacity", [0.3, 1.0, 5.3, 7.75, 29.9, 100.0])
@pytest.mark.parametrize("first", [0.25, 2.0, 30.0])
def test_the_search_finds_the_largest_rate_on_the_grid(capacity: float, first: float) -> None:
    calls = []

    def run(load: float, trial: Trial) -> str:
        calls.append(load)
        while trial.goes_on(1.0, load / capacity, 100):
            pass
        return ""

    search = largest_load(run, RULE, first=first, step=0.25, least=0.25, most=30)
    best = search.best
    assert best is not None
    assert best.load == min(capacity // 0.25 * 0.25, 30)
    assert search.bounded == (capacity < 30)
    assert len(calls) == len(set(calls)) <= 16, "no load is tried twice"


def test_a_model_that_fails_refuses_its_load_and_the_search_goes_on_below() -> None:
    def run(load: float, trial: Trial) -> str:
        if load > 4:
            return "OutOfMemoryError: no room"
        while trial.goes_on(1.0, 0.1, 100):
            pass
        return ""

    search = largest_load(run, RULE, first=2, step=1, least=1, most=64)
    assert search.best is not None
    assert search.best.load == 4
    figures = sustain_json({"m": search}, RULE)["models"]["m"]
    assert (figures["sustained"], figures["bounded"]) == (4, True)
    assert {one["said"] for one in figures["tried"] if one["reason"] == "failed"} == {"OutOfMemoryError: no room"}


def test_a_backlog_that_grows_within_the_deadline_is_refused() -> None:
    # Half a minute of lag is allowed, and it grows by 20 ms a second: no second is late, the backlog is.
    trial = Trial(2.0, SustainRule(deadline=30.0))
    while trial.goes_on(1.0, 1.02, 100):
        pass
    found = trial.verdict()
    assert (found.misses, found.reason) == (0, "backlog")
    assert found.trend is not None
    assert found.trend.low is not None
    assert found.trend.low > 0


def test_sustain_refuses_a_stream_too_short_to_accept_anything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--sustain", "--seconds", "459"]) == 2
    assert "--sustain needs --seconds of at least 660" in capsys.readouterr().err
    assert main(["bench", "--sustain", "--compress", "stc"]) == 2
    assert "--compress measures by itself" in capsys.readouterr().err


def test_the_horizon_watch_says_when_a_minute_first_took_more_than_a_minute() -> None:
    from evalkit.bench.horizon import HorizonWatch

    service = [0.2 + 0.01 * second for second in range(200)]
    watch = HorizonWatch()
    for second, spent in enumerate(service):
        if not watch.goes_on(1.0, spent, f"word {second}"):
            break
    import numpy as np

    assert watch.behind_at == first_behind(np.ones(200), np.array(service))
    # The mean of 60 seconds, 0.2 + 0.01 (k - 29.5), passes 1 at k = 110, the 111th second.
    assert watch.behind_at == 111
    assert watch.degenerate_at is None


@pytest.mark.parametrize(
    ("texts", "at"),
    [
        ([f"w{k}" for k in range(100)], None),
        (["..."] * 100, 60.0),
        (["same"] * 100, 61.0),  # the first of them is not a repetition yet
        ([f"w{k}" for k in range(30)] + ["", "..."] * 40, 90.0),
        ([f"w{k % 2}" for k in range(100)], None),
        (["x"] * 50 + ["y"] + ["y"] * 30, None),
    ],
)
def test_a_minute_of_silence_or_of_the_same_words_is_degenerate(texts: list[str], at: float | None) -> None:
    from evalkit.bench.horizon import HorizonWatch

    watch = HorizonWatch()
    for text in texts:
        assert watch.goes_on(1.0, 0.1, text), "a stream whose words degenerate goes on"
    assert watch.degenerate_at == at

"""What may be compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.leaderboard.fingerprint import (
    comparable,
    comparison_digest,
    describe_mismatches,
    fields_named,
    model_changes,
)

VALUES = st.one_of(st.none(), st.integers(0, 3), st.text(max_size=3))
FIELDS = st.sampled_from(["task", "seed", "dtype", "model.name", "model.compress", "model"])


def test_fields_of_the_model_may_differ():
    a = {"task": "ovobench", "model.name": "full", "model.checkpoint": "a", "model.memory.window": 16}
    b = {"task": "ovobench", "model.name": "stc", "model.checkpoint": "b", "model.compress": "stc"}
    assert comparable(a, b) == []


def test_any_other_field_is_named_with_both_values():
    found = comparable({"frames.fps": "2", "seed": 1}, {"frames.fps": "8", "seed": 1, "dtype": "bf16"})
    assert [(one.field, one.a, one.b) for one in found] == [("dtype", None, "bf16"), ("frames.fps", "2", "8")]
    assert describe_mismatches(found) == 'dtype (absent against "bf16"); frames.fps ("2" against "8")'


def test_a_field_that_only_starts_like_the_model_is_not_the_models():
    assert [one.field for one in comparable({"models": 1}, {"models": 2})] == ["models"]


def test_a_long_value_is_cut_in_the_message():
    found = comparable({"prompt": "x" * 500}, {"prompt": "y"})
    assert len(found[0].describe()) < 120


@given(st.dictionaries(FIELDS, VALUES), st.dictionaries(FIELDS, VALUES))
def test_digests_agree_exactly_where_runs_are_comparable(a, b):
    assert (comparison_digest(a) == comparison_digest(b)) == (comparable(a, b) == [])


def test_the_judge_is_part_of_what_must_agree():
    assert comparison_digest({}, judged=("base", "gpt-5")) != comparison_digest({}, judged=("base", "gpt-4o"))


@given(st.dictionaries(FIELDS, VALUES), st.dictionaries(FIELDS, VALUES))
def test_every_difference_is_either_the_models_or_in_the_way(a, b):
    differing = {name for name in {*a, *b} if a.get(name) != b.get(name)}
    assert {one.field for one in (*model_changes(a, b), *comparable(a, b))} == differing
    assert len(model_changes(a, b)) + len(comparable(a, b)) == len(differing)


RUN = {"code.revision": "1", "code.change": None, "seed": 1, "model.name": "full"}


@pytest.mark.parametrize(
    ("named", "fields"),
    [
        ("code", {"code.revision", "code.change"}),
        ("code.revision", {"code.revision"}),
        ("seed", {"seed"}),
        ("data", {"data.media"}),
    ],
)
def test_a_field_is_named_by_itself_or_by_its_group(named, fields):
    assert fields_named([named], RUN, {**RUN, "data.media": "x"}) == fields


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("code.revison", "did you mean 'code.revision'?"),
        ("cod", "did you mean 'code'?"),
        ("nothing-like-it", "known: code, code.change, code.revision, seed"),
        ("model.name", "may differ"),
    ],
)
def test_a_field_that_no_run_has_is_refused_with_a_suggestion(named, said):
    with pytest.raises(UsageError, match="field") as caught:
        fields_named([named], RUN)
    assert said in str(caught.value)

"""The registry: names come from entry points, typos get suggestions, broken packages are named."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from evalkit import registry
from evalkit.errors import UsageError
from evalkit.registry import Registry


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> Registry:
    entries = [
        EntryPoint("squares", "math:sqrt", "evalkit.things"),
        EntryPoint("missing-module", "evalkit_no_such_module:thing", "evalkit.things"),
        EntryPoint("missing-name", "math:no_such_name", "evalkit.things"),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries if group == "evalkit.things" else [])
    return Registry("evalkit.things", "thing")


def test_names_are_listed_without_importing(things: Registry) -> None:
    assert things.names() == ["missing-module", "missing-name", "squares"]


def test_a_name_gives_what_it_stands_for(things: Registry) -> None:
    assert things.get("squares")(9) == 3


def test_an_unknown_name_gets_a_suggestion_and_the_known_ones(things: Registry) -> None:
    with pytest.raises(UsageError, match=r"unknown thing 'sqares'; did you mean 'squares'.*known: missing-module"):
        things.get("sqares")


@pytest.mark.parametrize("name", ["missing-module", "missing-name"])
def test_an_entry_that_cannot_be_loaded_is_named(name: str, things: Registry) -> None:
    with pytest.raises(UsageError, match=f"thing '{name}' .* cannot be loaded"):
        things.get(name)

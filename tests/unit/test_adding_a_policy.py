"""The memories of docs/adding-a-policy.md work as printed: a plan, a cut, a choice of blocks."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evalkit.models.entry import ModelChoice
from evalkit.models.protocol import SessionRequest
from evalkit.stream import Chunk, Elicitation

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-policy.md"
Seconds = Callable[..., Iterator[Chunk]]


@pytest.fixture(scope="module")
def page() -> types.ModuleType:
    module = types.ModuleType("page_of_policies")
    sys.modules["page_of_policies"] = module
    for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(code, str(PAGE), "exec"), module.__dict__)
    return module


def test_the_plan_of_the_page_keeps_the_last_seconds(page: types.ModuleType, tiny: Any, seconds: Seconds) -> None:
    model = page.last8.recipe(ModelChoice(checkpoint="tiny", settings={"memory": {"seconds": 3}})).over(tiny)
    session = model.open(SessionRequest("s", 2.0))
    steps = [session.observe(chunk) for chunk in seconds(6)]
    assert steps[-1].kept["vision"] == 4 * steps[0].kept["vision"]


def test_the_cut_of_the_page_keeps_to_its_budget(page: types.ModuleType, tiny: Any, seconds: Seconds) -> None:
    recipe = page.looked.recipe(ModelChoice(checkpoint="tiny", settings={"memory": {"frames": 2}}))
    assert recipe.tells_budget
    session = recipe.over(tiny).open(SessionRequest("s", 2.0))
    steps = [session.observe(chunk) for chunk in seconds(9)]
    assert max(step.held.active for step in steps) == steps[0].held.budget == 6 * steps[0].held.active
    assert steps[6].evicted["vision"] == 4 * steps[0].held.active


def test_the_choice_of_the_page_retrieves(page: types.ModuleType, tiny: Any, seconds: Seconds) -> None:
    settings = {"memory": {"topk": 2, "n_local": 60}, "generation": {"answer_tokens": 3}}
    recipe = page.by_cosine.recipe(ModelChoice(checkpoint="tiny", settings=settings))
    assert recipe.capabilities.narrate is None
    session = recipe.over(tiny).open(SessionRequest("s", 2.0))
    for chunk in seconds(5):
        session.observe(chunk)
    found = session.ask("What is it?", Elicitation(), key="q").retrieved
    assert set(found.blocks) == {2}
    assert found.stored == 5

"""What somebody's package gives wrongly is one line that says so: judges, policies, what tasks load."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from evalkit.errors import DataError, JudgeError, ModelError, UsageError
from evalkit.judge import OverlapJudge, Question
from evalkit.judge.plugged import PluggedJudge
from evalkit.memory import Ledger, MemoryPolicy, Plan
from evalkit.models import PolicyEntry, SessionRequest
from evalkit.models.cached import CachedModel
from evalkit.models.load import LoadRequest, load_backbone
from evalkit.models.settings import GenerationSettings
from evalkit.stream import Query, StreamSample
from evalkit.tasks import Problem, TaskData
from evalkit.tasks.loaded import misfits, require_loaded


class Mute:
    """A judge as somebody begins one."""

    identity = "mute"
    provenance: ClassVar[dict[str, str]] = {}
    concurrency = 0

    def decide(self, question: Question) -> str:
        """No coroutine."""
        return "first"


class Wrong(OverlapJudge):
    """A judge that returns a word for a decision."""

    async def decide(self, question: Question) -> Any:
        return "first"


def test_a_judge_that_lacks_parts_is_refused_by_their_names_and_a_whole_one_passes() -> None:
    with pytest.raises(UsageError) as refused:
        PluggedJudge("mine", Mute())
    said = str(refused.value)
    assert "test_wrong_objects.Mute) lacks concurrency (a whole number from 1 on); decide" in said
    assert "decide (an async method); close (an async method): see docs/adding-a-judge.md" in said
    with pytest.raises(UsageError, match=r"\(builtins.NoneType\) lacks identity \(a text\); provenance"):
        PluggedJudge("nothing", None)
    question = Question("k", "goal 1", "goal 1", "no goal")
    whole = PluggedJudge("overlap", OverlapJudge())
    assert asyncio.run(whole.decide(question)) == asyncio.run(OverlapJudge().decide(question))


def test_what_is_no_decision_ends_the_judging_in_one_line() -> None:
    with pytest.raises(JudgeError, match=r"judge 'mine': decide\(\) returned str, not evalkit.judge.Decision"):
        asyncio.run(PluggedJudge("mine", Wrong()).decide(Question("k", "r", "a", "b")))


class Begun(MemoryPolicy):
    """A policy without a plan."""


class Forgetful(MemoryPolicy):
    """A policy that forgets to return its plan."""

    def plan(self, ledger: Ledger, second: int) -> Plan:
        Plan()
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        (Forgetful(), "model mine: memory is an object of Forgetful: name the class itself"),
        (dict, "model mine: dict is no memory policy: derive it from evalkit.memory.MemoryPolicy"),
        (Begun, r"model mine: Begun lacks plan\(\)"),
    ],
)
def test_an_entry_with_a_wrong_policy_is_refused_when_it_is_made(memory: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        PolicyEntry(name="mine", summary="Mine.", memory=memory, checkpoint="tiny")


def test_a_policy_that_returns_no_plan_is_named() -> None:
    model = CachedModel(
        "mine", load_backbone(LoadRequest("tiny", device="cpu")), Forgetful(), GenerationSettings(), "r"
    )
    session = model.open(SessionRequest("s", fps=1.0))
    with pytest.raises(
        ModelError, match=r"memory policy Forgetful: plan\(\) returned NoneType, not evalkit.memory"
    ):
        session._forget(1)  # type: ignore[attr-defined]


def question(name: str = "q1", at: float = 5.0, **changes: Any) -> Query:
    plain = Query(name, at, "?", "choice", choices=("a", "b", "c"), answer="B", tags={"task": "see"})
    return replace(plain, **changes)


def data(*queries: Query, problems: tuple[Problem, ...] = ()) -> TaskData:
    sample = StreamSample(id="s1", video=Path("v.mp4"), start=2.0, end=10.0, fps=1.0, queries=queries)
    return TaskData((sample,), "r", problems)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (question(at=11.0), "question 'q1' is asked at 11 s, after its stream has ended at 10 s"),
        (question(at=1.0), "question 'q1' is asked at 1 s, before its stream begins at 2 s"),
        (question(answer="D"), "question 'q1' has the gold 'D', which is none of its options A to C"),
        (question(answer="b"), "question 'q1' has the gold 'b', which is none of its options A to C"),
        (question(tags={}), "question 'q1' has no tag 'task', which names its sub-task"),
    ],
)
def test_a_question_that_cannot_be_asked_or_scored_is_refused_by_its_id(
    wrong: Query, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=said):
        require_loaded("mine", data(question("q0"), wrong), tmp_path)
    named = Problem("known-fault", "published so", item="q1")
    assert misfits(data(question("q0"), wrong, problems=(named,))) == []


def test_hidden_golds_and_whole_data_pass_and_what_is_no_data_does_not(tmp_path: Path) -> None:
    require_loaded("mine", data(question(), question("q2", answer=None), question("q3", answer="@")), tmp_path)
    with pytest.raises(UsageError, match=r"task 'mine': load\(\) returned nothing, not evalkit.tasks.TaskData"):
        require_loaded("mine", None, tmp_path)
    with pytest.raises(UsageError, match=r"load\(\) gave a str for a sample"):
        require_loaded("mine", TaskData(("s1",), "r"), tmp_path)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"\(and 2 more\)"):
        require_loaded("mine", data(*(question(f"q{k}", at=11.0) for k in range(5))), tmp_path)

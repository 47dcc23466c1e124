"""The benchmark of docs/adding-a-task.md works as printed, and what is no task is refused by name."""

from __future__ import annotations

import json
import re
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from evalkit import registry
from evalkit.errors import UsageError
from evalkit.tasks import TaskSettings
from evalkit.tasks.catalog import data_folder, task_named
from evalkit.tasks.choice import ChoiceSettings, ChoiceTask

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-task.md"


@pytest.fixture(scope="module")
def page_task() -> ChoiceTask:
    code = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0]
    module = types.ModuleType("page_of_docs")
    sys.modules["page_of_docs"] = module
    exec(compile(code, str(PAGE), "exec"), module.__dict__)
    task: ChoiceTask = module.task
    return task


def registered(monkeypatch: pytest.MonkeyPatch, name: str, task: object) -> None:
    module = types.ModuleType("somebodys_tasks")
    module.task = task  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "somebodys_tasks", module)
    entry = EntryPoint(name, "somebodys_tasks:task", "evalkit.tasks")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])


def test_the_benchmark_of_the_page_is_found_loaded_checked_and_scored(
    page_task: ChoiceTask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registered(monkeypatch, "my-bench", page_task)
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path))
    task = task_named("my-bench")
    data = tmp_path / "demo" / "my-bench"
    data.mkdir(parents=True)
    data = data_folder(task, "demo")
    assert task.check(data).problems == ()
    loaded = task.load(data, ChoiceSettings(protocol="official"))
    assert [sample.tags["frames"] for sample in loaded.samples] == ["uniform-64"] * 6
    assert len(task.load(data, ChoiceSettings()).samples) == 2
    golds = {query.id: query.answer for sample in loaded.samples for query in sample.queries}
    replies = tmp_path / "replies.json"
    rows = [{"id": id_, "skill": "see", "reply": f"{gold}."} for id_, gold in golds.items()]
    rows[0]["reply"] = "I cannot say"
    replies.write_text(json.dumps(rows))
    predictions, problems = task.read_predictions("official", [replies], data)
    assert problems == []
    sheet = task.score(predictions, "official")
    assert (sheet.n, sheet.answered) == (6, 5)
    assert sheet.strict.total == sheet.source.total == pytest.approx(500 / 6)
    assert len({cluster for _, cluster, _, _ in sheet.correct}) == 2


class Settings(TaskSettings):
    """Nothing to set."""


class Half:
    """A task as somebody begins one."""

    name = "half"
    settings = Settings

    def load(self, data: Path, settings: TaskSettings) -> None:
        """Nothing."""

    def pair_up(self, test: Path, baseline: Path, data: Path) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (
            Half(),
            r"lacks summary \(a text\); formats .*; make_demo\(\); check\(\); read_predictions\(\); score\(\)",
        ),
        (Half(), r"metrics\(\); read_outputs\(\), write_outputs\(\), narration_metrics\(\) .*see docs/adding"),
        (Half, r"names the class Half, not an object of it: let the entry point name task = Half\(\)"),
        (None, r"task 'half' \(builtins.NoneType\) lacks name \(a text\); summary"),
    ],
)
def test_what_a_task_lacks_is_said_by_name_when_it_is_asked_for(
    task: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(monkeypatch, "half", task)
    with pytest.raises(UsageError, match=said):
        task_named("half")


def test_what_a_choice_benchmark_leaves_undeclared_is_said_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Begun(ChoiceTask):
        name = "begun"
        summary = "A benchmark as somebody begins one"
        places = ("questions.json",)

    registered(monkeypatch, "begun", Begun())
    with pytest.raises(
        UsageError, match=r"lacks row \(see ChoiceTask\); how_to_get .*; prompts .*; rule .*; demo "
    ):
        task_named("begun")


def test_a_task_under_another_name_is_refused(page_task: ChoiceTask, monkeypatch: pytest.MonkeyPatch) -> None:
    registered(monkeypatch, "other", page_task)
    with pytest.raises(UsageError, match="calls itself 'my-bench'"):
        task_named("other")

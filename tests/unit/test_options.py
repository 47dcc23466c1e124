"""Options: one model, three views; settings find their group, and values their type."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.memory import StreamingVLM
from evalkit.models.settings import GenerationSettings
from evalkit.run import RunOptions, merge_options, parse_assignment, read_config
from evalkit.settings import apply_settings

GROUPS = {"memory": StreamingVLM, "generation": GenerationSettings}
NAMES = [name for name in RunOptions.model_fields if name != "settings"]


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("a.b=3", ("a.b", 3)),
        ("a=0.5", ("a", 0.5)),
        ("a=true", ("a", True)),
        ("a=null", ("a", None)),
        ("a=none", ("a", "none")),
        ("a=x=y", ("a", "x=y")),
        ("a=", ("a", "")),
        ('a="3"', ("a", "3")),
    ],
)
def test_an_assignment_is_read_as_json_where_it_is_json(text: str, pair: tuple[str, object]) -> None:
    assert parse_assignment(text) == pair


@pytest.mark.parametrize("text", ["a", "=3", "", "a=[1]", 'a={"b": 1}'])
def test_what_assigns_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        parse_assignment(text)


def test_settings_find_their_group_with_or_without_its_name() -> None:
    given = {"memory.text_sink": 3, "vision_window": 4, "temperature": 0}
    assert apply_settings(given, GROUPS) == {
        "memory": {"text_sink": 3, "vision_window": 4},
        "generation": {"temperature": 0.0},
    }


def test_none_lifts_a_limit_and_is_no_number_elsewhere() -> None:
    assert apply_settings({"text_sink": "none"}, GROUPS)["memory"] == {"text_sink": None}
    with pytest.raises(UsageError, match=r"setting memory\.vision_window='none'"):
        apply_settings({"vision_window": "none"}, GROUPS)


def test_a_key_of_two_groups_must_name_one() -> None:
    with pytest.raises(UsageError, match=r"ambiguous: generation\.temperature or other\.temperature"):
        apply_settings({"temperature": 0}, GROUPS | {"other": GenerationSettings})


def test_later_layers_win_and_settings_merge_key_by_key() -> None:
    base = {"task": "t", "model": "m", "seed": 1, "settings": {"a": 1, "b": 2}}
    options = merge_options([base, {"seed": 2}, {"settings": {"b": 3}}])
    assert (options.task, options.seed, options.settings) == ("t", 2, {"a": 1, "b": 3})


def test_a_toml_file_holds_options_and_tables_of_settings(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        'task = "inf-streams"\ncheckpoint-seconds = 30\nsample = ["a", "b"]\n[memory]\ntext_sink = 3\n'
    )
    options = merge_options([read_config(path, NAMES), {"model": "full"}])
    assert options.checkpoint_seconds == 30
    assert options.sample == ("a", "b")
    assert options.settings == {"memory.text_sink": 3}


def test_the_table_of_a_task_may_hold_its_name_beside_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('model = "full"\n[task]\nname = "inf-streams"\nstart_seconds = 57\n')
    options = merge_options([read_config(path, NAMES)])
    assert (options.task, options.settings) == ("inf-streams", {"task.start_seconds": 57})
    assert merge_options([read_config(path, NAMES), {"task": "videomme"}]).task == "videomme"


@pytest.mark.parametrize("rest", ["[task]\nfps = 2", "task.fps = 2", "[ task ]\nfps = 2"])
def test_a_task_that_is_a_key_and_a_table_is_told_where_its_name_belongs(rest: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(f'task = "inf-streams"\n{rest}\n')
    with pytest.raises(UsageError, match=r"run\.toml: .*; .*name the task inside it: \[task\], then name = "):
        read_config(path, NAMES)


def test_a_file_that_is_not_there_is_named_without_the_errno(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        read_config(tmp_path / "none.toml", NAMES)
    assert str(caught.value) == f"--config {tmp_path}/none.toml: No such file or directory"


def test_the_example_of_a_config_file_in_the_documents_is_read(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "adding-a-task.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(# run\.toml\n.*?)```", page, flags=re.DOTALL)
    path = tmp_path / "run.toml"
    path.write_text(example)
    options = merge_options([read_config(path, NAMES)])
    assert options.task == "my-bench"
    assert options.settings["task.fps"] == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('tsk = "x"', "unknown option 'tsk'; did you mean 'task'"),
        ("task = ", "Invalid"),
        ("settings = 3", "settings"),
        ("[generation]\ntop_k = [1, 2]", r"\[generation\] top_k wants one number.*, not a list"),
        ("[generation.top_k]\na = 1", r"\[generation\] top_k wants one number.*, not a table"),
        ("[memory]\ntext_sink = 2024-01-01", r"\[memory\] text_sink wants one number.*, not 2024-01-01"),
        ("seed = [1]", "seed wants one number.*, not a list"),
        ('sample = "x"', r"sample wants a list, such as sample = \[\"x\"\], not 'x'"),
    ],
)
def test_a_toml_file_that_is_wrong_is_named(content: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(content)
    with pytest.raises(UsageError, match=f"--config .*run.toml: .*{said}"):
        read_config(path, NAMES)


def test_options_do_not_change_and_know_no_other_names() -> None:
    options = merge_options([{"task": "t", "model": "m"}])
    with pytest.raises(ValueError, match="frozen"):
        options.seed = 3  # type: ignore[misc]
    with pytest.raises(UsageError, match="--sede"):
        merge_options([{"task": "t", "model": "m", "sede": 3}])


def test_a_setting_that_is_no_single_value_is_named_by_its_key() -> None:
    with pytest.raises(UsageError, match=r"^setting generation\.top_k wants one number"):
        merge_options([{"task": "t", "model": "m", "settings": {"generation.top_k": [1, 2]}}])

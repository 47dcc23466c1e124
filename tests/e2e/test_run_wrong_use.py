"""Wrong use of the command line: one line on stderr that says what to do, the right exit code, nothing written."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import write_data

from tests.run_folders import narration_run

Call = Callable[..., tuple[int, str, str]]
RUN = ("run", "--task", "inf-streams", "--model", "streamingvlm", "--checkpoint", "tiny", "--out", "run")


def complaint(result: tuple[int, str, str], *, code: int = 2) -> str:
    assert result[0] == code
    assert result[1] == ""
    lines = result[2].splitlines()
    assert len(lines) == 1, result[2]
    assert lines[0].startswith("evalkit: ")
    return lines[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runn"], "unknown command 'runn'; did you mean 'run'?"),
        (["--hlep"], "did you mean '--help'?"),
        (["run", "--model", "full"], "--task is required"),
        (["run", "--task", "inf-streams"], "--model is required"),
        (["run", "--task"], "--task: expected one argument"),
        (
            ["run", "--task", "inf-stream", "--model", "full"],
            "unknown task 'inf-stream'; did you mean 'inf-streams'?",
        ),
        (
            ["run", "--task", "inf-streams", "--model", "streamvlm"],
            "unknown model 'streamvlm'; did you mean 'streamingvlm'?",
        ),
        ([*RUN, "--chekpoint", "tiny"], "unrecognized arguments: --chekpoint tiny; did you mean '--checkpoint'?"),
        ([*RUN, "--limit", "none"], "--limit 'none': Input should be a valid integer"),
        ([*RUN, "--limit", "0"], "--limit '0': Input should be greater than or equal to 1"),
        ([*RUN, "--after-vision", "spacial"], "--after-vision 'spacial': Input should be 'max' or 'spatial'"),
        ([*RUN, "--set", "memory.vision_windw=3"], "did you mean 'memory.vision_window'?"),
        ([*RUN, "--set", "vision_windw=3"], "did you mean 'memory.vision_window'?"),
        ([*RUN, "--set", "memory.vision_window"], "--set wants key=value"),
        ([*RUN, "--set", "memory.vision_window=wide"], "setting memory.vision_window='wide': Input should be"),
        ([*RUN, "--set", "memory.vision_window=0"], "memory.vision_window must be at least 1"),
        ([*RUN, "--set", "memory.vision_window=[3]"], "a number, true, false or text is wanted"),
        ([*RUN, "--set", "generation.temperature=-1"], "setting generation.temperature"),
        ([*RUN, "--data", "demo", "--set", "task.fps=90"], "setting task.fps"),
        ([*RUN, "--set", "seconds=5"], "unknown setting 'seconds'"),
        ([*RUN, "--config", "nothing.toml"], "--config nothing.toml"),
        (
            [*RUN, "--data", "demo", "--repeat", "2", "--beside", "nothing.toml"],
            "--beside nothing.toml: No such file",
        ),
        ([*RUN, "--protocol", "official"], "has one protocol only"),
        ([*RUN, "--data", "nowhere"], "no data folder nowhere"),
        ([*RUN, "--judge", "overlap"], "--judge and --against go together"),
        ([*RUN, "--judge", "overlap", "--against", "nowhere"], "--against nowhere does not exist"),
        (["judge", "nowhere", "--judge", "overlap"], "evalkit judge needs --against"),
        (["judge", "--against", "x", "--judge", "overlap"], "evalkit judge needs RUN"),
        (["list", "taskz"], "invalid choice: 'taskz'"),
        (["run", "--resume"], "--resume wants --out RUN"),
        (["rescore", "nowhere"], "nowhere is not a run folder (there is no such folder)"),
        (["view", "nowhere"], "nowhere is not a run folder (there is no such folder)"),
        (["report", __file__], "is not a run folder (it is a file)"),
        (["demo", "--out", __file__], "exists and is not an empty folder"),
        (
            ["data", "import", ".", "--task", "inf-streams", "--model", "m", "--out", "new"],
            ". is a folder, not a file",
        ),
        ([*RUN, "--data", __file__], "is a file: --data names the folder"),
        ([*RUN, "--data", "demo", "--checkpoint", "tinny"], "did you mean 'tiny'?"),
        (["data", "check", "--task", "inf-stream"], "did you mean 'inf-streams'?"),
        (
            ["data", "check", "--task", "inf-streams"],
            "folder data/inf-streams: `evalkit data fetch inf-streams` brings",
        ),
        (
            ["data", "check", "inf-streams", "--data", "x"],
            "spelled right? `evalkit data fetch inf-streams --out x` fills",
        ),
        (["data", "check"], "evalkit data check wants one TASK"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(
    words: list[str], said: str, tmp_path: Path, evalkit: Call
) -> None:
    assert said in complaint(evalkit(*words))
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_sample_that_does_not_exist_gets_a_suggestion(small_data: Path, evalkit: Call) -> None:
    words = (*RUN, "--data", small_data, "--set", "start_seconds=5", "--sample", "matsch")
    assert "there is no sample 'matsch'; did you mean 'match'?" in complaint(evalkit(*words))


def test_a_data_folder_without_the_files_names_them_and_says_how_to_get_them(
    tmp_path: Path, evalkit: Call
) -> None:
    (tmp_path / "data").mkdir()
    said = complaint(evalkit(*RUN, "--data", "data"))
    assert "eval_all_metadata.jsonl" in said
    assert "score_all_clips.jsonl" in said
    assert "`evalkit data fetch inf-streams` brings them" in said
    assert not (tmp_path / "run").exists()


def test_a_data_folder_without_any_video_says_so(tmp_path: Path, evalkit: Call) -> None:
    data = write_data(tmp_path / "data", seconds=8)
    (data / "videos" / "match.mp4").unlink()
    assert "has none of its videos (/videos/match.mp4)" in complaint(evalkit(*RUN, "--data", data))


def test_a_start_after_the_end_of_every_video_says_what_to_set(small_data: Path, evalkit: Call) -> None:
    assert "set start_seconds lower" in complaint(evalkit(*RUN, "--data", small_data))


@pytest.fixture
def run(small_data: Path) -> tuple[str | Path, ...]:
    return (*RUN, "--data", small_data, "--set", "start_seconds=20")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--checkpoint", "no/such-model"], "checkpoint 'no/such-model' is neither a folder"),
        (["--checkpoint", "/no/such/folder"], "checkpoint '/no/such/folder' is neither a folder"),
        (["--device", "gpu"], "unknown device 'gpu': use auto, cpu, cuda or cuda:N"),
        (["--device", "meta"], "device 'meta' is not supported"),
        (["--dtype", "float23"], "unknown dtype 'float23'; did you mean 'float32'?"),
        (["--attention", "spda"], "attention kernel 'spda'"),
        (["--attention", "flash_attention_2"], "attention kernel 'flash_attention_2'"),
        (["--compress", "nonsense"], "nonsense"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_refused_before_a_folder_is_made(
    words: list[str], said: str, run: tuple[str | Path, ...], tmp_path: Path, evalkit: Call
) -> None:
    assert said in complaint(evalkit(*run, *words))
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_where_there_is_none_is_refused(run: tuple[str | Path, ...], evalkit: Call) -> None:
    assert "--device cuda: no CUDA device here; use --device cpu" in complaint(evalkit(*run, "--device", "cuda"))


def test_a_checkpoint_of_another_architecture_is_named(
    run: tuple[str | Path, ...], tmp_path: Path, evalkit: Call
) -> None:
    bert = tmp_path / "bert"
    bert.mkdir()
    (bert / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    said = complaint(evalkit(*run, "--checkpoint", bert))
    assert "is a 'bert' model; evalkit runs" in said
    assert "qwen2_5_vl" in said


def test_a_folder_that_holds_no_checkpoint_says_so(
    run: tuple[str | Path, ...], tmp_path: Path, evalkit: Call
) -> None:
    (tmp_path / "empty").mkdir()
    assert "holds no transformers model" in complaint(evalkit(*run, "--checkpoint", tmp_path / "empty"))


def test_a_checkpoint_without_weights_says_so(run: tuple[str | Path, ...], tmp_path: Path, evalkit: Call) -> None:
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen2_5_vl"}))
    said = complaint(evalkit(*run, "--checkpoint", folder))
    assert f"checkpoint {folder} cannot be loaded" in said


@pytest.mark.parametrize("file", ["answers.jsonl", "ticks.jsonl"])
def test_a_record_of_a_newer_version_is_refused_with_its_line(file: str, tmp_path: Path, evalkit: Call) -> None:
    path = narration_run(tmp_path / "newer", videos=1, judged=False) / file
    path.write_text(path.read_text().replace('"v":1', '"v":99', 1))
    said = f"{path}:1: written by a newer evalkit (schema 99, this one reads 1)"
    assert said in complaint(evalkit("report", tmp_path / "newer"))
    assert not (tmp_path / "newer" / "report.html").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('task = "inf-streams"\n[task]\nstart_seconds = 57', "so name the task inside it: [task], then name ="),
        ("[generation]\ntop_k = [1, 2]", "--config run.toml: [generation] top_k wants one number"),
        ('sample = "x"', "--config run.toml: sample wants a list"),
    ],
)
def test_a_config_file_that_does_not_fit_is_named_with_its_key(
    content: str, said: str, tmp_path: Path, evalkit: Call
) -> None:
    (tmp_path / "run.toml").write_text(content)
    assert said in complaint(evalkit(*RUN, "--config", "run.toml"))
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


@pytest.fixture
def against(tmp_path: Path) -> Path:
    path = tmp_path / "merged_result.jsonl"
    path.write_text(json.dumps({"video": "match.mp4", "responses": []}) + "\n")
    return path


def test_a_chat_judge_without_a_key_is_refused_before_anything_runs(
    run: tuple[str | Path, ...], against: Path, tmp_path: Path, evalkit: Call
) -> None:
    said = complaint(evalkit(*run, "--judge", "openai:gpt-5", "--against", against))
    assert "needs a key: set OPENAI_API_KEY" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("judge", "said"),
    [("overlapp", "did you mean 'overlap'?"), ("openai", "--judge openai:MODEL"), ("overlap:x", "takes nothing")],
)
def test_a_judge_that_does_not_exist_is_refused_before_anything_runs(
    judge: str, said: str, run: tuple[str | Path, ...], against: Path, tmp_path: Path, evalkit: Call
) -> None:
    assert said in complaint(evalkit(*run, "--judge", judge, "--against", against))
    assert not (tmp_path / "run").exists()


def test_an_against_that_is_no_run_is_refused_before_anything_runs(
    run: tuple[str | Path, ...], tmp_path: Path, evalkit: Call
) -> None:
    (tmp_path / "other").mkdir()
    assert "is not a run folder" in complaint(evalkit(*run, "--judge", "overlap", "--against", "other"))


def test_a_judge_server_that_is_not_there_is_one_line_and_the_run_stays(
    small_data: Path, tmp_path: Path, evalkit: Call
) -> None:
    """The narration is on record, reported, and can be judged later."""
    run = (*RUN, "--data", small_data, "--set", "start_seconds=5")
    assert evalkit(*run)[0] == 0
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    words = ("--judge", "openai:gpt-5", "--against", "run", "--base-url", address)
    code, _, err = evalkit(*run, "--out", "second", *words)
    assert code == 2, err
    assert err.splitlines()[-1].startswith("evalkit: ")
    assert "Traceback" not in err
    assert (tmp_path / "second" / "report.md").exists()
    assert (tmp_path / "second" / "metrics.json").exists()
    assert json.loads((tmp_path / "second" / "run.json").read_text())["status"] == "done"

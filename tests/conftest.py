"""Shared parts of the engine's tests: the tiny network, made-up seconds, a small data set, the command line."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the networks are tiny, and tests run side by side
settings.register_profile("patient", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("patient")

if TYPE_CHECKING:
    from evalkit.models.backbone import Backbone
    from evalkit.stream import Chunk

WORDS = ("the", "ball", "goes", "wide", "and", "number", "seven", "picks", "it", "up", "in", "midfield")

# Started in the background of a shell, the tests would hand on that Ctrl-C is ignored.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """The built-in network, loaded once; its end marker is set so that short contexts end at various lengths."""
    import torch

    from evalkit.models.load import LoadRequest, load_backbone

    backbone = load_backbone(LoadRequest("tiny", device="cpu"))
    with torch.no_grad():
        backbone.network.lm_head.weight[backbone.layout.tokens.turn_close] *= -0.45
    return backbone


@pytest.fixture(scope="session")
def seconds() -> Callable[..., Iterator[Chunk]]:
    """Makes a stream of random frames, any second of which is the same whenever it is asked for."""

    def make(count: int, *, fps: int = 2, size: tuple[int, int] = (84, 56), seed: int = 0) -> Iterator[Chunk]:
        from evalkit.stream import Chunk, FrameSchedule

        for tick in FrameSchedule(0, count, fps):
            draw = np.random.default_rng([seed, tick.index])
            frames = draw.integers(0, 256, (fps, size[1], size[0], 3), dtype=np.uint8)
            yield Chunk(tick, frames, tick.frame_times, tick.frame_times, 0.0, 0.0)

    return make


def write_data(folder: Path, *, videos: Sequence[str] = ("match",), seconds: int = 25, start: int = 5) -> Path:
    """Write a data set in the published layout of Inf-Streams-Eval: small videos, a word a second."""
    from evalkit.video import write_mp4

    (folder / "videos").mkdir(parents=True)
    rows, windows = [], []
    for number, name in enumerate(videos):

        def pictures(number: int = number) -> Iterator[np.ndarray]:
            noise = np.random.default_rng(number).integers(0, 256, (84, 112, 3), dtype=np.uint8)
            for k in range(seconds * 4):
                yield np.roll(noise, 3 * k, axis=1)

        write_mp4(folder / "videos" / f"{name}.mp4", pictures(), fps=Fraction(4), gop=8)
        content = [[float(k), k + 1.0, WORDS[k % len(WORDS)]] for k in range(seconds)]
        row = {"video": f"/videos/{name}.mp4", "title": name}
        rows.append(row | {"content": content})
        windows.append(row | {"content": content[start:], "preasr": ""})
    for file, lines in (("eval_all_metadata.jsonl", rows), ("score_all_clips.jsonl", windows)):
        (folder / file).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of one video, 25 s long."""
    return write_data(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="session")
def plain_environment() -> dict[str, str]:
    """Variables of a process that knows no key, no hub and no git checkout."""
    dropped = ("OPENAI_API_KEY", "OPENAI_BASE_URL", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in dropped}
    return kept | {"GIT_DIR": "/nonexistent", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def demo_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where demo data lie; their videos are made once for all tests of a process."""
    return tmp_path_factory.mktemp("demo-cache")


@dataclass(frozen=True)
class Started:
    """An `evalkit` process and where its output goes."""

    process: multiprocessing.process.BaseProcess
    out: Path
    err: Path

    def wait(self) -> tuple[int, str, str]:
        """Wait for its end; give exit code, stdout and stderr."""
        self.process.join(120)
        code = self.process.exitcode
        assert code is not None, "the process did not end"
        return code, self.out.read_text(encoding="utf-8"), self.err.read_text(encoding="utf-8")


def _be_evalkit(
    words: list[str], folder: Path, environment: dict[str, str], output: list[Path], limit: int
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, path in enumerate(output, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    import torch

    from evalkit.cli.main import main

    torch.set_num_threads(1)
    raise SystemExit(main(words))


@pytest.fixture
def start(plain_environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Starts `evalkit` as a process of its own, forked from one that has imported everything already.

    `file_limit` is the size in bytes at which every file it writes meets a full disk.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "evalkit.run.runner",
            "evalkit.run.finish",
            "evalkit.models.load",
            "evalkit.models.cached",
            "evalkit.models.qwen_vl",
            "evalkit.models.tiny",
            "evalkit_tasks.inf_streams",
            "pytest",
        ]
    )
    begun: list[Started] = []

    def begin(*words: str | Path, file_limit: int = resource.RLIM_INFINITY) -> Started:
        output = [tmp_path / f"process-{len(begun)}.{name}" for name in ("out", "err")]
        rest = ([str(word) for word in words], tmp_path, plain_environment, output, file_limit)
        process = context.Process(target=_be_evalkit, args=rest)
        process.start()
        begun.append(Started(process, *output))
        return begun[-1]

    yield begin
    for started in begun:
        started.process.kill()
        started.process.join()


def _own_entry_points(*, group: str) -> list[EntryPoint]:
    """Return evalkit's own entries: what else is installed beside it is no matter of its tests."""
    return [entry for entry in entry_points(group=group) if entry.dist and entry.dist.name == "evalkit"]


@pytest.fixture
def evalkit(
    plain_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: gives exit code, stdout and stderr."""
    for name in set(os.environ) - set(plain_environment):
        monkeypatch.delenv(name)
    for name, value in plain_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evalkit.registry.entry_points", _own_entry_points)

    def call(*words: str | Path) -> tuple[int, str, str]:
        from evalkit.cli.main import main

        capsys.readouterr()
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give slow tests an hour: the limit is there to end what hangs, and a busy machine does not hang."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(3600))

"""The compressor of docs/adding-a-compressor.md from a package that is built here; what is none is one line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest
import torch

from evalkit.compress import Compressed, CompressorKind, NoState, compressor_kinds, parse_compression
from evalkit.errors import ModelError, UsageError
from evalkit.models.vision import VisionSide
from evalkit.records import CompressorReport
from evalkit.timing import StageClock

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-compressor.md"
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the page's package as pip installed it."""
    page = PAGE.read_text(encoding="utf-8")
    folder = tmp_path_factory.mktemp("package")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (project,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (folder / "longest_compressor.py").write_text(code)
    (folder / "pyproject.toml").write_text(project)
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(folder)], check=True, capture_output=True, timeout=120)
    return target


def test_the_pages_compressor_is_listed_runs_and_proves_its_share(
    evalkit: Call, installed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = ("evalkit", "longest-compressor")

    def entries(*, group: str) -> list[EntryPoint]:
        return [entry for entry in entry_points(group=group) if entry.dist and entry.dist.name in known]

    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setattr("evalkit.registry.entry_points", entries)
    code, out, _ = evalkit("list", "compressors")
    assert code == 0
    assert "The longest feature vectors of a frame" in out
    words = ("--task", "ovobench", "--data", "demo", "--model", "rekv", "--checkpoint", "tiny-llava")
    limit = ("--limit", "1", "--set", "task.tasks=OCR", "--set", "memory.topk=4", "--out", "run")
    code, _, err = evalkit("run", *words, *limit, "--compress", "longest(keep=20)")
    assert code == 0, err
    assert "compression" not in err
    ticks = [json.loads(line) for line in (tmp_path / "run" / "ticks.jsonl").read_text().splitlines()]
    seen = [
        (tick["tokens_in"]["vision"], tick["compressors"][0]["tokens_out"]) for tick in ticks if tick["frames"]
    ]
    assert seen
    assert all(entered == said for entered, said in seen)
    assert any(entered for entered, _ in seen)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["fingerprint"]["model.compress"] == (
        "longest(keep=20,still=0.999)"
    )
    code, _, err = evalkit("run", *words, *limit, "--compress", "longest(keep=0)")
    assert (code, err.count("\n")) == (2, 1)
    assert "keep is 1 or more, not 0" in err


@dataclass(frozen=True)
class Nothing:
    """No settings."""


@dataclass(frozen=True)
class Bare:
    """A setting without a default."""

    keep: int


def kind(**changed: Any) -> CompressorKind:
    given: dict[str, Any] = {"name": "odd", "stage": "tokens", "settings": Nothing, "build": Odd, "summary": "Odd"}
    return CompressorKind(**(given | changed))


class Odd:
    """A compressor whose result the test decides."""

    result: Any = None

    def __init__(self, settings: Nothing) -> None:
        self.settings = settings

    def new_state(self) -> NoState:
        """Return nothing to remember."""
        return NoState()

    def prune(self, features: torch.Tensor, state: NoState) -> Any:
        """Return what was decided."""
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def registered(monkeypatch: pytest.MonkeyPatch, thing: object) -> None:
    monkeypatch.setattr("evalkit.compress.spec.Registry.names", lambda self: ["odd"])
    monkeypatch.setattr("evalkit.compress.spec.Registry.get", lambda self, name: thing)


@pytest.mark.parametrize(
    ("thing", "said"),
    [
        (Odd, "entry point 'odd' of evalkit.compressors gives no CompressorKind"),
        (kind(stage="both"), "compressor 'odd': stage is 'both', not vision or tokens"),
        (kind(settings=dict), "settings is no dataclass"),
        (kind(settings=Bare), "setting 'keep' has no default"),
        (kind(build=None), "build and merges must be functions"),
        (kind(needs=frozenset({"values"})), r"'values' is no side product \(known: attention, keys\)"),
    ],
)
def test_what_is_no_compressor_is_said_when_it_is_named(
    thing: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(monkeypatch, thing)
    with pytest.raises(UsageError, match=said):
        parse_compression("odd")
    assert "pruner" in compressor_kinds()


class NoMethods:
    """Nothing that a session calls."""

    def __init__(self, settings: Nothing) -> None:
        self.settings = settings


class Forgetful(Odd):
    """Its state cannot be saved."""

    def new_state(self) -> Any:
        """Return no state."""
        return object()


def fails(settings: Nothing) -> None:
    raise RuntimeError("no licence")


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (NoMethods, "compressor odd lacks new_state, prune"),
        (Forgetful, "compressor odd lacks snapshot of its state, restore of its state"),
        (fails, "compressor odd: build raised RuntimeError: no licence"),
    ],
)
def test_what_lacks_a_method_is_said_when_the_model_is_made(
    build: Callable[..., Any], said: str, monkeypatch: pytest.MonkeyPatch, tiny: Any
) -> None:
    registered(monkeypatch, kind(build=build))
    with pytest.raises(ModelError, match=said):
        VisionSide(tiny, parse_compression("odd"))


REPORT = CompressorReport(name="odd", tokens_in=6, tokens_out=1)


def rows(*numbers: int) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.long)


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (None, r"prune returned NoneType, no Compressed\(kept, report\)"),
        (Compressed(torch.tensor([0.5]), REPORT), r"its rows are no int64 tensor \(rows,\)"),
        (Compressed(rows(3, 1), REPORT), "its rows are not ascending places of 1 x 6 tokens"),
        (Compressed(rows(6), REPORT), "its rows are not ascending places of 1 x 6 tokens"),
        (Compressed(rows(2, 2), REPORT), "a row stands twice, and no merged features are given"),
        (Compressed(rows(2), REPORT, torch.zeros(2, 64)), r"merged features are \(2, 64\), not \(1, 64\)"),
        (KeyError("weight"), "prune raised KeyError: 'weight'"),
    ],
)
def test_a_result_that_does_not_fit_is_one_line(
    result: Any, said: str, monkeypatch: pytest.MonkeyPatch, tiny: Any, seconds: Callable[..., Any]
) -> None:
    registered(monkeypatch, kind())
    monkeypatch.setattr(Odd, "result", result)
    vision = VisionSide(tiny, parse_compression("odd")).open()
    (chunk,) = seconds(1)
    clock = StageClock(None)
    clock.start()
    with pytest.raises(ModelError, match=f"compressor odd: {said}"):
        vision.encode(vision.pack(chunk.frames), clock)

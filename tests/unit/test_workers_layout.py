"""Who gets what of a run with workers: samples by length, GPUs, cores; what is refused for want of them."""

from __future__ import annotations

import pickle
import socket
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_models import Counter

from evalkit.errors import UsageError
from evalkit.run.options import RunOptions
from evalkit.run.workers import layout
from evalkit.run.workers.channel import Channel
from evalkit.run.workers.layout import gpus_each
from evalkit.run.workers.local import ended_by
from evalkit.run.workers.order import clock_time, length, makespan, shares
from evalkit.run.workers.ray import end_process, ray_executor
from evalkit.run.workers.spread import require_portable
from evalkit.stream import StreamSample


def samples(lengths: list[int]) -> list[StreamSample]:
    return [StreamSample(f"s{n}", Path("a.mp4"), 0, seconds, 2) for n, seconds in enumerate(lengths)]


def options(**more: Any) -> RunOptions:
    return RunOptions(task="inf-streams", model="full", **more)


@given(lengths=st.lists(st.integers(1, 500), max_size=30), workers=st.integers(1, 9))
def test_shares_are_all_samples_once_and_no_worker_waits_for_more_than_one_sample(
    lengths: list[int], workers: int
) -> None:
    found = shares(samples(lengths), workers)
    assert sorted(sample.id for share in found for sample in share) == sorted(s.id for s in samples(lengths))
    busy = [sum(map(length, share)) for share in found]
    assert makespan(lengths, workers) == max(busy)
    assert max(busy) - min(busy) <= max(lengths, default=0)
    assert max(busy) <= sum(lengths) / workers + (1 - 1 / workers) * max(lengths, default=0) + 1e-9


def test_the_longest_come_first_and_durations_are_words() -> None:
    assert [[s.id for s in share] for share in shares(samples([3, 5, 4]), 2)] == [["s1"], ["s2", "s0"]]
    said = [clock_time(seconds) for seconds in (44.6, 100, 3599, 3600, 12000)]
    assert said == ["45 s", "2 min", "1 h 0 min", "1 h 0 min", "3 h 20 min"]


@pytest.mark.parametrize(
    ("asked", "there", "each"),
    [
        ({"workers": 2}, 2, 1),
        ({"workers": 2}, 0, 0),
        ({"workers": 9, "device": "cpu"}, 2, 0),
        ({"workers": 4, "gpus_per_worker": 0.5}, 2, 0.5),
        ({"workers": 9, "gpus_per_worker": 0}, 2, 0),
        ({"workers": 2, "gpus_per_worker": 4}, 8, 4),
    ],
)
def test_each_worker_has_the_gpus_asked_for_or_one_where_there_are_any(
    asked: dict[str, Any], there: int, each: float
) -> None:
    assert gpus_each(options(**asked), there) == each


@pytest.mark.parametrize(
    ("asked", "there", "why"),
    [
        ({"workers": 8}, 2, "8 workers with 1 GPU each, and there are 2 GPUs: take --workers 2 or another"),
        ({"workers": 2}, 1, "2 workers with 1 GPU each, and there is 1 GPU: take --workers 1 or another"),
        ({"workers": 2, "gpus_per_worker": 1}, 0, "1 GPU each, and there is no GPU: leave --gpus-per-worker out"),
        ({"workers": 3, "gpus_per_worker": 0.5}, 1, "0.5 GPUs each, and there is 1 GPU: take --workers 2"),
        ({"workers": 1, "gpus_per_worker": 4}, 2, "1 worker with 4 GPUs, and there are 2 GPUs: take a smaller"),
        ({"workers": 3, "gpus_per_worker": 4}, 8, "and there are 8 GPUs: take --workers 2"),
    ],
)  # fmt: skip
def test_more_gpus_than_there_are_is_one_line(asked: dict[str, Any], there: int, why: str) -> None:
    with pytest.raises(UsageError) as refused:
        gpus_each(options(**asked), there)
    assert why in str(refused.value)


def test_gpus_are_dealt_out_by_the_names_this_process_sees_and_cores_are_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "")
    monkeypatch.setattr(layout.os, "sched_getaffinity", lambda _: range(8))
    plan: Any = SimpleNamespace(options=options(workers=4), entry=None, data_path=Path("data"))
    for each, want in ((1, [("3",), ("5",), ("7",), ("9",)]), (0.5, [("3",), ("3",), ("5",), ("5",)])):
        specs = layout.local_specs(plan, each, ("3", "5", "7", "9"))
        assert [spec.gpus for spec in specs] == want
        assert {spec.threads for spec in specs} == {2}
        assert specs[0].options.workers is None
        assert Path(specs[0].options.data or "").is_absolute()
    assert [spec.gpus for spec in layout.local_specs(plan, 0, ())] == [None] * 4


def test_no_worker_is_started_for_want_of_a_sample() -> None:
    plan: Any = SimpleNamespace(options=options(workers=8), samples=tuple(samples([3, 4])))
    assert layout.starting_workers(plan) == 2
    assert layout.shares_device(plan, 0.5)
    plan.samples = plan.samples[:1]
    assert not layout.shares_device(plan, 0.5)


def test_a_message_cut_in_the_middle_is_no_message_and_holds_nobody_up() -> None:
    mine, theirs = socket.socketpair()
    sender, receiver = Channel(theirs, 5), Channel(mine, 5)
    raw = pickle.dumps(["x" * 50_000, 7])
    theirs.sendall(len(raw).to_bytes(8, "big") + raw[:100])
    assert receiver.receive() == []
    theirs.sendall(raw[100:])
    found: list[Any] = []
    while not found:
        found = receiver.receive()
    assert found == [["x" * 50_000, 7]]
    many = threading.Thread(target=lambda: [sender.send(k) for k in range(2000)])
    many.start()
    got: list[Any] = []
    while len(got) < 2000:
        got += receiver.receive()
    many.join()
    assert got == list(range(2000))
    theirs.sendall((100).to_bytes(8, "big") + b"half")
    sender.close()
    receiver.receive()
    with pytest.raises(EOFError):
        receiver.receive()


def test_who_reads_nothing_more_is_noticed() -> None:
    mine, _theirs = socket.socketpair()
    with pytest.raises(TimeoutError):
        Channel(mine, 0.05).send("x" * 10_000_000)


def test_how_a_process_ended_is_told_in_words() -> None:
    assert ended_by(-9) == "ended by SIGKILL, as the system does too where memory runs out"
    assert ended_by(-11) == "ended by SIGSEGV"
    assert ended_by(3) == "ended with exit code 3"


def test_a_model_that_cannot_be_sent_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    class Here(Counter):
        """Not at the top of a module."""

    plan: Any = SimpleNamespace(entry=Here, model=SimpleNamespace(name="here"))
    with pytest.raises(UsageError, match=r"model here cannot be given to workers .*: let it be a class"):
        require_portable(plan)
    cell = type("Cell", (), {"__module__": "__main__"})
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    vars(sys.modules["__main__"])["Cell"] = cell
    plan.entry = SimpleNamespace(source=cell)
    with pytest.raises(UsageError, match=r"\(Cell stands in no file\): let it be a class"):
        require_portable(plan)


def a_ray(monkeypatch: pytest.MonkeyPatch, **more: Any) -> list[str]:
    """Put a module in Ray's place; return what it is asked."""
    asked: list[str] = []
    module = ModuleType("ray")
    vars(module).update({"shutdown": lambda: asked.append("shutdown"), "init": lambda **_: None} | more)
    monkeypatch.setitem(sys.modules, "ray", module)
    return asked


def ray_plan(**more: Any) -> Any:
    return SimpleNamespace(options=options(workers=4, engine="ray", **more), entry=None, data_path=Path("data"))


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"needs Ray: pip install 'evalkit\[ray\]', wherever a worker runs"):
        ray_executor(ray_plan())


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (
            RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0\n    Python: 3.10.1"),
            "the Ray cluster is of another version than this process: Version mismatch: The cluster was started "
            "with: Ray: 2.9.0 Python: 3.10.1: install the same Ray and Python everywhere",
        ),
        (
            ConnectionError("Failed to connect to GCS\nat 10.0.0.1:6379"),
            "no Ray at auto: Failed to connect",
        ),
    ],
)
def test_a_cluster_that_cannot_be_joined_is_one_line(
    error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def init(**_: Any) -> None:
        raise error

    a_ray(monkeypatch, init=init)
    with pytest.raises(UsageError) as refused:
        ray_executor(ray_plan(ray_address="auto"))
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:1", "no Ray at 127.0.0.1:1: [Errno 111] Connection refused"),
        ("ray://head:10001", "--ray-address ray://head:10001 is of Ray's client, which streams nothing"),
    ],
)
def test_an_address_without_a_cluster_is_one_line_at_once(
    address: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_ray(monkeypatch, init=lambda **_: pytest.fail("Ray was asked"))
    with pytest.raises(UsageError) as refused:
        ray_executor(ray_plan(ray_address=address))
    assert str(refused.value).startswith(why)


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ({"CPU": 8.0, "GPU": 2.0}, "4 workers with 1 GPU each, and there are 2 GPUs"),
        ({"CPU": 2.0}, "4 workers want a core each, and the Ray cluster has 2 in all"),
    ],
)
def test_a_cluster_that_is_too_small_is_left_in_one_line(
    there: dict[str, float], why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = a_ray(monkeypatch, cluster_resources=lambda: there)
    with pytest.raises(UsageError, match=why):
        ray_executor(ray_plan())
    assert asked == ["shutdown"]


def test_a_process_is_ended_only_if_it_is_the_one_that_was_meant() -> None:
    import subprocess

    import psutil

    process = subprocess.Popen(["sleep", "60"])
    born = psutil.Process(process.pid).create_time()
    assert not end_process(process.pid, born - 100)
    assert process.poll() is None
    assert end_process(process.pid, born)
    assert process.wait(10) == -9
    assert not end_process(process.pid, born)

"""Workers in a real Ray cluster of this machine: the traps that were met there lose and double nothing.

Needs Ray: `make test-ray`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import write_data
from test_workers import without_times
from worker_models import Moody, Steady

import evalkit as package
from evalkit.run.workers import driver

ray = pytest.importorskip("ray", reason="Ray is not installed (make test-ray)")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Actors import the model by its name."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))


@contextmanager
def two_nodes() -> Iterator[str]:
    """Start a cluster of two nodes with a core each; give its address."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    try:
        cluster.add_node(**node)
        yield cluster.address
    finally:
        cluster.shutdown()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("where", ["here", "joined"])
def test_actors_that_die_and_hang_leave_what_one_process_leaves(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as cluster:
        address = None
        if where == "joined":  # the driver takes its workers for those of another machine: states go by wire
            monkeypatch.setattr(driver.socket, "gethostname", lambda: "elsewhere")
            address = cluster.enter_context(two_nodes())
        run_moody(tmp_path, address)


def run_moody(tmp_path: Path, address: str | None) -> None:
    """Run a model that dies and hangs, and hold what it leaves against one process."""
    names = ["plain", "killed", "hung", "poison"]
    data = write_data(tmp_path / "set", videos=names, seconds=14, start=5)
    moods = tmp_path / "moods"
    moods.mkdir()
    same: dict[str, Any] = {"task": "inf-streams", "data": str(data), "checkpoint_seconds": 2}
    package.run(model=Moody, **same, settings={"task.start_seconds": 5}, out=str(tmp_path / "alone"))
    spread = package.run(
        model=Moody,
        **same,
        settings={"task.start_seconds": 5, "model.folder": str(moods)},
        out=str(tmp_path / "spread"),
        workers=2,
        engine="ray",
        ray_address=address,
        stall_seconds=8.0,
    )
    poisoned = next(name for name in spread.manifest.planned if "poison" in name)
    for ours, theirs in zip(without_times(tmp_path / "alone"), without_times(tmp_path / "spread"), strict=True):
        assert [row for row in ours if row["sample"] != poisoned] == [r for r in theirs if r["sample"] != poisoned]
    (failure,) = spread.manifest.failed
    assert (failure.sample, failure.error) == (poisoned, "WorkerDied")
    deaths = [line for line in spread.manifest.warnings if "died" in line]
    # An actor that began again with an empty memory would say fewer frames: it goes on at a checkpoint instead.
    places = {name: [line.rsplit(" ", 1)[1] for line in deaths if f": {name} " in line] for name in names}
    assert places == {"plain": [], "killed": ["6"], "hung": ["4"], "poison": ["2"]}
    assert sum("gave no sign of life" in line for line in deaths) == 1
    assert len({path.name.split("-")[1] for path in moods.iterdir()}) == 4
    # Ray forgets an actor that is stopped and leaves its process behind.
    left = [int(path.name.split("-")[1]) for path in moods.iterdir()]
    assert not [pid for pid in left if psutil.pid_exists(pid)]
    assert not ray.is_initialized()


DRIVER = """
import sys
import evalkit
from worker_models import Steady

data, out = sys.argv[1:]
evalkit.run(model=Steady, task="inf-streams", data=data, settings={"task.start_seconds": 5}, out=out,
            checkpoint_seconds=2, workers=2, engine="ray")
"""


@pytest.mark.timeout(600)
def test_actors_end_with_their_driver_and_the_run_goes_on_without_ray(tmp_path: Path) -> None:
    data = write_data(tmp_path / "set", videos=["one", "two", "three"], seconds=30, start=5)
    same: dict[str, Any] = {"task": "inf-streams", "data": str(data), "settings": {"task.start_seconds": 5}}
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, data, tmp_path / "spread"])
    answers, last = tmp_path / "spread" / "answers.jsonl", time.monotonic() + 200
    while not (answers.exists() and answers.read_text().count("\n") > 8):
        assert driver.poll() is None
        assert time.monotonic() < last, "no record came"
        time.sleep(0.1)
    actors = [one for one in psutil.Process(driver.pid).children(recursive=True) if "ray::_Actor" in one.name()]
    assert len(actors) == 2
    driver.kill()
    assert driver.wait(30) == -9
    assert len(psutil.wait_procs(actors, timeout=60)[0]) == 2
    package.run(model=Steady, **same, out=str(tmp_path / "spread"), resume=True, engine="ray", workers=0)
    package.run(model=Steady, **same, out=str(tmp_path / "alone"))
    assert without_times(tmp_path / "spread") == without_times(tmp_path / "alone")

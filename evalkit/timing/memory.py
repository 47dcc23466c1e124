"""Memory, second by second: this process's peak, and whatever is sampled on a thread of its own (no torch)."""

from __future__ import annotations

__all__ = ["MemorySampler", "process_peak_mib"]

import resource
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"


def process_peak_mib() -> float:
    """Return the peak resident memory since the last call, MiB.

    Linux keeps a high-water mark that can be reset (``proc(5)``, ``clear_refs``). Where it cannot be, the peak is
    that of the process's whole life.
    """
    try:
        status = _STATUS.read_text(encoding="ascii", errors="replace")
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        return int(peak.split()[1]) / 1024
    except (OSError, StopIteration):
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest / 2**20 if sys.platform == "darwin" else largest / 1024


class MemorySampler:
    """Reads memory on a thread of its own, so that what rises and falls within a second is seen.

    A reader that fails is asked no more; what it read stays.

    Args:
        readers: What is read, by name: each returns MiB.
        every: Seconds between readings.
        keeps: Seconds that a reading is kept: a minute, the warm-up, so that keeping is no growth.
        now: Clock, seconds.
    """

    def __init__(
        self,
        readers: Mapping[str, Callable[[], float]],
        every: float = 0.05,
        keeps: float = 60.0,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._readers = dict(readers)
        self._every, self._now = every, now
        self._read: deque[tuple[float, dict[str, float]]] = deque(maxlen=max(1, round(keeps / every)))
        self._held = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def sample(self) -> None:
        """Read everything once."""
        found: dict[str, float] = {}
        for name, read in list(self._readers.items()):
            try:
                found[name] = read()
            except Exception:
                del self._readers[name]
        with self._held:
            self._read.append((self._now(), found))

    def highest(self, seconds: float) -> dict[str, float]:
        """Return the highest reading of the last so many seconds, by name, MiB; it reads once more itself."""
        self.sample()
        since = self._now() - seconds
        found: dict[str, float] = {}
        with self._held:
            for at, values in reversed(self._read):
                if at < since:
                    break
                for name, value in values.items():
                    found[name] = max(found.get(name, 0.0), value)
        return found

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self.sample()

    def __enter__(self) -> Self:
        """Start reading."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join(timeout=5)

"""Peak memory of this process, second by second (no torch)."""

from __future__ import annotations

__all__ = ["process_peak_mib"]

import resource
import sys
from pathlib import Path

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

"""Compute a figure of one's own from the records of a run.

python examples/read_a_run.py runs/demo/.../streamingvlm
"""

from __future__ import annotations

import sys
from pathlib import Path

from evalkit.records import read_run
from evalkit.timing import percentiles


def main() -> None:
    """Print how the time of a second depends on what was said in it."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: python {sys.argv[0]} RUN, a run folder such as runs/demo/.../streamingvlm")
    run = read_run(Path(sys.argv[1]))
    silent = percentiles(tick.stages.total for tick in run.ticks if tick.generated <= 1)
    spoken = percentiles(tick.stages.total for tick in run.ticks if tick.generated > 1)
    for name, times in (("silent", silent), ("spoken", spoken)):
        if times is not None:
            print(f"{name}: {times.n} seconds, median {1000 * times.p50:.0f} ms, p95 {1000 * times.p95:.0f} ms")


if __name__ == "__main__":
    main()

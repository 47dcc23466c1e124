"""The hardware dial: misses and accuracy of recorded runs on machines of other speeds, as curves and as a plot."""

from __future__ import annotations

__all__ = ["SPEEDS", "Dial", "dial_of", "dial_plot"]

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evalkit.report.emission import accuracies
from evalkit.report.plots import Plot
from evalkit.report.replay import Replay, at_speed
from evalkit.report.runs import Run
from evalkit.report.tables import Cell, Column, Table

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Speeds of the machine over that of the recording."""

Shares = tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Dial:
    """One run over the speeds of `SPEEDS`; shares in percent, ``None`` where there is none.

    Args:
        name: What tables call the run.
        missed: Late or dropped seconds after the warm-up.
        by_deadline: Main score with late answers as none.
        at_emission: Answers right when they were out, of the questions whose gold then the data tell.
    """

    name: str
    missed: Shares
    by_deadline: Shares
    at_emission: Shares

    @property
    def scored(self) -> bool:
        """Whether it has an accuracy at any speed."""
        return any(value is not None for value in (*self.by_deadline, *self.at_emission))


def dial_of(run: Run, replay: Replay) -> Dial | None:
    """Return a run over the speeds, or ``None`` where it is not behind the clock.

    Args:
        run: The run.
        replay: It behind the clock, on any machine.
    """
    if not replay.streams:
        return None
    asked = any(one.kind != "narration" for one in run.records.answers)
    missed, capped, emission = [], [], []
    for speed in SPEEDS:
        dialled = at_speed(replay, speed)
        counted = dialled.missed[~dialled.warm]
        missed.append(100 * float(np.mean(counted)) if counted.size else None)
        found = accuracies(run, dialled) if asked else None
        capped.append(found.capped.value if found and found.capped else None)
        told = found.emission if found else None
        emission.append(100 * told.right / told.known if told else None)
    return Dial(replay.name, tuple(missed), tuple(capped), tuple(emission))


def dial_plot(runs: Sequence[Run], replays: Sequence[Replay]) -> Plot | None:
    """Return accuracy and misses against the speed of the machine, or ``None`` where no run is behind the clock.

    Args:
        runs: The runs.
        replays: Each of them behind the same clock, in the same order.
    """
    from evalkit.report import figures

    found = [dial for run, replay in zip(runs, replays, strict=True) if (dial := dial_of(run, replay))]
    if not found:
        return None
    scored = any(dial.scored for dial in found)
    figure, axes = figures.new_figure(3.4 if scored else 2.1, 2 if scored else 1)
    panels = (
        {"Accuracy (%)": [("by_deadline", "by the deadline"), ("at_emission", "at emission")]} if scored else {}
    )
    panels |= {"Seconds missed (%)": [("missed", "")]}
    for axis, (label, parts) in zip(axes, panels.items(), strict=True):
        lines = [
            (f"{dial.name}, {words}" if words else dial.name, place, second, getattr(dial, part))
            for place, dial in enumerate(found)
            for second, (part, words) in enumerate(parts)
            if any(value is not None for value in getattr(dial, part))
        ]
        figures.dial(axis, SPEEDS, lines, label=label)
    axes[-1].set_xlabel("Speed of the machine (1: as recorded)")
    figures.legend(axes[0])
    settings = replays[0].settings
    counts = ", ".join(f"{replay.name}: {replay.missed.size}" for replay in replays if replay.streams)
    caption = (
        "What the speed of the machine makes of the same run; the dotted line is the machine it ran on. "
        f"Missed: late or dropped after the first {settings.warm_up:g} s, deadline {replays[0].deadline:g} s, "
        f"overload rule {settings.overload}. Seconds, n: {counts}."
    )
    rows: list[tuple[Cell, ...]] = [
        (dial.name, speed, dial.missed[place], dial.by_deadline[place], dial.at_emission[place])
        for dial in found
        for place, speed in enumerate(SPEEDS)
    ]
    columns = (
        Column("Model", text=True),
        Column("Speed", digits=2),
        *(Column(name, "%", digits=4) for name in ("Missed", "Accuracy by deadline", "Accuracy at emission")),
    )
    return Plot(figure, caption, Table(caption, columns, tuple(rows)))

"""What the published version of OVO-Bench holds: sub-tasks, ids and counts; predictions are checked against it."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "BACKWARD",
    "FORWARD",
    "LABELS",
    "NOMINAL",
    "REALTIME",
    "TASKS",
    "category_of",
    "published_ids",
    "task_of",
]

BACKWARD = ("EPM", "ASI", "HLD")
REALTIME = ("OCR", "ACR", "ATR", "STU", "FPD", "OJR")
FORWARD = ("REC", "SSR", "CRR")
TASKS = BACKWARD + REALTIME + FORWARD

NOMINAL: Mapping[str, int] = {
    **{"EPM": 297, "ASI": 148, "HLD": 186},
    **{"OCR": 149, "ACR": 109, "ATR": 116, "STU": 178, "FPD": 101, "OJR": 184},
    **{"REC": 698, "SSR": 629, "CRR": 240},
}
"""Scored queries by sub-task in ovo_bench_new.json (counted): 1,468 choices and 1,567 forward probes."""

_FIRST_IDS = {
    **{"EPM": 0, "HLD": 297, "ASI": 483, "STU": 631, "OJR": 809, "ATR": 993},
    **{"FPD": 1109, "ACR": 1210, "OCR": 1319, "CRR": 1468, "SSR": 1516, "REC": 1558},
}
"""Record ids of a sub-task are consecutive, from this one."""

_PROBES: Mapping[str, tuple[int, ...]] = {
    "CRR": (5,) * 48,
    "SSR": (
        *(12, 17, 23, 13, 13, 13, 13, 18, 13, 13, 13, 13, 13, 18, 12, 12, 18, 12, 18, 13, 17),
        *(12, 17, 12, 13, 18, 13, 18, 13, 13, 13, 28, 17, 12, 13, 13, 18, 18, 13, 18, 17, 13),
    ),
    "REC": (
        *(3, 4, 2, 5, 5, 4, 6, 7, 7, 3, 5, 3, 7, 5, 4, 4, 5, 8, 6, 7, 5, 5, 3, 10, 4, 5, 4, 4, 6, 5, 4),
        *(6, 6, 5, 7, 7, 4, 4, 4, 6, 13, 33, 10, 11, 19, 16, 12, 4, 13, 9, 7, 3, 19, 8, 7, 4, 11, 7, 11),
        *(14, 20, 3, 10, 11, 10, 4, 28, 10, 21, 11, 7, 8, 25, 3, 19, 8, 7, 16, 14, 15, 6, 7),
    ),
}
"""Probes of each forward record, in order of id (counted)."""


def category_of(task: str) -> str:
    """Return ``backward``, ``realtime`` or ``forward``."""
    return "backward" if task in BACKWARD else "realtime" if task in REALTIME else "forward"


def task_of(record: int) -> str | None:
    """Return the sub-task of a published record id, or ``None`` where there is no such id."""
    for task, first in _FIRST_IDS.items():
        if first <= record < first + len(_PROBES.get(task, range(NOMINAL[task]))):
            return task
    return None


def published_ids() -> dict[str, str]:
    """Return every published query id with its sub-task (``{record}``, or ``{record}_{probe}``)."""
    ids: dict[str, str] = {}
    for task, first in _FIRST_IDS.items():
        if task in _PROBES:
            ids.update({f"{first + i}_{j}": task for i, n in enumerate(_PROBES[task]) for j in range(n)})
        else:
            ids.update({str(first + i): task for i in range(NOMINAL[task])})
    return ids


LABELS = {
    **{"EPM": "Episodic memory", "ASI": "Action sequence identification", "HLD": "Hallucination detection"},
    **{"OCR": "Optical character recognition", "ACR": "Action recognition", "ATR": "Attribute recognition"},
    **{"STU": "Spatial understanding", "FPD": "Future prediction", "OJR": "Object recognition"},
    **{"REC": "Repetition event count", "SSR": "Sequential steps recognition", "CRR": "Clues reveal responding"},
    **{"backward": "Backward tracing", "realtime": "Real-time visual perception"},
    "forward": "Forward active responding",
    "ovo_avg_brf": "Mean of backward, real-time and forward",
    "ovo_avg_br": "Mean of backward and real-time",
    "ovo_micro_3035": "Mean over the queries",
}
"""Names of sub-tasks and groups (paper, section 3.1)."""

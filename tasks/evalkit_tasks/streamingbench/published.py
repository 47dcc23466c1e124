"""What the published versions of StreamingBench hold: sub-tasks by name and abbreviation, groups and counts."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ABBREVIATIONS", "CSV_COUNTS", "GROUPS", "JSON_COUNTS", "LABELS", "TASKS", "group_of", "version_of"]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "real": ("OP", "CR", "CS", "ATP", "EU", "TR", "PR", "SU", "ACP", "CT"),
    "omni": ("ER", "SCU", "SD", "MA"),
    "contextual": ("ACU", "MCU", "SQA", "PO"),
}
TASKS = tuple(task for tasks in GROUPS.values() for task in tasks)

ABBREVIATIONS: Mapping[str, str] = {
    **{"Object Recognition": "OP", "Object Perception": "OP"},
    **{"Attribute Recognition": "ATP", "Attribute Perception": "ATP"},
    **{"Action Recognition": "ACP", "Action Perception": "ACP"},
    **{"Causal Reasoning": "CR", "Clips Summarize": "CS", "Event Understanding": "EU"},
    **{"Text-Rich Understanding": "TR", "Prospective Reasoning": "PR", "Spatial Understanding": "SU"},
    **{"Counting": "CT", "Emotion Recognition": "ER", "Scene Understanding": "SCU"},
    **{"Source Discrimination": "SD", "Multimodal Alignment": "MA"},
    **{"Anomaly Context Understanding": "ACU", "Misleading Context Understanding": "MCU"},
    **{"Sequential Question Answering": "SQA", "Proactive Output": "PO", "Active Output": "PO"},
}
"""``task_type`` of the JSON and CSV files; a few CSV rows say ``Active Output``."""

LABELS: Mapping[str, str] = {
    # The paper's names come last in ABBREVIATIONS where a sub-task has two.
    **{short: name for name, short in ABBREVIATIONS.items() if name != "Active Output"},
    **{"real": "Real-time visual understanding", "omni": "Omni-source understanding"},
    "contextual": "Contextual understanding",
    "streamingbench_overall_4301": "Overall, by the published counts",
    "real_macro": "Real-time, mean of sub-tasks",
    "omni_macro": "Omni-source, mean of sub-tasks",
}
"""Names of sub-tasks and groups."""

_OTHERS = {
    **{"ER": 250, "SCU": 250, "SD": 250, "MA": 250},
    **{"ACU": 250, "MCU": 250, "SQA": 250, "PO": 51},
}
JSON_COUNTS: Mapping[str, int] = {
    **{
        "OP": 367,
        "CR": 128,
        "CS": 317,
        "ATP": 306,
        "EU": 161,
        "TR": 321,
        "PR": 108,
        "SU": 246,
        "ACP": 353,
        "CT": 193,
    },
    **_OTHERS,
}
"""Questions of the repository's JSON files (counted), with which the published tables were made."""

CSV_COUNTS: Mapping[str, int] = {
    **{
        "OP": 369,
        "CR": 128,
        "CS": 317,
        "ATP": 312,
        "EU": 159,
        "TR": 321,
        "PR": 108,
        "SU": 246,
        "ACP": 352,
        "CT": 188,
    },
    **_OTHERS,
    "PO": 50,
}
"""Questions of the Hugging Face CSV files."""

_PROACTIVE = {50: "Proactive_Output_50.csv", 51: "questions_proactive_50.json", 250: "the full proactive file"}


def group_of(task: str) -> str:
    """Return ``real``, ``omni`` or ``contextual``."""
    return next(group for group, tasks in GROUPS.items() if task in tasks)


def version_of(counts: Mapping[str, int]) -> str:
    """Name the published version that counts by sub-task belong to, and what of it is there.

    Args:
        counts: Questions by sub-task.
    """
    choices = {task: n for task, n in counts.items() if task != "PO"}
    real = {task: n for task, n in choices.items() if task in GROUPS["real"]}
    fits = [
        name
        for name, nominal in (("JSON (GitHub)", JSON_COUNTS), ("CSV (Hugging Face)", CSV_COUNTS))
        if all(nominal[task] == n for task, n in choices.items())
    ]
    if counts.get("PO", 50) not in _PROACTIVE or not fits or not counts:
        return f"not a published version: {sum(counts.values()):,} questions"
    named = fits[0] if real and len(fits) == 1 else "JSON (GitHub) or CSV (Hugging Face), alike in these sub-tasks"
    proactive = f", proactive questions of {_PROACTIVE[counts['PO']]}" if "PO" in counts else ""
    return f"{named}: {sum(counts.values()):,} questions{proactive}"

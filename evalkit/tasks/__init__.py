"""The contract between benchmarks and the engine, and the registry that finds them (no torch)."""

from evalkit.tasks.contract import (
    CheckReport,
    NarrationTask,
    Pairing,
    Prediction,
    Problem,
    Scores,
    ScoreSheet,
    SubmissionTask,
    Task,
    TaskData,
    TaskSettings,
)

__all__ = [
    "CheckReport",
    "NarrationTask",
    "Pairing",
    "Prediction",
    "Problem",
    "ScoreSheet",
    "Scores",
    "SubmissionTask",
    "Task",
    "TaskData",
    "TaskSettings",
]

"""The contract between benchmarks and the engine, and the registry that finds them (no torch)."""

from evalkit.tasks.contract import (
    WINDOW_FRAMES,
    CheckReport,
    Fact,
    FactTask,
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
    UtteranceTask,
    WindowedTask,
)
from evalkit.tasks.made import DemoSize, folder_settings, write_folder_settings

__all__ = [
    "WINDOW_FRAMES",
    "CheckReport",
    "DemoSize",
    "Fact",
    "FactTask",
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
    "UtteranceTask",
    "WindowedTask",
    "folder_settings",
    "write_folder_settings",
]

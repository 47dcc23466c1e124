"""What a run leaves on disk: schemas, JSONL files and the run folder (no torch)."""

from evalkit.records.collector import collector_paused
from evalkit.records.folder import RunFolder, RunRecords, read_run, write_atomic
from evalkit.records.jsonl import JsonlWriter, read_jsonl
from evalkit.records.lock import hold_folder
from evalkit.records.schema import (
    SCHEMA_VERSION,
    AnswerRecord,
    CallRecord,
    CompressorReport,
    FailedSample,
    FallbackRecord,
    Metric,
    MetricsFile,
    RunManifest,
    StageTimes,
    TickRecord,
    VerdictRecord,
)

__all__ = [
    "SCHEMA_VERSION",
    "AnswerRecord",
    "CallRecord",
    "CompressorReport",
    "FailedSample",
    "FallbackRecord",
    "JsonlWriter",
    "Metric",
    "MetricsFile",
    "RunFolder",
    "RunManifest",
    "RunRecords",
    "StageTimes",
    "TickRecord",
    "VerdictRecord",
    "collector_paused",
    "hold_folder",
    "read_jsonl",
    "read_run",
    "write_atomic",
]

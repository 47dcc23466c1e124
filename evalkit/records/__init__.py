"""What a run leaves on disk: schemas, JSONL files and the run folder (no torch)."""

from evalkit.records.schema import (
    SCHEMA_VERSION,
    AnswerRecord,
    CompressorReport,
    FailedSample,
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
    "CompressorReport",
    "FailedSample",
    "Metric",
    "MetricsFile",
    "RunManifest",
    "StageTimes",
    "TickRecord",
    "VerdictRecord",
]

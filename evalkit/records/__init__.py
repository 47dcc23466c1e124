"""What a run leaves on disk: schemas, JSONL files and the run folder (no torch)."""

from evalkit.records.collector import collector_paused
from evalkit.records.folder import RunFolder, RunRecords, read_run, write_atomic
from evalkit.records.jsonl import JsonlWriter, read_jsonl, stream_jsonl
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
from evalkit.records.ticks import STAGE_COLUMNS, TickTable, TokenCounts, read_ticks

__all__ = [
    "SCHEMA_VERSION",
    "STAGE_COLUMNS",
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
    "TickTable",
    "TokenCounts",
    "VerdictRecord",
    "collector_paused",
    "hold_folder",
    "read_jsonl",
    "read_run",
    "read_ticks",
    "stream_jsonl",
    "write_atomic",
]

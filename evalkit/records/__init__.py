"""What a run leaves on disk: schemas, JSONL files and the run folder (no torch)."""

from evalkit.records.collector import collector_paused
from evalkit.records.completeness import missing_samples, missing_text, refuse_doubled, short_of
from evalkit.records.folder import RunFolder, RunRecords, read_bare_ticks, read_run, write_atomic
from evalkit.records.jsonl import JsonlWriter, read_jsonl, stream_jsonl
from evalkit.records.lock import hold_folder
from evalkit.records.reading import (
    NotJsonError,
    decode_json,
    has_lone_surrogate,
    read_plain,
    real_number,
    require_plain,
)
from evalkit.records.repeats import run_folders
from evalkit.records.schema import (
    SCHEMA_VERSION,
    AnswerRecord,
    CallRecord,
    CompressorReport,
    FailedSample,
    FallbackRecord,
    GradeRecord,
    Metric,
    MetricsFile,
    PacedTick,
    RecordCounts,
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
    "GradeRecord",
    "JsonlWriter",
    "Metric",
    "MetricsFile",
    "NotJsonError",
    "PacedTick",
    "RecordCounts",
    "RunFolder",
    "RunManifest",
    "RunRecords",
    "StageTimes",
    "TickRecord",
    "TickTable",
    "TokenCounts",
    "VerdictRecord",
    "collector_paused",
    "decode_json",
    "has_lone_surrogate",
    "hold_folder",
    "missing_samples",
    "missing_text",
    "read_bare_ticks",
    "read_jsonl",
    "read_plain",
    "read_run",
    "read_ticks",
    "real_number",
    "refuse_doubled",
    "require_plain",
    "run_folders",
    "short_of",
    "stream_jsonl",
    "write_atomic",
]

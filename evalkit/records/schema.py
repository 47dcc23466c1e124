"""The records a run leaves on disk, as versioned pydantic models; every number is computed from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "SCHEMA_VERSION",
    "AnswerRecord",
    "CallRecord",
    "CompressorReport",
    "FailedSample",
    "FallbackRecord",
    "GradeRecord",
    "HeldTokens",
    "Latency",
    "Metric",
    "MetricsFile",
    "PacedTick",
    "RecordCounts",
    "RetrievedBlocks",
    "RunManifest",
    "StageTimes",
    "TickRecord",
    "VerdictRecord",
]

SCHEMA_VERSION = 1

Whole = Annotated[int, Field(ge=0, lt=2**53)]
"""A count: tokens, frames, seconds. Larger ones are no count of anything that ran."""
MediaSeconds = Annotated[float, Field(gt=-1e9, lt=1e9, allow_inf_nan=False)]
"""A time in a video, as far as thirty years from its beginning."""


WallSeconds = Annotated[float, Field(allow_inf_nan=False)]
"""A time on a clock."""

Latency = Literal["alone", "loaded", "batched", "turns"]
"""What seconds were timed beside: nothing, samples on threads, streams of a batch, or models that took turns."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StageTimes(_Record):
    """Wall seconds of one stream second, by stage; the stages sum to ``total``."""

    decode: float = 0.0
    preprocess: float = 0.0
    vision_encode: float = 0.0
    compress: float = 0.0
    cache: float = 0.0
    retrieve: float = 0.0
    prefill: float = 0.0
    generate: float = 0.0
    other: float = 0.0
    total: float = 0.0


class CompressorReport(_Record):
    """What one compressor did in one second.

    ``reused_share`` is the share of token computations taken from the reference frame (cacher; ``None`` for a
    pruner). ``claimed_share`` is what the settings promise for this second, of reuse or, for a pruner, of tokens
    kept; ``None`` where it cannot hold (``note`` then says why).
    """

    name: str
    tokens_in: int
    tokens_out: int
    reused_share: float | None = None
    claimed_share: float | None = None
    reference_frames: int = 0
    note: str = ""


class PacedTick(_Record):
    """When a second of a paced run came and was worked on; wall seconds since its stream began.

    ``start``, ``end`` and ``lag`` (``end - arrival``) are ``None`` where the overload rule dropped it. ``backlog``
    counts the seconds that had come and not left when it came: itself too, unless it was dropped at once.
    """

    arrival: WallSeconds
    start: WallSeconds | None = None
    first_token: WallSeconds | None = None
    end: WallSeconds | None = None
    lag: WallSeconds | None = None
    backlog: int = 1

    @property
    def dropped(self) -> bool:
        """Whether it was never worked on."""
        return self.end is None


class HeldTokens(_Record):
    """What a memory that sees tensors holds after a second, tokens of one layer.

    ``active`` are the stream's tokens that the next one attends to, of which the settings promise at most
    ``budget``. ``stored`` are kept outside of them, for questions to retrieve; ``stored_mib`` is over all layers.
    """

    budget: Whole
    active: Whole
    stored: Whole = 0
    stored_mib: float = 0.0


class RetrievedBlocks(_Record):
    """What a question retrieved: ``tokens`` of each layer, from ``blocks`` blocks of at most ``most``.

    ``stored`` is how many blocks there were. ``seconds`` are pairs of a stream second and the number of layers
    that chose a frame of it, summed over its frames.
    """

    most: Whole
    stored: Whole
    blocks: tuple[Whole, ...]
    tokens: tuple[Whole, ...]
    seconds: tuple[tuple[Whole, Whole], ...] = ()


class TickRecord(_Record):
    """One second of stream (``ticks.jsonl``). Token counts are by span kind; memory in MiB.

    ``token_times`` are wall seconds from the start of work on the second to each generated token, microseconds
    kept; empty where the model does not tell. ``memory`` has the highest reading within the
    second, MiB: ``rss`` of the process, on CUDA ``allocated``, ``reserved`` and ``device`` (all in use on it); and
    ``stored``, where a memory keeps keys and values outside of its window. ``held`` says how many tokens that is.
    ``pace`` is there where frames arrived on the wall clock.
    """

    v: int = SCHEMA_VERSION
    sample: str
    second: Whole
    start: MediaSeconds
    end: MediaSeconds
    frames: Whole = 0
    stages: StageTimes
    tokens_in: dict[str, Whole] = Field(default_factory=dict)
    kept: dict[str, Whole] = Field(default_factory=dict)
    evicted: dict[str, Whole] = Field(default_factory=dict)
    generated: Whole = 0
    cache_tokens: Whole = 0
    peak_mib: float = 0.0
    rss_mib: float = 0.0
    first_token: float | None = None
    # A list: CPython keeps thousands of freed tuples of twenty, which would look like a leak.
    token_times: list[float] = Field(default_factory=list)
    compressors: tuple[CompressorReport, ...] = ()
    memory: dict[str, float] = Field(default_factory=dict)
    held: HeldTokens | None = None
    pace: PacedTick | None = None


class CallRecord(_Record):
    """What a server was asked for one reply. Nothing here is part of the reply's latency.

    ``requests`` counts what was sent, the one that succeeded included; ``retry_seconds`` is what the others and
    the waiting between them took, ``queue_seconds`` the waiting for a turn among the requests under way. Token
    counts are the server's; ``None`` where it gives none. ``finish`` is its reason for ending the reply
    (``length``: cut off by the token limit). ``token_ids`` are the reply's own, where the server gives them.
    ``cost`` is in the currency of the prices given.
    """

    requests: int = 1
    retry_seconds: float = 0.0
    queue_seconds: float = 0.0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    finish: str | None = None
    served_by: str = ""
    cost: float | None = None
    token_ids: tuple[int, ...] = ()
    note: str = ""


class AnswerRecord(_Record):
    """One reply (``answers.jsonl``): an answered query, or what was said in one second of narration.

    ``kind`` is ``narration`` or the query's kind. ``prompt`` is the text that was put to the model. ``parsed`` is
    the parser's value; where there is none,
    ``unparsed`` names the reason. ``status`` is ``failed`` where the sample broke before the reply, with
    the reason in ``error``, and ``dropped`` for a second that the overload rule of a paced run never let the model
    see; both count in every denominator. ``call`` says what a server was asked.
    ``emitted`` is when it was out in a paced run: wall seconds since its stream began. ``token_times`` are wall
    seconds from the question to each token of its answer, and ``stages`` what it took by stage, without zeros;
    those of narrated seconds are with their ticks. ``retrieved`` is there where the model keeps blocks.
    """

    v: int = SCHEMA_VERSION
    sample: str
    query: str
    kind: str
    at: MediaSeconds
    start: MediaSeconds
    end: MediaSeconds
    text: str = ""
    status: Literal["ok", "failed", "dropped"] = "ok"
    error: str | None = None
    parsed: str | None = None
    rule: str | None = None
    unparsed: str | None = None
    gold: str | None = None
    choices: tuple[str, ...] = ()
    prompt: str | None = None
    cluster: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    tokens: int = 0
    seconds: float = 0.0
    first_token: float | None = None
    call: CallRecord | None = None
    emitted: WallSeconds | None = None
    token_times: list[float] = Field(default_factory=list)
    stages: dict[str, float] = Field(default_factory=dict)
    retrieved: RetrievedBlocks | None = None


class VerdictRecord(_Record):
    """One judgement of one pair in one order (``verdicts.jsonl``).

    ``order`` is ``ab`` where the model under test stood first. ``vote`` is the slot the judge chose;
    ``winner`` the side. ``key`` identifies judge, prompt, texts, order and settings; ``baseline_id`` the run or
    file of the other side, which shares its name with others.
    """

    v: int = SCHEMA_VERSION
    key: str
    pair: str
    cluster: str
    start: MediaSeconds
    end: MediaSeconds
    order: Literal["ab", "ba"]
    vote: Literal["first", "second", "tie", "invalid"]
    winner: Literal["test", "baseline", "tie", "invalid"]
    rule: str
    reply: str
    attempts: int
    judge: str
    model_name: str
    baseline_name: str
    baseline_id: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    cached: bool = False
    error: str | None = None


class FallbackRecord(_Record):
    """What a chat model read in one reply that the strict parser could not (``fallback.jsonl``).

    ``said`` is what it replied when asked, ``value`` what the strict parser reads in that; where it reads nothing,
    ``unparsed`` names the reason. ``question`` is the first question with this reply; ``key`` identifies judge,
    prompt, answer kind, options and reply.
    """

    v: int = SCHEMA_VERSION
    key: str
    question: str
    kind: str
    said: str
    value: str | None = None
    unparsed: str | None = None
    judge: str
    attempts: int
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    cached: bool = False
    error: str | None = None


class GradeRecord(_Record):
    """What a judge gave one reply on a rubric, in one draw (``grades.jsonl``).

    ``grades`` holds every scale of the rubric, or nothing where the reply could not be read; ``invalid`` then
    names the reason. ``rule`` names what graded it without a judge. ``key`` identifies judge, rubric, fields
    and draw.
    """

    v: int = SCHEMA_VERSION
    key: str
    item: str
    task: str
    cluster: str
    draw: Whole = 0
    rubric: str
    grades: dict[str, float] = Field(default_factory=dict)
    invalid: str | None = None
    rule: str = ""
    reply: str = ""
    judge: str
    attempts: int = 1
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    cached: bool = False
    error: str | None = None


class FailedSample(_Record):
    """A sample that did not finish, with its reason."""

    sample: str
    reason: str
    error: str


class RecordCounts(_Record):
    """How many records a sample has left in ``answers.jsonl`` and ``ticks.jsonl``."""

    answers: int = 0
    ticks: int = 0


class RunManifest(BaseModel):
    """``run.json``: what ran, with what, where, and how it ended.

    ``latency`` is ``loaded`` where other samples were under way at the same time: its seconds are those of a model
    under load, and no table shows them beside those of one that ran ``alone``. ``batched``: other streams advanced
    with it as one batch. ``turns``: other models worked between its seconds, so that decoding could run further
    ahead and memory is of all of them.

    ``recorded`` says how many records each sample left when the run was done, so that one that is gone is missed;
    ``judged`` how many verdicts each judging rests on, by its judge and other side, ``readings`` how many replies
    a judge has read.
    """

    model_config = ConfigDict(extra="forbid")

    v: int = SCHEMA_VERSION
    task: str
    model: str
    status: Literal["running", "done", "failed", "interrupted"] = "running"
    started: str
    finished: str | None = None
    options: dict[str, Any]
    fingerprint: dict[str, Any]
    fingerprint_digest: str
    versions: dict[str, str] = Field(default_factory=dict)
    git: str | None = None
    host: dict[str, Any] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    media: dict[str, str] = Field(default_factory=dict)
    media_digests: dict[str, str] = Field(default_factory=dict)
    planned: list[str] = Field(default_factory=list)
    recorded: dict[str, RecordCounts] = Field(default_factory=dict)
    judged: dict[str, Whole] = Field(default_factory=dict)
    readings: Whole = 0
    failed: list[FailedSample] = Field(default_factory=list)
    warnings: list[str] = Field(default_factory=list)
    error: str | None = None
    latency: Latency = "alone"

    @property
    def videos_lacking(self) -> str | None:
        """How many videos of the data set were there, in words, where some were not: ``597 of 644 videos``."""
        there = sum(digest != "unreadable" for digest in self.media_digests.values())
        of = len(self.media_digests)
        return None if there == of else f"{there} of {of} videos"


class Metric(_Record):
    """One number of a table. ``value`` is ``None`` where its parts are missing; ``unit`` says how to read it.

    ``score`` is ``strict`` or ``official`` for benchmark scores, ``None`` otherwise.
    """

    name: str
    value: float | None
    unit: str = ""
    group: str = ""
    score: Literal["strict", "official"] | None = None
    n: int | None = None
    answered: int | None = None
    coverage: float | None = None
    clusters: int | None = None
    low: float | None = None
    high: float | None = None
    method: str = ""
    note: str = ""


class MetricsFile(_Record):
    """``metrics.json``: every number of the tables."""

    v: int = SCHEMA_VERSION
    task: str
    model: str
    fingerprint_digest: str
    metrics: tuple[Metric, ...]

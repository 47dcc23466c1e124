"""What a run knows of a model: what it can, its sessions, and typed results with stage times and memory counts."""

from __future__ import annotations

__all__ = [
    "Answer",
    "BatchingModel",
    "Capabilities",
    "ForkingSession",
    "Interrupted",
    "Placement",
    "RecallingSession",
    "SessionRequest",
    "Spoken",
    "StepReport",
    "StopRun",
    "StreamSession",
    "StreamingModel",
]

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from evalkit.models.together import Together
from evalkit.records import CallRecord, CompressorReport, HeldTokens, RetrievedBlocks
from evalkit.stream import Chunk, Elicitation, Narration, SeenFrames
from evalkit.timing import Stage


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can; what it cannot is refused before anything loads.

    Args:
        narrate: ``seconds`` where it speaks every second, ``windows`` where it speaks once for each window that is
            scored, ``None`` where it only answers.
        answer: Whether it answers questions.
        options: Whether it compares the options of a question by their logits.
        whole_clip: Whether it takes a finished clip at once, as the official protocols show one.
        streams: Most sessions open at once; ``None`` for any number.
        together: Whether several sessions can advance as one batch through one network (`BatchingModel`).
        why: What makes it unable, for the refusal: ``its server gives no logprobs``.
    """

    narrate: Literal["seconds", "windows"] | None = "seconds"
    answer: bool = True
    options: bool = True
    whole_clip: bool = True
    streams: int | None = 1
    together: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a model computes.

    Args:
        device: ``cpu``, ``cuda:0``, or ``server``.
        dtype: Type of its weights, such as ``float32``; ``None`` where that is not known.
    """

    device: str = "cpu"
    dtype: str | None = None


class Interrupted(Exception):
    """Raised by a request's heartbeat: the run was asked to stop; the sample goes on from its last checkpoint."""


class StopRun(Exception):
    """Raised by a session to end the whole run in good order; what is on record stays and can be gone on with.

    Args:
        reason: One line that says why, and what to do before ``--resume``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SessionRequest:
    """What a session is opened for.

    Args:
        sample: Sample id; random numbers depend on it.
        fps: Frames per second of the stream.
        seed: Seed of the run.
        narration: Set where the model speaks every second.
        time_stamps: Whether each second is announced by its ``Time=a-bs`` text.
        seen: The frames delivered so far, for a model that looks back; a look ahead is refused and recorded.
        whole_clip: All frames come at once, as one finished video of an official protocol.
        heartbeat: Called between the parts of long work, such as the blocks of a prefill; it raises to end it.
        system: System text of the protocol where questions are asked; ``None`` leaves the model its own.
        warn: Told what whoever runs it should know, one line each.
    """

    sample: str
    fps: float
    seed: int = 0
    narration: Narration | None = None
    time_stamps: bool = True
    seen: SeenFrames | None = None
    whole_clip: bool = False
    heartbeat: Callable[[], None] | None = None
    system: str | None = None
    warn: Callable[[str], None] | None = None


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one second cost and left. Token counts are by span kind.

    Args:
        stages: Wall seconds by stage; they sum to the second's total.
        tokens_in: Tokens added before generation.
        kept: Tokens in the context afterwards.
        evicted: Tokens dropped before the second was added.
        cache_tokens: Keys per layer afterwards.
        generated: Tokens generated.
        first_token: Seconds from the second's start of work to its first token; ``None`` without one.
        compressors: What each compressor did.
        token_times: Seconds from the start of work to each token; empty where that is not known.
        held: What a memory that sees tensors holds afterwards.
    """

    stages: dict[Stage, float]
    tokens_in: dict[str, int]
    kept: dict[str, int]
    evicted: dict[str, int]
    cache_tokens: int
    generated: int = 0
    first_token: float | None = None
    compressors: tuple[CompressorReport, ...] = ()
    token_times: Sequence[float] = ()
    held: HeldTokens | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """What was said in one second.

    Args:
        text: The words.
        ids: Token ids, end marker included where the model set it.
        step: What the second cost.
        call: What a server was asked for it.
    """

    text: str
    ids: Sequence[int]
    step: StepReport
    call: CallRecord | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply to a question.

    Args:
        text: The words.
        tokens: Tokens generated (0 where options were compared).
        seconds: Wall seconds from question to last token.
        first_token: Wall seconds to the first token.
        stages: Seconds by stage.
        context_tokens: Tokens the question was answered from.
        call: What a server was asked for it.
        token_times: Wall seconds to each token; empty where that is not known.
        retrieved: What the question retrieved, where the memory keeps blocks for questions.
    """

    text: str
    tokens: int
    seconds: float
    first_token: float | None
    stages: dict[Stage, float] = field(default_factory=dict)
    context_tokens: int = 0
    call: CallRecord | None = None
    token_times: Sequence[float] = ()
    retrieved: RetrievedBlocks | None = None


class StreamSession(Protocol):
    """One stream through a model. Seconds are given in order; a session serves one sample."""

    def observe(self, chunk: Chunk, subtitles: tuple[str, ...] = ()) -> StepReport:
        """Take in one second of frames."""

    def speak(self, chunk: Chunk) -> Spoken:
        """Take in one second of frames and say something about it."""

    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Answer:
        """Answer a question from the memory and leave the memory as it was."""

    def state(self) -> dict[str, Any] | None:
        """Return everything a checkpoint needs: ``"tensors"`` by name, and plain JSON values under ``"json"``.

        ``None`` where the session cannot be saved: its sample starts anew when the run is resumed.
        """

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what ``state`` returned."""

    def close(self) -> None:
        """Free what the session holds."""


@runtime_checkable
class RecallingSession(Protocol):
    """A session that can take a second's words from the record, so that a resumed run asks for none again."""

    def recall(self, chunk: Chunk, text: str) -> None:
        """Take in one second of frames that was spoken about before.

        Args:
            chunk: The second.
            text: What is on record of it.
        """


@runtime_checkable
class ForkingSession(Protocol):
    """A session that can be asked several questions at once."""

    def fork(self) -> StreamSession:
        """Return a session that answers from this one's memory; this one must not go on before it has."""


@runtime_checkable
class BatchingModel(Protocol):
    """A model whose network serves several streams as one batch."""

    def together(self) -> tuple[Together, StreamingModel]:
        """Return the model for streams that advance together, and what makes them do so."""


class StreamingModel(Protocol):
    """A model with all its settings. One object serves any number of sessions, as many at once as it can.

    Attributes:
        name: Its name in tables.
        placement: Where it computes.
    """

    name: str
    placement: Placement

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the ``(width, height)`` to which the decoder scales a video of this size."""

    def open(self, request: SessionRequest) -> StreamSession:
        """Open a session for one sample."""

    def identity(self) -> dict[str, Any]:
        """Return the fingerprint fields ``model.*`` that are known only now, such as the weights' revision."""

    def peak_mib(self) -> float:
        """Return the peak memory since the last call, MiB: of the GPU, or of this process where there is none."""

    def close(self) -> None:
        """Free what the model holds, once, after its last session."""

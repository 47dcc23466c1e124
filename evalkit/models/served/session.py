"""A stream through a chat server: frames are kept as JPEG by second, and sent with each request (no torch)."""

from __future__ import annotations

__all__ = ["ServedSession"]

import time
from typing import TYPE_CHECKING, Any

from evalkit.errors import ModelError
from evalkit.models.protocol import Answer, SessionRequest, Spoken, StepReport, StopRun
from evalkit.models.served.model import ModeratedError, ServedReply
from evalkit.models.served.options import likeliest_option
from evalkit.models.served.turns import StreamChat, Turn, window_messages
from evalkit.models.served.vllm import (
    first_retokenised,
    likeliest_by_id,
    opened_reply,
    option_fields,
    qwen_tokens,
    stream_fields,
)
from evalkit.records import CallRecord
from evalkit.stream import Chunk, Elicitation
from evalkit.timing import Stage

if TYPE_CHECKING:
    from evalkit.models.served.model import ServedModel

_TOP_LOGPROBS = 20


class ServedSession:
    """A session of a served model. Its latency is that of the request that brought the reply, nothing else.

    Args:
        model: The model.
        request: What the session is opened for.
    """

    def __init__(self, model: ServedModel, request: SessionRequest) -> None:
        self._model = model
        self._request = request
        self._settings = model.settings
        salt = f"{model.salt}:{request.fps:g}" if self._on_vllm else ""
        self._chat = StreamChat(model.settings, request.narration, request.time_stamps, request.system, salt)
        self._held: set[str] = set()  # names of the frames that the server has
        self._evicted = 0

    @property
    def _on_vllm(self) -> bool:
        return self._settings.server == "vllm"

    def observe(self, chunk: Chunk, subtitles: tuple[str, ...] = ()) -> StepReport:
        """Take in one second of frames; nothing is sent before something is asked."""
        began = time.perf_counter()
        self._take(chunk, subtitles)
        return _step(
            {"decode": chunk.wait_seconds, "preprocess": time.perf_counter() - began}, None, self._evicted
        )

    def speak(self, chunk: Chunk) -> Spoken:
        """Take in a second, or a whole scoring window, and have something said about it.

        Raises:
            ModelError: No reply came, or the token limit was spent before a word was said.
            StopRun: No further reply can come.
        """
        began = time.perf_counter()
        narration = self._request.narration
        if narration is None:
            raise ModelError("a session that was opened for questions narrates nothing")
        if self._settings.narrate == "windows":
            return self._speak_of_window(chunk)
        turn = self._take(chunk, ())
        messages = self._chat.narration_messages()
        spent = time.perf_counter() - began
        asked = self._ask(messages, f"{self._request.sample}@{chunk.tick.index}", self._settings.narration_tokens)
        asked = self._checked(asked)
        turn.reply = _words(asked)
        ids = asked.call.token_ids
        turn.reply_ids = ids[:-1] if asked.reply.finish == "stop" else ids
        return self._spoken(turn.reply, asked, chunk.wait_seconds, spent)

    def _checked(self, asked: ServedReply) -> ServedReply:
        """Note where a reply that was sent back as text became other tokens than the model had said."""
        prompt = asked.reply.extra.get("prompt_token_ids")
        second = None if prompt is None else first_retokenised(prompt, self._chat.replies_sent())
        if second is None:
            return asked
        self._model.warn(
            "replies go back to the server as text, and some become other tokens there than the model had said: "
            "the notes in answers.jsonl name the first such reply of each request"
        )
        return _noted(asked, f"the reply of second {second} was tokenised anew, into other tokens")

    def recall(self, chunk: Chunk, text: str) -> None:
        """Take in a second whose words are on record already; the server is not asked again.

        Args:
            chunk: The second.
            text: What is on record.
        """
        self._take(chunk, ()).reply = text

    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Answer:
        """Answer a question from what is kept of the stream, which stays as it is.

        Raises:
            ModelError: No reply came.
            StopRun: No further reply can come, or there are no log-probabilities where options are compared.
        """
        began = time.perf_counter()
        messages, fields = self._question(prompt, elicitation.prefix)
        spent = time.perf_counter() - began
        try:
            if elicitation.options:
                compare = self._compare_ids if self._on_vllm else self._compare
                return compare(messages, elicitation, key, spent, **fields)
            asked = self._ask(messages, key, elicitation.max_tokens or self._settings.answer_tokens, **fields)
        except ModeratedError as refused:  # of this question; the stream's others may pass
            return Answer("", 0, 0.0, None, call=CallRecord(note=str(refused)))
        return self._answer(asked.reply.text, asked, spent)

    def _question(self, prompt: str, prefix: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the chat that ends with a question, and the fields that have the reply begin so."""
        if self._on_vllm:
            return opened_reply(self._chat.question_messages(prompt), prefix)
        return self._chat.question_messages(f"{prompt}\n{prefix}" if prefix else prompt), {}

    def state(self) -> dict[str, Any] | None:
        """Return nothing: a resumed sample is shown its frames again and asked only what is not on record."""
        return None

    def restore(self, state: dict[str, Any]) -> None:
        """Never called, since there is no state.

        Raises:
            ModelError: Always.
        """
        raise ModelError("a session with a server cannot be restored")

    def close(self) -> None:
        """Let go of the frames."""
        self._chat.turns.clear()

    def _take(self, chunk: Chunk, subtitles: tuple[str, ...]) -> Turn:
        tick = chunk.tick
        frames = self._model.encoder.encode(chunk.frames)
        turn = Turn(tick.index, tick.start_seconds, tick.end_seconds, frames, subtitles)
        turn.shape = (len(chunk.frames), *chunk.frames.shape[1:3])
        if self._request.whole_clip:  # the parts of one finished clip, whatever the schedule
            self._chat.turns.append(turn)
        else:
            self._evicted = self._chat.add(turn)
        return turn

    def _ask(self, messages: list[dict[str, Any]], key: str, tokens: int | None, **more: Any) -> ServedReply:
        if tokens is not None:
            more["max_completion_tokens"] = tokens
        if self._settings.send_seed:
            more["seed"] = self._request.seed
        if self._on_vllm:
            more = {**stream_fields(self._settings, self._request.fps, self._model.salt), **more}
        seconds = len({turn.second for turn in self._chat.turns})
        asked = self._model.ask(messages, f"{self._request.sample}:{key}", more, seconds, self._held)
        self._count(asked.reply.usage.multimodal)
        return asked

    def _count(self, counted: int | None) -> None:
        """Warn where the server has made other tokens of the frames than Qwen's processor makes of them."""
        if counted is None or self._settings.fit != "qwen" or not self._chat.turns:
            return
        made = sum(qwen_tokens(turn.shape, self._settings) for turn in self._chat.turns)
        if made != counted:
            self._model.warn(
                f"the server made {counted} tokens of frames of which Qwen's processor makes {made} at the size "
                "they were sent: its checkpoint scales them again, drops some, or has another processor"
            )

    def _speak_of_window(self, chunk: Chunk) -> Spoken:
        narration = self._request.narration
        if narration is None or not len(chunk.frames):
            raise ModelError("a window without a frame has nothing to be said about")
        began = time.perf_counter()
        encoded = [one.result() for one in self._model.encoder.encode(chunk.frames)]
        system = self._settings.system_prompt if narration.system is None else narration.system
        messages = window_messages(system, narration.instruction, encoded, self._settings)
        spent = time.perf_counter() - began
        asked = self._ask(messages, f"{self._request.sample}@window", self._settings.narration_tokens)
        text = _words(asked)
        if not text.strip():
            raise ModelError(f"the window got no text ({asked.reply.lack}{_detail(asked)})")
        return self._spoken(text, asked, chunk.wait_seconds, spent)

    def _compare_ids(
        self, messages: list[dict[str, Any]], elicitation: Elicitation, key: str, spent: float, **fields: Any
    ) -> Answer:
        """Compare options by the log-probabilities of their own tokens."""
        ids = self._model.option_ids(elicitation.lead, elicitation.options)
        asked = self._ask(messages, key, 1, **fields, **option_fields(ids))
        choice = likeliest_by_id(asked.reply.logprobs, elicitation.options, ids)
        if choice is None:
            raise StopRun(
                f"{self._model.name}: the server gives no log-probabilities of given tokens: --set "
                "model.server=openai compares options by the likeliest ones"
            )
        return self._answer(choice.option, _unsaid(asked), spent)

    def _compare(self, messages: list[dict[str, Any]], elicitation: Elicitation, key: str, spent: float) -> Answer:
        """Compare options by the first token's log-probabilities."""
        asked = self._ask(messages, key, 1, logprobs=True, top_logprobs=_TOP_LOGPROBS)
        choice = likeliest_option(asked.reply.logprobs, elicitation.options)
        if choice is None:
            raise StopRun(
                f"{self._model.name}: the server gives no log-probabilities, which this protocol compares options "
                "by: choose another --protocol"
            )
        unknown = f"not among the {_TOP_LOGPROBS} likeliest tokens: {', '.join(choice.unknown)}"
        return self._answer(choice.option, _unsaid(asked), spent, unknown if choice.unknown else "")

    def _answer(self, text: str, asked: ServedReply, spent: float, note: str = "") -> Answer:
        reply = asked.reply
        if reply.lack and not text:
            note = note or f"no text ({reply.lack})"
        call = _noted(asked, note).call
        return Answer(
            text=text,
            tokens=reply.usage.completion or 0,
            seconds=spent + reply.seconds,
            first_token=None if reply.first_token is None else spent + reply.first_token,
            stages=_stages(asked, spent),
            context_tokens=reply.usage.prompt or 0,
            call=call,
        )

    def _spoken(self, text: str, asked: ServedReply, waited: float, spent: float) -> Spoken:
        stages: dict[Stage, float] = {"decode": waited, **_stages(asked, spent)}
        ids = asked.call.token_ids or (0,) * (asked.reply.usage.completion or 0)
        return Spoken(text, ids, _step(stages, asked, self._evicted), asked.call)


def _words(asked: ServedReply) -> str:
    """Return what was said; reasoning that spent the whole limit is no silence.

    Raises:
        ModelError: The limit was spent before a word was said.
    """
    if asked.reply.lack == "length":
        raise ModelError(
            "the token limit was spent before a word was said: raise --set model.narration_tokens, or lower "
            "model.reasoning_effort"
        )
    return asked.reply.text


def _noted(asked: ServedReply, note: str) -> ServedReply:
    if not note:
        return asked
    notes = "; ".join(filter(None, [asked.call.note, note]))
    return ServedReply(asked.reply, asked.call.model_copy(update={"note": notes}))


def _unsaid(asked: ServedReply) -> ServedReply:
    """Leave out why a reply ended that was asked for one token's log-probabilities: nothing was cut off."""
    return ServedReply(asked.reply, asked.call.model_copy(update={"finish": None}))


def _detail(asked: ServedReply) -> str:
    return f": {asked.reply.refusal}" if asked.reply.refusal else ""


def _stages(asked: ServedReply, spent: float) -> dict[Stage, float]:
    reply = asked.reply
    first = reply.seconds if reply.first_token is None else reply.first_token
    return {"preprocess": spent, "prefill": first, "generate": reply.seconds - first}


def _step(stages: dict[Stage, float], asked: ServedReply | None, evicted: int) -> StepReport:
    usage = None if asked is None else asked.reply.usage
    prompt = 0 if usage is None else usage.prompt or 0
    waited = stages.get("decode", 0.0) + stages.get("preprocess", 0.0)
    first = None if asked is None else asked.reply.first_token
    return StepReport(
        stages=stages,
        tokens_in={"prompt": prompt} if prompt else {},
        kept={"prompt": prompt} if prompt else {},
        evicted={"seconds": evicted} if evicted else {},
        cache_tokens=prompt,
        generated=0 if usage is None else usage.completion or 0,
        first_token=None if first is None else waited + first,
    )

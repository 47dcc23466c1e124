"""A model of one's own: a class with ``open``, held to the contract; what it does wrong is one line (no torch)."""

from __future__ import annotations

__all__ = ["OwnEntry", "OwnModel", "OwnRecipe", "OwnSession"]

import inspect
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, ClassVar, Literal

from pydantic import BaseModel

from evalkit.errors import ModelError, UsageError
from evalkit.models.entry import ModelChoice, ModelEntry, ModelRecipe
from evalkit.models.foreign import call_foreign
from evalkit.models.protocol import Answer, Capabilities, Placement, SessionRequest, Spoken, StepReport
from evalkit.models.returned import checked_answer, checked_spoken, checked_step, plain_number, plain_text, short
from evalkit.settings import SettingGroups, validated
from evalkit.stream import Chunk, Elicitation
from evalkit.timing import process_peak_mib

DEFAULT_CAPABILITIES = Capabilities(options=False, why="it does not say that it can: see its `capabilities`")


@dataclass(frozen=True, slots=True)
class OwnEntry(ModelEntry):
    """A class, or an object of one, that gives sessions.

    Args:
        source: The class, which is called with its settings where it has some, or an object that is ready.
        name: Its name in tables.
        summary: One line for ``evalkit list models``.
        capabilities: What it can.
        settings: Class of its settings, a pydantic model or a dataclass; ``None`` without any.
    """

    source: Any
    name: str
    summary: str
    capabilities: Capabilities
    settings: type[Any] | None = None

    @classmethod
    def of(cls, source: Any, name: str | None = None) -> OwnEntry:
        """Make an entry of a class or object that says what it is in its attributes.

        Args:
            source: Its attributes ``name``, ``summary``, ``capabilities`` and ``settings`` are used where there
                are some; the summary is the first line of its docstring otherwise.
            name: Its name, where somebody else gave it one.

        Raises:
            UsageError: It lacks ``open`` or ``identity``, or an attribute is not what it must be.
        """
        kind = source if isinstance(source, type) else type(source)
        label = name or getattr(source, "name", None) or kind.__name__
        for method in ("open", "identity"):
            if not callable(getattr(source, method, None)):
                raise UsageError(f"model {label!r} is {short(source)}, which has no method `{method}`")
        can = getattr(source, "capabilities", DEFAULT_CAPABILITIES)
        if not isinstance(can, Capabilities):
            raise UsageError(f"model {label}: `capabilities` must be a Capabilities, not {short(can)}")
        settings = getattr(source, "settings", None) if isinstance(source, type) else None
        if settings is not None and not _holds_settings(settings):
            raise UsageError(f"model {label}: `settings` must be a pydantic model or a dataclass, as a class")
        lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
        summary = getattr(source, "summary", None) or (lines[0] if lines else "A model of one's own.")
        return cls(source, str(label), str(summary), can, settings)

    @property
    def groups(self) -> SettingGroups:
        """Its settings, as the group ``model``."""
        return {} if self.settings is None else {"model": self.settings}

    def recipe(self, choice: ModelChoice) -> OwnRecipe:
        """Put class and settings together.

        Raises:
            UsageError: A setting is out of range, or an option is one of local weights.
        """
        choice.refuse_local(self.name, "is one of your own and is set up by --set model.KEY=VALUE alone")
        for option in ("checkpoint", "base_url"):
            if getattr(choice, option) is not None:
                flag = "--" + option.replace("_", "-")
                raise UsageError(f"model {self.name} is one of your own and takes no {flag}; leave it out")
        settings = None if self.settings is None else validated(self.settings, "model", choice.of("model"))
        return OwnRecipe(self.name, self.capabilities, self.source, settings)


@dataclass(frozen=True, slots=True)
class OwnRecipe(ModelRecipe):
    """A class with its settings, or an object that is ready.

    Args:
        name: Its name in tables.
        capabilities: What it can.
        source: Class or object.
        settings: What the class is called with; ``None`` without any.
    """

    kind: ClassVar[Literal["own"]] = "own"

    name: str
    capabilities: Capabilities
    source: Any
    settings: Any = None
    concurrency: int = 1

    def facts(self) -> dict[str, str]:
        """Return the class."""
        return {"class": self._class()}

    def identity(self) -> dict[str, Any]:
        """Return class and settings."""
        values = {} if self.settings is None else _as_dict(self.settings)
        return {"model.class": self._class(), **{f"model.{key}": value for key, value in values.items()}}

    def _class(self) -> str:
        kind = self.source if isinstance(self.source, type) else type(self.source)
        return f"{kind.__module__}:{kind.__qualname__}"

    def check(self) -> None:
        """Ask the class itself, where it has a `check`."""
        asked = getattr(self.source, "check", None)
        if callable(asked):
            call_foreign(f"{self.name}.check", asked, *(() if self.settings is None else (self.settings,)))

    def make(self) -> OwnModel:
        """Call the class.

        Raises:
            ModelError: It raises, or what it makes is no model.
        """
        made = self.source
        if isinstance(made, type):
            made = call_foreign(self.name, made, *(() if self.settings is None else (self.settings,)))
        return OwnModel(made, self.name, self.capabilities)


class OwnModel:
    """A model of one's own as the run knows one: what it leaves out is filled in, what it gives is checked.

    Args:
        model: The object with ``open``.
        name: Its name in tables.
        capabilities: What it can.
    """

    def __init__(self, model: Any, name: str, capabilities: Capabilities) -> None:
        self.name = name
        self._model = model
        self._can = capabilities
        placement = getattr(model, "placement", Placement())
        if not isinstance(placement, Placement):
            raise ModelError(f"model {name}: `placement` must be a Placement, not {short(placement)}")
        self.placement = placement

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """Return what the model says, or the video's own size."""
        asked = getattr(self._model, "frame_size", None)
        if asked is None:
            return width, height
        size = call_foreign(f"{self.name}.frame_size", asked, width, height)
        if not (isinstance(size, tuple) and len(size) == 2 and all(isinstance(n, int) and n > 0 for n in size)):
            raise ModelError(f"{self.name}.frame_size must return (width, height) in pixels, not {short(size)}")
        return size

    def open(self, request: SessionRequest) -> OwnSession:
        """Open a session.

        Raises:
            ModelError: It raises, or the session lacks a method that it needs.
        """
        session = call_foreign(f"{self.name}.open", self._model.open, request)
        needed = ["speak"] if request.narration is not None else ["observe", "ask"]
        for method in needed:
            if not callable(getattr(session, method, None)):
                raise ModelError(f"{self.name}.open returned {short(session)}, which has no method `{method}`")
        return OwnSession(session, self.name, self._can)

    def identity(self) -> dict[str, Any]:
        """Return what the model says identifies it, each key below ``model.``."""
        said = call_foreign(f"{self.name}.identity", self._model.identity)
        if not isinstance(said, Mapping):
            raise ModelError(f"{self.name}.identity must return a dictionary, not {short(said)}")
        try:
            json.dumps(dict(said), allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:
            raise ModelError(f"{self.name}.identity must hold text and numbers only: {error}") from error
        odd = next((key for key in said if not isinstance(key, str)), None)
        if odd is not None:
            raise ModelError(f"{self.name}.identity must have names for keys, not {short(odd)}")
        return {key if key.startswith("model.") else f"model.{key}": value for key, value in said.items()}

    def peak_mib(self) -> float:
        """Return what the model says, or the peak memory of this process."""
        asked = getattr(self._model, "peak_mib", None)
        if asked is None:
            return process_peak_mib()
        label = f"{self.name}.peak_mib"
        return plain_number(f"what {label} returns", call_foreign(label, asked), float)

    def close(self) -> None:
        """Close the model, where it can be closed."""
        _close(self.name, self._model)


class OwnSession:
    """A session of one's own, timed and checked.

    Args:
        session: The object with ``observe`` and ``ask``, or ``speak``.
        name: The model's name.
        capabilities: What the model can.
    """

    def __init__(self, session: Any, name: str, capabilities: Capabilities) -> None:
        self._session = session
        self._name = name
        self._can = capabilities

    def observe(self, chunk: Chunk, subtitles: tuple[str, ...] = ()) -> StepReport:
        """Show a second; the session may return nothing.

        Raises:
            ModelError: It raises, returns something else, or takes no subtitles where the sample has some.
        """
        observe, label = self._session.observe, f"{self._name}.observe"
        words: tuple[Any, ...] = (chunk, subtitles)
        if len(inspect.signature(observe).parameters) < 2:
            if subtitles:
                raise ModelError(f"{label} takes no subtitles, which this sample has: give it a second parameter")
            words = (chunk,)
        began = time.perf_counter()
        step = call_foreign(label, observe, *words)
        spent = time.perf_counter() - began
        if step is None:
            return _step({"decode": chunk.wait_seconds, "other": spent})
        if not isinstance(step, StepReport):
            raise ModelError(f"{label} must return nothing or a StepReport, not {short(step)}")
        return checked_step(label, step)

    def speak(self, chunk: Chunk) -> Spoken:
        """Show a second and have something said about it, as text or as `Spoken`.

        Raises:
            ModelError: It raises or returns something else.
        """
        label = f"{self._name}.speak"
        began = time.perf_counter()
        said = call_foreign(label, self._session.speak, chunk)
        spent = time.perf_counter() - began
        if isinstance(said, str):
            step = _step({"decode": chunk.wait_seconds, "generate": spent})
            return Spoken(plain_text(label, said), (), step)
        if not isinstance(said, Spoken):
            raise ModelError(f'{label} must return text ("" for silence) or Spoken, not {short(said)}')
        return checked_spoken(label, said)

    def ask(self, prompt: str, elicitation: Elicitation, *, key: str) -> Answer:
        """Ask a question, answered as text or as `Answer`.

        Raises:
            ModelError: It raises, returns something else, or chooses what is no option.
        """
        label = f"{self._name}.ask"
        began = time.perf_counter()
        said = call_foreign(label, self._session.ask, prompt, elicitation, key=key)
        spent = time.perf_counter() - began
        answer = Answer(said, 0, spent, None, {"generate": spent}) if isinstance(said, str) else said
        if not isinstance(answer, Answer):
            raise ModelError(f"{label} must return text or Answer, not {short(said)}")
        answer = checked_answer(label, answer)
        if elicitation.options and answer.text not in elicitation.options:
            options = ", ".join(elicitation.options)
            raise ModelError(f"{label} must return one of the options {options}, not {short(answer.text)}")
        return answer

    def state(self) -> dict[str, Any] | None:
        """Return the session's state, where it can be saved."""
        asked = getattr(self._session, "state", None)
        if asked is None:
            return None
        state = call_foreign(f"{self._name}.state", asked)
        if not (state is None or (isinstance(state, dict) and set(state) == {"tensors", "json"})):
            raise ModelError(f"{self._name}.state must return a dictionary of 'tensors' and 'json'")
        if state is not None:
            _check_state(f"{self._name}.state", state)
            if not callable(getattr(self._session, "restore", None)):
                raise ModelError(f"{self._name}: a session with `state` needs `restore`")
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Give the session a state back."""
        call_foreign(f"{self._name}.restore", self._session.restore, state)

    def close(self) -> None:
        """Close the session, where it can be closed."""
        _close(self._name, self._session)


def _step(stages: dict[Any, float]) -> StepReport:
    return StepReport(stages=stages, tokens_in={}, kept={}, evicted={}, cache_tokens=0)


def _check_state(label: str, state: dict[str, Any]) -> None:
    tensors, plain = state["tensors"], state["json"]
    named = isinstance(tensors, dict) and all(isinstance(name, str) for name in tensors)
    if not named or not all(hasattr(tensor, "untyped_storage") for tensor in tensors.values()):
        raise ModelError(f"{label}: 'tensors' must be a dictionary of torch tensors by name, not {short(tensors)}")
    try:
        same = isinstance(plain, dict) and json.loads(json.dumps(plain)).keys() == plain.keys()
    except (TypeError, ValueError) as error:
        raise ModelError(f"{label}: 'json' must hold plain JSON values only: {error}") from error
    if not same:
        raise ModelError(f"{label}: 'json' must be a dictionary with names for keys, not {short(plain)}")


def _close(name: str, thing: Any) -> None:
    asked = getattr(thing, "close", None)
    if asked is not None:
        call_foreign(f"{name}.close", asked)


def _holds_settings(settings: Any) -> bool:
    return isinstance(settings, type) and (issubclass(settings, BaseModel) or is_dataclass(settings))


def _as_dict(settings: Any) -> dict[str, Any]:
    return settings.model_dump(mode="json") if isinstance(settings, BaseModel) else asdict(settings)

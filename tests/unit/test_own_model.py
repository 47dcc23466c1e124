"""A model of one's own that does something wrong gives one line that names it; what it leaves out is filled in."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from own_models import Counter, CounterStream, Stepper

from evalkit.errors import CausalityError, ModelError, UsageError
from evalkit.models import Answer, Capabilities, ModelChoice, SessionRequest
from evalkit.models.catalog import catalog
from evalkit.models.own import OwnEntry, OwnSession
from evalkit.models.protocol import Interrupted, Spoken, StepReport
from evalkit.stream import Chunk, Elicitation, Narration

REQUEST = SessionRequest("s", 2.0)
Seconds = Callable[..., Iterator[Chunk]]


def session(stream: Any, can: Capabilities | None = None) -> OwnSession:
    return OwnSession(stream, "mine", can or Capabilities())


def stream(**methods: Any) -> CounterStream:
    return type("Odd", (CounterStream,), methods)(REQUEST)


@pytest.fixture
def chunk(seconds: Seconds) -> Chunk:
    return next(seconds(1))


def ask(stream: Any, elicitation: Elicitation | None = None) -> Answer:
    return session(stream).ask("Who?", elicitation or Elicitation(), key="q")


def test_text_is_enough_of_a_reply_and_nothing_enough_of_a_look(chunk: Chunk) -> None:
    own = session(CounterStream(REQUEST))
    assert own.observe(chunk).stages["other"] > 0
    said = own.speak(chunk)
    assert said.text == " 4 frames"
    assert set(said.step.stages) == {"decode", "generate"}
    answer = own.ask("Who?", Elicitation(), key="q")
    assert (answer.text, answer.seconds) == ("A", answer.stages["generate"])


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("speak", r'^mine\.speak must return text \(""\ for silence\) or Spoken, not None$'),
        ("ask", r"^mine\.ask must return text or Answer, not None$"),
    ],
)
def test_nothing_is_no_reply(method: str, said: str, chunk: Chunk) -> None:
    odd = stream(**{method: lambda self, *words, **named: None})
    with pytest.raises(ModelError, match=said):
        ask(odd) if method == "ask" else session(odd).speak(chunk)


def test_what_a_model_raises_is_one_line_with_its_place(chunk: Chunk) -> None:
    def broken(self: Any, chunk: Chunk) -> str:
        raise ValueError("no such\ncolour")

    with pytest.raises(ModelError) as caught:
        session(stream(speak=broken)).speak(chunk)
    text = str(caught.value)
    assert text.startswith("mine.speak raised ValueError: no such colour (")
    assert "test_own_model.py, line " in text
    assert "\n" not in text


def test_a_look_ahead_stays_what_it_is(chunk: Chunk) -> None:
    def ahead(self: Any, chunk: Chunk) -> str:
        raise CausalityError("frames at 9.000 s asked for at 1.000 s")

    with pytest.raises(CausalityError, match=r"9\.000 s"):
        session(stream(speak=ahead)).speak(chunk)


def test_subtitles_are_not_dropped_in_silence(chunk: Chunk) -> None:
    with pytest.raises(ModelError, match=r"mine\.observe takes no subtitles, which this sample has"):
        session(CounterStream(REQUEST)).observe(chunk, ("a line",))
    heard: list[tuple[str, ...]] = []
    both = stream(observe=lambda self, chunk, subtitles=(): heard.append(subtitles))
    session(both).observe(chunk, ("a line",))
    assert heard == [("a line",)]


def test_a_choice_must_be_one_of_the_options() -> None:
    options = Elicitation(options=("B", "C"))
    with pytest.raises(ModelError, match=r"mine\.ask must return one of the options B, C, not 'A'"):
        ask(CounterStream(REQUEST), options)
    assert ask(stream(ask=lambda self, *words, **named: "C"), options).text == "C"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (object(), "which has no method `open`"),
        (type("Half", (), {"open": lambda self, request: None})(), "which has no method `identity`"),
        (type("Odd", (Counter,), {"capabilities": "all"}), "`capabilities` must be a Capabilities, not 'all'"),
        (type("Odd", (Counter,), {"settings": 3}), "`settings` must be a pydantic model or a dataclass"),
    ],
)
def test_what_is_no_model_is_refused_by_what_it_lacks(source: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        OwnEntry.of(source)


def made(source: Any) -> Any:
    return OwnEntry.of(source, "mine").recipe(ModelChoice()).make()


@pytest.mark.parametrize(
    ("methods", "use", "said"),
    [
        ({"identity": lambda self: None}, "identity", r"mine\.identity must return a dictionary, not None"),
        (
            {"identity": lambda self: {"a": object()}},
            "identity",
            r"mine\.identity must hold text and numbers only",
        ),
        ({"identity": lambda self: {1: "a"}}, "identity", r"mine\.identity must have names for keys, not 1"),
        (
            {"identity": lambda self: {"a": float("nan")}},
            "identity",
            r"must hold text and numbers only: .*not JSON",
        ),
        ({"peak_mib": lambda self: None}, "peak", r"what mine\.peak_mib returns must be a finite number"),
        ({"open": lambda self, request: None}, "open", r"mine\.open returned None, which has no method `observe`"),
        ({"__init__": lambda self: 1 / 0}, "make", r"^mine raised ZeroDivisionError: division by zero \("),
        ({"placement": "gpu"}, "make", "`placement` must be a Placement, not 'gpu'"),
        ({"frame_size": lambda self, w, h: None}, "size", r"mine\.frame_size must return \(width, height\)"),
    ],
)
def test_a_model_that_gives_something_else_is_named(methods: dict[str, Any], use: str, said: str) -> None:
    source = type("Odd", (Counter,), methods)
    uses = {
        "make": lambda: made(source),
        "identity": lambda: made(source).identity(),
        "open": lambda: made(source).open(REQUEST),
        "size": lambda: made(source).frame_size(640, 360),
        "peak": lambda: made(source).peak_mib(),
    }
    with pytest.raises(ModelError, match=said):
        uses[use]()


def test_a_session_needs_only_what_its_sample_asks_for() -> None:
    only_speaks = type("Speaks", (Counter,), {"open": lambda self, request: type("S", (), {"speak": len})()})
    made(only_speaks).open(dataclasses.replace(REQUEST, narration=Narration("Describe.")))
    with pytest.raises(ModelError, match="no method `observe`"):
        made(only_speaks).open(REQUEST)


def test_a_class_says_what_it_is_in_its_attributes() -> None:
    entry = OwnEntry.of(Counter)
    assert (entry.name, entry.summary) == ("Counter", "Counts the frames it has seen.")
    assert entry.capabilities.options is False
    assert OwnEntry.of(Stepper).groups == {"model": Stepper.settings}
    assert made(Counter).identity() == {"model.version": 1}


def test_the_catalog_takes_a_plain_class_and_names_what_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from evalkit.models import catalog as room

    monkeypatch.setattr(room.MODELS, "get", {"mine": Counter, "odd": 3}.__getitem__)
    assert catalog("mine").name == "mine"
    with pytest.raises(UsageError, match="model 'odd' is 3, which has no method `open`"):
        catalog("odd")


STEP = StepReport({}, {}, {}, {}, 0)


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (Answer(None, 0, 0.0, None), r"mine\.ask: `text` must be text, not None"),  # type: ignore[arg-type]
        (Answer("A", -3, 0.0, None), r"mine\.ask: `tokens` must be a whole number from 0 on, not -3"),
        (Answer("A", 0, float("nan"), None), r"mine\.ask: `seconds` must be a finite number from 0 on, not nan"),
        (Answer("A", 0, 0.0, None, {"generate": "x"}), r"`stages` of 'generate' must be a finite number"),  # type: ignore[dict-item]
        (Answer("A", 0, 0.0, None, {"think": 1.0}), r"`stages` has no 'think'; it has decode,"),  # type: ignore[dict-item]
        (Answer("A", 0, 0.0, None, call={}), r"`call` must be a CallRecord or None"),  # type: ignore[arg-type]
    ],
)
def test_a_field_of_a_wrong_type_is_named_and_costs_the_sample(returned: Answer, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        ask(stream(ask=lambda self, *words, **named: returned))


def test_a_second_s_report_is_held_to_its_types(chunk: Chunk) -> None:
    speaks = session(stream(speak=lambda self, chunk: Spoken("so", (), None)))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"mine\.speak: `step` must be a StepReport, not None"):
        speaks.speak(chunk)
    looks = session(stream(observe=lambda self, chunk: dataclasses.replace(STEP, kept={"vision": 0.5})))
    with pytest.raises(ModelError, match=r"mine\.observe: `kept` of 'vision' must be a whole number"):
        looks.observe(chunk)


def test_numbers_of_numpy_become_plain_and_half_a_character_becomes_a_question_mark(chunk: Chunk) -> None:
    step = dataclasses.replace(STEP, stages={"generate": np.float32(0.5)}, generated=np.int64(2))
    said = session(stream(speak=lambda self, chunk: Spoken("so\ud800", np.array([1, 2]), step))).speak(chunk)
    assert said.text == "so?"
    assert said.ids == (1, 2)
    assert type(said.step.generated) is int
    assert said.step.stages == {"generate": 0.5}
    assert ask(stream(ask=lambda self, *words, **named: "\ud800")).text == "?"


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({"tensors": {"a": 3}, "json": {}}, "'tensors' must be a dictionary of torch tensors by name"),
        ({"tensors": {}, "json": {"a": {1}}}, "'json' must hold plain JSON values only"),
        ({"tensors": {}, "json": {1: "a"}}, "'json' must be a dictionary with names for keys"),
    ],
)
def test_a_state_that_no_checkpoint_can_hold_is_refused(state: dict[str, Any], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        session(stream(state=lambda self: state)).state()


def test_a_sys_exit_costs_the_sample_and_a_request_to_stop_is_passed_on() -> None:
    def leave(*words: Any, **named: Any) -> None:
        sys.exit(5)

    def stop(*words: Any, **named: Any) -> None:
        raise Interrupted

    with pytest.raises(ModelError, match=r"mine\.ask raised SystemExit: 5"):
        ask(stream(ask=leave))
    with pytest.raises(Interrupted):
        ask(stream(ask=stop))

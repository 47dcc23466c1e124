"""Training rows of `learnt-llava`: a stream in the session's own layout and questions that branch off it."""

from __future__ import annotations

__all__ = ["KINDS", "PARTS", "Branch", "Form", "Questions", "Row"]

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from tokenizers import Tokenizer

from evalkit.memory import Span
from evalkit.models.layout import ChatTokens, VisionBlock
from evalkit.models.llava_onevision import LlavaChatLayout
from evalkit_tasks.demo import COLOURS, POINTS, STREAM_RATES, VENUES, DemoMatch, Moment, Rates, line, make_match
from evalkit_tasks.longvideobench.prompts import official_prompt as longvideobench_prompt
from evalkit_tasks.ovobench import prompts as ovo
from evalkit_tasks.streamingbench import prompts as streaming
from evalkit_tasks.toy_qa.questions import ask
from evalkit_tasks.videomme.prompts import official_prompt as videomme_prompt
from learnt.chunks import RememberingText
from learnt.llava import GRID
from learnt.llava_vocabulary import ASKED, NEXT_GOAL, THINK, THOUGHT

KINDS: Final[dict[str, float]] = {
    "shown": 0.24,
    "venue": 0.18,
    "scorer": 0.12,
    "goals": 0.12,
    "score": 0.08,
    "next": 0.04,
    "before": 0.08,
    "never": 0.02,
    "count": 0.06,
    "step": 0.03,
    "enough": 0.03,
}
"""What is asked, and how often: the multiple choice kinds of the demos, then OVO-Bench's three others."""

PARTS: Final = ("none", *KINDS, "letter", "form")
"""What a learnt token is: the word of a kind of question, its letter, or what stands around them."""

_LETTERS: Final = "ABCD"
_STEPS: Final = ("foul", "corner", "save", "goal")
_NEVER: Final = "Unable to answer"
_EATEN: Final = ("an apple", "a sandwich", "a banana")
_BEFORE: Final = 10
_LONG_AGO: Final = 3
"""Seconds after a goal in which it is enough to say who scored."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a stream is shown.

    Args:
        stamped: Whether each second is announced by its time, as in streaming; official protocols and memories
            of frames do not.
        repeat: Frames a second shows.
        clip: Whether questions follow the token that ends a whole clip.
        shift: Media second at which the stream begins.
        cut: Share of the seconds that are cut in two by a question of somebody else.
    """

    stamped: bool = True
    repeat: int = 1
    clip: bool = False
    shift: int = 0
    cut: float = 0.0


@dataclass(frozen=True, slots=True)
class Branch:
    """A question, and what is to be said.

    Args:
        kind: Key of ``KINDS``.
        prompt: What is asked.
        word: What was seen, said before the letter; empty where the answer is said at once.
        answer: Letter, number, Yes or No.
    """

    kind: str
    prompt: str
    word: str
    answer: str


@dataclass(slots=True)
class Row:
    """One sequence to train on: a stream and branches, each of which sees the stream up to its place and itself.

    Args:
        ids: Token ids.
        positions: Their positions.
        branches: 0 for the stream, then the branch's number.
        limits: Tokens of the stream that a token sees, if it is of a branch.
        parts: Index into ``PARTS`` of what each token is to the one who learns; 0 is not learnt.
        shown: Seconds whose frames stand at the vision tokens, in order; ``None`` is the token that ends a clip.
    """

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    limits: list[int] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    shown: list[tuple[DemoMatch, Moment] | None] = field(default_factory=list)

    def add(self, ids: Sequence[int], *, branch: int, start: int, limit: int, parts: Sequence[int] = ()) -> int:
        """Append tokens of a branch at positions from ``start`` on; return the position after them."""
        count = len(ids)
        self.ids += ids
        self.positions += range(start, start + count)
        self.branches += [branch] * count
        self.limits += [limit] * count
        self.parts += parts or [0] * count
        return start + count


class Questions:
    """Draws rows of random matches.

    Args:
        tokenizer: The tokenizer.
        seed: Seed of the matches; the demo's seeds draw others.
    """

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        ids = tokenizer.token_to_id
        self._tokens = ChatTokens(ids("<|im_start|>"), ids("<|im_end|>"), ids("<video>"))
        self._text = RememberingText(tokenizer)
        self._layout = LlavaChatLayout(self._text, self._tokens)
        self._rng = np.random.default_rng([seed, 10])
        self._part = {name: index for index, name in enumerate(PARTS)}

    def draw(self, seconds: int, questions: int, rates: Rates, bare_share: float = 0.35) -> Row:
        """Return a row of a random match.

        Args:
            seconds: Length of the stream.
            questions: Branches.
            rates: How often what is seen.
            bare_share: Share of the streams without time stamps.
        """
        rng = self._rng
        start = 0 if rng.random() < 0.75 else int(rng.integers(1, 60))
        match = make_match(int(rng.integers(2**20, 2**40)), max(start + seconds, 20), rates)
        if rng.random() < bare_share:
            form = Form(stamped=False, repeat=2 if rng.random() < 0.15 else 1, clip=bool(rng.random() < 0.5))
        else:
            form = Form(shift=int(rng.integers(0, 500)) if rng.random() < 0.5 else 0, cut=0.08)
        # Most questions come late, where there is most to remember; the end is always asked about.
        latest = [seconds - 1, *(int(at) for at in rng.integers(max(seconds // 4, 1), seconds, questions - 1))]
        asked = [(start + at, self.branch(match, start + at, start=start), self._tenth(form)) for at in latest]
        return self.row(match, range(start, start + seconds), asked, form)

    def _tenth(self, form: Form) -> int:
        """Return the tenth of a second at which a question cuts its last second; 0 where it does not."""
        if not form.stamped or self._rng.random() < 0.5:
            return 0
        return 9 if self._rng.random() < 0.7 else int(self._rng.integers(1, 10))

    def row(self, match: DemoMatch, seconds: range, asked: Sequence[tuple[int, Branch, int]], form: Form) -> Row:
        """Return the row of a match with questions.

        Args:
            match: The match.
            seconds: Which are shown.
            asked: Last second shown, question, and the tenth at which it cuts that second (0: it does not).
            form: How the stream is shown.
        """
        row, ends, begins = Row(), [], []
        position = row.add(self._opening(), branch=0, start=0, limit=0)
        for moment in match.moments[seconds.start : seconds.stop]:
            begins.append(position)
            cut = int(self._rng.integers(1, 10)) if form.cut and self._rng.random() < form.cut else 0
            ids = self._second(moment.at + form.shift, form, cut)
            row.shown += [(match, moment)] * form.repeat
            position = row.add(ids, branch=0, start=position, limit=0)
            ends.append(position)
        for number, (at, branch, tenth) in enumerate(asked, start=1):
            limit = (begins if tenth else ends)[at - seconds.start]
            self._ask(row, number, branch, limit, match.moments[at], (match, tenth, form))
        return row

    def _ask(
        self, row: Row, number: int, branch: Branch, limit: int, moment: Moment, how: tuple[DemoMatch, int, Form]
    ) -> None:
        match, tenth, form = how
        add = functools.partial(row.add, branch=number, limit=limit)
        start = limit
        if tenth:  # the last second, cut by this question
            at = moment.at + form.shift
            ids = self._ids([self._layout.time(at, at + tenth / 10, 0), *self._frame()])
            start = add(ids, start=start)
            row.shown.append((match, moment))
        if form.clip:
            start = add([self._tokens.vision], start=start)
            row.shown.append(None)
        asked = self._ids([self._layout.query(branch.prompt, 0), *self._layout.reply_open(0)])
        start = add(asked, start=start)
        ids, parts = self._reply(branch)
        add(ids, start=start, parts=parts)

    def _reply(self, branch: Branch) -> tuple[list[int], list[int]]:
        encode, end = self._text.encode, self._tokens.turn_close
        shape, letter, word = (self._part[name] for name in ("form", "letter", branch.kind))
        [answer] = encode(branch.answer)
        if not branch.word:
            return [answer, end], [word, shape]
        ids = [*encode(THINK), *encode(f" {branch.word}"), *encode(THOUGHT), answer, end]
        assert len(ids) == 5, f"{branch.word!r} is not one token"
        return ids, [shape, word, shape, letter, shape]

    def _opening(self) -> list[int]:
        return self._ids([self._layout.system(), self._layout.user_open(None)])

    def _second(self, at: int, form: Form, cut: int) -> list[int]:
        if not form.stamped:
            return self._ids(self._frame() * form.repeat)
        time = self._layout.time
        if not cut:
            return self._ids([time(at, at + 1, 0), *self._frame()])
        return self._ids([time(at, at + cut / 10, 0), *self._frame(), time(at + cut / 10, at + 1, 0)])

    def _frame(self) -> list[Span]:
        return self._layout.vision(VisionBlock((1, GRID, GRID)), 0)

    @staticmethod
    def _ids(spans: Sequence[Span]) -> list[int]:
        return [int(i) for span in spans for i in span.ids]

    def branch(self, match: DemoMatch, at: int, kind: str | None = None, start: int = 0) -> Branch:
        """Return a question about a match.

        Args:
            match: The match.
            at: The last second shown.
            kind: Key of ``KINDS``; by default a random one that the stream can tell.
            start: The first second shown.
        """
        while kind is None:
            drawn = str(self._rng.choice(list(KINDS), p=list(KINDS.values())))
            kind = drawn if start == 0 or at - start >= self._reaches_back(drawn, match, at) else None
        moment = match.moments[at]
        if kind == "count":
            return Branch(kind, ovo.official_count("score a goal"), "", str(match.count("goal", at)))
        if kind == "step":
            step = moment.kind if moment.kind in _STEPS and self._rng.random() < 0.6 else self._pick(_STEPS)
            return Branch(kind, ovo.official_step(f"a {step}"), "", _yes(moment.kind == step))
        if kind == "enough":
            goal = match.latest("goal", at)
            recent = goal is not None and at - goal.at < _LONG_AGO
            return Branch(kind, ovo.official_enough(NEXT_GOAL), "", _yes(recent))
        text, gold, others = self._choice(kind, match, moment)
        order = self._rng.permutation(1 + len(others))
        options = [(gold, *others)[index] for index in order]
        return Branch(kind, self._prompt(text, options), gold, _LETTERS[options.index(gold)])

    @staticmethod
    def _reaches_back(kind: str, match: DemoMatch, at: int) -> float:
        """Return how many seconds before the last one must have been seen to know what is asked."""
        if kind == "scorer":
            goal = match.latest("goal", at)
            return math.inf if goal is None else at - goal.at
        return {"shown": 0, "step": 0, "never": 0, "enough": _LONG_AGO, "before": _BEFORE}.get(kind, math.inf)

    def _choice(self, kind: str, match: DemoMatch, moment: Moment) -> tuple[str, str, list[str]]:
        """Return text, right option and wrong ones, drawn so that nothing but the stream tells them apart."""
        if kind == "never":
            return ASKED["never"], _NEVER, list(_EATEN)
        asked = ask(kind, match, moment.at, 0)
        gold = asked.options[asked.gold]
        if kind == "scorer":
            return asked.text, gold, [option for option in (*COLOURS, "nobody yet") if option != gold]
        pool = {
            "venue": lambda: self._pick(VENUES),
            "score": self._score,
            "next": self._score,
            "goals": lambda: str(self._near(int(gold))),
            "shown": self._line,
            "before": self._line,
        }[kind]
        return asked.text, gold, self._others(pool, gold)

    def _others(self, pool: Callable[[], str], gold: str) -> list[str]:
        found: list[str] = []
        while len(found) < len(_LETTERS) - 1:
            option = pool()
            if option != gold and option not in found:
                found.append(option)
        return found

    def _near(self, count: int) -> int:
        return int(self._rng.integers(max(0, count - 3), count + 4))

    def _score(self) -> str:
        return f"{self._rng.integers(POINTS)}-{self._rng.integers(POINTS)}"

    def _line(self) -> str:
        match = make_match(int(self._rng.integers(2**20, 2**40)), 20, STREAM_RATES)
        return " ".join(line(match, match.moments[int(self._rng.integers(2, 20))]))

    def _pick(self, options: Sequence[str]) -> str:
        return options[int(self._rng.integers(len(options)))]

    def _prompt(self, text: str, options: Sequence[str]) -> str:
        lettered = [f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=False)]
        form = int(self._rng.integers(5)) if len(options) == len(_LETTERS) else 3 + int(self._rng.integers(2))
        if form == 0:
            first, second, third, fourth = (f"{option}." for option in lettered)
            return streaming.choice_prompt(text, (first, second, third, fourth))
        if form == 1:
            first, second, third, fourth = lettered
            return streaming.sqa_prompt("", text, (first, second, third, fourth))
        if form == 2:
            return videomme_prompt(text, lettered)
        return longvideobench_prompt(text, options) if form == 3 else ovo.official_choice(text, options)


def _yes(right: bool) -> str:
    return "Yes" if right else "No"

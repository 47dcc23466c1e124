"""The tokenizer of `learnt-llava`: what the demo's questions are made of is one token each, the rest bytes."""

from __future__ import annotations

__all__ = [
    "ASKED",
    "COUNT",
    "NEXT_GOAL",
    "QUESTION_OF",
    "SPECIAL",
    "STEPS",
    "THINK",
    "THOUGHT",
    "make_llava_tokenizer",
    "options",
    "phrases",
]

import re
from collections.abc import Iterator
from typing import Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from evalkit.models.layout import SYSTEM_PROMPT
from evalkit_tasks.demo import COLOURS, POINTS, THIRDS, VENUES
from evalkit_tasks.demo.speech import SCORERS
from evalkit_tasks.longvideobench.prompts import ANSWER_INSTRUCTION
from evalkit_tasks.ovobench import prompts as ovo
from evalkit_tasks.streamingbench import prompts as streaming
from evalkit_tasks.videomme import prompts as videomme

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>")
THINK, THOUGHT = "<think>", "</think>"
_MOST = 20
_SECONDS = 600
ASKED: Final[dict[str, str]] = {
    "shown": "What is shown right now?",
    "venue": "Which venue did the opening card show?",
    "scorer": "Which team scored last?",
    "goals": "How many goals have there been so far?",
    "score": "What is the score now?",
    "next": "Red scores next. What will the score be?",
    "before": "What was shown ten seconds ago?",
    "never": "What did the referee eat?",
}
"""The multiple choice questions of the demos by kind."""
QUESTION_OF: Final = {text: kind for kind, text in ASKED.items()}
COUNT: Final = "How many times did they score a goal?"
STEPS: Final = ("a foul", "a corner", "a save", "a goal")
NEXT_GOAL: Final = "Which team scores the next goal?"
"""What OVO-Bench's counts, steps and probes ask about."""


def lines() -> Iterator[str]:
    """Yield every line that can be said of a second."""
    for colour in COLOURS:
        for third in THIRDS:
            yield from (f"{event}{colour} {third}" for event in ("", "foul ", "corner ", "save "))
    scores = [f"{red} -{blue}" for red in range(POINTS) for blue in range(POINTS)]
    yield from (f"{call} {score}" for call in ("goal Red", "goal Blue", "score", "board") for score in scores)
    yield from (f"last {scorer}" for scorer in SCORERS)
    yield from (f"here {venue}" for venue in VENUES)


def options() -> Iterator[str]:
    """Yield every option of a question."""
    yield from lines()
    yield from (f"{red}-{blue}" for red in range(POINTS) for blue in range(POINTS))
    yield from VENUES
    yield from COLOURS
    yield from map(str, range(_MOST + 1))
    yield from ("nobody yet", "none of these", "it cannot be seen", "Unable to answer")
    yield from ("an apple", "a sandwich", "a banana", "nothing of this is shown")


def phrases() -> Iterator[str]:
    """Yield what is one token: options with the space before them, questions, and what prompts say around them."""
    yield from (f" {option}" for option in options())
    yield from ASKED.values()
    yield from (COUNT, "score a goal", *STEPS, NEXT_GOAL)
    yield from (
        "system \n",
        "user ",
        "assistant\n",
        "previous text \n",
        SYSTEM_PROMPT,
        THINK,
        THOUGHT,
        "Yes",
        "No",
    )
    yield from (f"{letter}." for letter in "ABCDE")
    templates = [ovo.BR_PROMPT, ovo.REC_PROMPT, ovo.SSR_PROMPT, ovo.CRR_PROMPT]
    templates += [streaming.CHOICE_PROMPT, streaming.SQA_PROMPT, streaming.CONTEXT_HEADER, streaming.CONTEXT_ENTRY]
    templates += [streaming.PROACTIVE_PROMPT, streaming.POLL_QUERY]
    for template in templates:
        yield from (piece for piece in template.split("{}") if len(piece) > 1)
    yield from (ANSWER_INSTRUCTION, "Question: ", videomme.OFFICIAL_INSTRUCTION, videomme.OFFICIAL_CUE)
    yield from (videomme.LMMS_INSTRUCTION, videomme.LMMS_POST)
    yield from ("Only give the best option.", "Options:")
    yield from (f"Time={at}.0-{at + 1}.0s" for at in range(_SECONDS))
    yield from ("Time=", ".0-", *(f".{tenth}s" for tenth in range(10)), *(f".{tenth}-" for tenth in range(1, 10)))
    yield from (str(number) for number in range(100))


def make_llava_tokenizer() -> Tokenizer:
    """Return the tokenizer: every phrase is one token, everything else its bytes."""
    known = list(dict.fromkeys(phrases()))
    longest_first = sorted(known, key=len, reverse=True)
    splitter = pre_tokenizers.Split(Regex("|".join([*map(re.escape, longest_first), "."])), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    vocabulary = {letter: index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for phrase in known:
        [(letters, _)] = byte_level.pre_tokenize_str(phrase)
        vocabulary.setdefault(letters, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([splitter, byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer

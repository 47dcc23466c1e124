"""Which seconds of a run are utterances: three ways in which a model may speak, never mixed in a table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

from evalkit.utterances.match import Utterance

if TYPE_CHECKING:
    from evalkit.records import AnswerRecord

__all__ = ["SPEAKING", "Speaking", "said_at", "utterances_of"]

Speaking = Literal["narrating", "decision-token", "polled"]

SPEAKING: Final[tuple[Speaking, ...]] = ("narrating", "decision-token", "polled")
"""``narrating``: each second has a reply, and one without a word is silence. ``decision-token``: each second has a
token that says whether to speak (``</Silence>``, ``</Response>``). ``polled``: at each second it is asked whether
it is time."""

_SILENT_TOKEN: Final = re.compile(r"<\s*/?\s*(?:silence|silent|standby)\s*/?\s*>", re.IGNORECASE)
_SPEAK_TOKEN: Final = re.compile(r"<\s*/?\s*(?:response|respond|speak)\s*/?\s*>", re.IGNORECASE)
_WORD: Final = re.compile(r"\w")


def said_at(text: str, speaking: Speaking) -> str | None:
    """Return what a second's reply says, ``None`` where it is silence.

    ``narrating``: a reply with a letter or digit; silence tokens are no words. ``decision-token``: what follows
    the last token that decides to speak; a reply without one is silence, whatever words it holds. ``polled``: a
    reply whose first word is yes.

    Args:
        text: The reply as it stands.
        speaking: How the model speaks.
    """
    if speaking == "polled":
        first = re.search(r"\w+", text)
        return text.strip() if first is not None and first[0].lower() == "yes" else None
    if speaking == "narrating":
        rest = _SILENT_TOKEN.sub("", text)
        return rest.strip() if _WORD.search(rest) else None
    tokens = list(_SPEAK_TOKEN.finditer(text))
    return text[tokens[-1].end() :].strip() if tokens else None


def utterances_of(records: Iterable[AnswerRecord], speaking: Speaking) -> list[Utterance]:
    """Return what one stream said, each at the end of its second, which is when its words can be out first.

    Every second with words is one utterance. Seconds that failed say nothing.

    Args:
        records: The stream's answers: narration, or polls.
        speaking: How the model speaks.
    """
    found = []
    for record in records:
        said = said_at(record.text, speaking) if record.status == "ok" else None
        if said is not None:
            found.append(Utterance(record.at, said))
    return sorted(found)

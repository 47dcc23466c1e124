"""The published rules for reading a Video-MME reply, against the tables of what they were seen to return."""

import pytest

from evalkit_tasks.longvideobench.extract import lmms_eval_letter as lvb_lmms_letter
from evalkit_tasks.videomme.extract import lmms_eval_letter, official_letter, vlmevalkit_letter

SEEN = [
    ("Based on the video, the answer is C", "B", "C"),
    ("Best option: D", "B", "D"),
    ("The answer is not A but B", "A", "B"),
    ("A man is seen; answer: C", "A", "A"),
    ("Cannot determine", "C", "C"),
    ("I cannot answer", "", ""),
    ("", "", ""),
    ("Based on the video, it is shown. The correct option is C.", "B", "C"),
    ("Actually it is D", "A", "D"),
    ("Cannot be determined from the video", "C", "C"),
    ("Answer: B", "B", "B"),
    ("A man throws the ball, so the answer is C.", "A", "A"),
    ("Best answer: C", "B", "C"),
    ("The best option is D", "D", "D"),
]


@pytest.mark.parametrize(("reply", "official", "lmms"), SEEN)
def test_each_rule_reads_a_reply_as_the_published_code_was_seen_to(reply, official, lmms):
    assert official_letter(reply) == official
    assert vlmevalkit_letter(reply) == official
    assert lmms_eval_letter(reply) == lmms


def test_two_missing_commas_keep_four_prefixes_from_being_deleted():
    assert official_letter("Best answer: D") == "B"
    assert official_letter("The best option isThe correct option is D") == "D"


def test_the_official_rule_deletes_two_prefixes_more_than_vlmevalkit():
    assert official_letter("The correct option: none") == vlmevalkit_letter("The correct option: none") == ""
    assert official_letter("The correct answer: C") == "C"


@pytest.mark.parametrize("reply", [".", "...", "'\"", "   ", "?!"])
def test_lmms_eval_reads_nothing_in_punctuation(reply):
    assert lmms_eval_letter(reply) == ""


def test_lmms_eval_prefers_the_better_marked_letter_and_the_last_among_equals():
    assert lmms_eval_letter("(A) is wrong, (C) fits") == "C"
    assert lmms_eval_letter("A. red, (B) blue things") == "A"
    assert lmms_eval_letter("it may be B. or D) perhaps") == "B"


def test_longvideobench_rule_deletes_all_prefixes_and_knows_five_letters():
    assert lvb_lmms_letter("Best option: E") == "E"
    assert lvb_lmms_letter("The best option is D") == "D"
    assert lvb_lmms_letter("not sure") == ""

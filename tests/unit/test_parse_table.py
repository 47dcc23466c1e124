"""What each parser makes of replies that models give, string by string."""

from __future__ import annotations

import time

import pytest

from evalkit.parse import Parsed, Unparsed, letters_for, parse, parse_choice, parse_count, parse_open, parse_yes_no

LETTERS = "ABCD"

SAME_STRING_FOUR_ANSWERS = [
    ("Based on the video, … The correct option is C.", "C"),
    ("Actually it is D", "D"),
    ("Cannot be determined from the video", None),
    ("Answer: B", "B"),
    ("A man throws the ball, so the answer is C.", "C"),
    ("Best answer: C", "C"),
    ("The best option is D", "D"),
    ("", None),
]
"""Strings on which published parsers disagree; ``None`` is unparsed."""

CHOICES = [
    # One letter.
    ("A", "A"),
    (" C", "C"),
    ("C.", "C"),
    ("(C)", "C"),
    ("[C]", "C"),
    ("{B}", "B"),
    ("<D>", "D"),
    ('"D"', "D"),
    ("'D'", "D"),
    ("“D”", "D"),
    ("**C**", "C"),
    ("__C__", "C"),
    ("`C`", "C"),
    ("$C$", "C"),
    ("c", "C"),
    ("(b).", "B"),
    ("C:", "C"),
    ("C)", "C"),
    ("C!", "C"),
    ("\n\nB\n", "B"),
    ("E", None),
    ("Z.", None),
    ("AB", None),
    ("?", None),
    ("1", None),
    # Tags.
    ("<answer>C</answer>", "C"),
    ("<answer>(C)</answer>", "C"),
    ("The ball is red. <answer> B </answer>", "B"),
    ("<answer>A</answer><answer>B</answer>", None),
    (r"\boxed{C}", "C"),
    (r"\boxed{\text{D}}", "D"),
    (r"So it must be \boxed{A}.", "A"),
    ("<think>It could be A or B.</think>B", "B"),
    ("<think>The answer is A.</think>\nThe answer is C.", "C"),
    ("<think>The answer is A", None),
    ("<think>The answer is A.</think>", None),
    # Statements.
    ("The answer is B", "B"),
    ("The answer is B.", "B"),
    ("the answer is: B", "B"),
    ("The answer is (B).", "B"),
    ("The answer is **B**.", "B"),
    ("The correct answer is option B.", "B"),
    ("The correct option is: D", "D"),
    ("Correct answer: A", "A"),
    ("Answer: A", "A"),
    ("answer：C", "C"),
    ("ANSWER: C", "C"),
    ("Answer = C", "C"),
    ("My answer would be D.", "D"),
    ("The answer should be A.", "A"),
    ("The answer must be A!", "A"),
    ("The right choice is C", "C"),
    ("Option C is correct.", "C"),
    ("C is correct.", "C"),
    ("C is the correct answer", "C"),
    ("(C) is the best option.", "C"),
    ("C is the most appropriate choice.", "C"),
    ("I choose C.", "C"),
    ("I would pick B", "B"),
    ("I'd go with option D.", "D"),
    ("We select A.", "A"),
    ("It is C.", "C"),
    ("So it's B", "B"),
    ("The answer is B because the man is running.", "B"),
    ("The answer is A because the man is running.", "A"),
    ("The answer is A, since the ball is red.", "A"),
    ("The answer is A.\nThe man is running.", "A"),
    ("The answer is B, not A.", "B"),
    ("The answer is B. I am sure the answer is B.", "B"),
    ("It is not raining, so the answer is C.", "C"),
    ("Not sure, but the answer is C.", "C"),
    ("Maybe. The answer is C.", "C"),
    ("Final answer: C", "C"),
    ("The answer is B. Wait. Final answer: C", "C"),
    ("The final choice is D.", "D"),
    ("The question asks for a colour. The answer is D", "D"),
    ("Answer:\nB", "B"),
    ("Answer: (B) the red ball", "B"),
    # A letter as an option is written.
    ("C. the red ball", "C"),
    ("C) the red ball", "C"),
    ("(C) the red ball", "C"),
    ("C: the red ball", "C"),
    ("C - the red ball", "C"),
    ("C – the red ball", "C"),
    ("C\nThe ball is red.", "C"),
    ("C.the red ball", "C"),
    ("Option C: the red ball", "C"),
    ("A. a man", "A"),
    ("B. The answer is B.", "B"),
    # Articles and words.
    ("A man throws the ball.", None),
    ("A", "A"),
    ("A ball", None),
    ("The answer is A man.", None),
    ("The answer is a ball.", None),
    ("I see a dog.", None),
    ("I choose a dog.", None),
    ("A.M. is the time shown.", None),
    ("Dog", None),
    ("Because", None),
    ("Both are possible.", None),
    ("None of the above", None),
    ("Yes", None),
    ("Option", None),
    ("The options are unclear.", None),
    ("Vitamin C", None),
    ("Team B scores.", None),
    ("The sign says B.", None),
    ("D-Day was in 1944", None),
    ("He plays in C major", None),
    ("Sorry, I cannot answer.", None),
    ("I don't know", None),
    ("As an AI model I can't see videos.", None),
    ("答案是", None),
    ("🙂", None),
    # Contradictions, several letters, denials.
    ("A or B", None),
    ("A and B", None),
    ("A, B", None),
    ("A/B", None),
    ("A B C D", None),
    ("A, B, C, D", None),
    ("not A but B", None),
    ("not C", None),
    ("The answer is not C.", None),
    ("The answer isn't C.", None),
    ("The answer is not A but B.", None),
    ("The answer is A or B.", None),
    ("The answer is B or C", None),
    ("The answer is B and C.", None),
    ("The answer is B/C.", None),
    ("The answer is B, C.", None),
    ("The answer is either A or B.", None),
    ("Either the answer is A or it is B.", None),
    ("The answer is A. The answer is B.", None),
    ("The answer is B. Actually it is C", None),
    ("Answer: A\nAnswer: B", None),
    ("Final answer: A. Final answer: B", None),
    ("Neither A nor B is correct.", None),
    ("A or C is correct.", None),
    ("I don't think the answer is C.", None),
    ("I doubt the answer is C.", None),
    ("If the ball is red the answer is C.", None),
    ("Maybe the answer is C.", None),
    ("Perhaps the answer is C.", None),
    ("I am not sure whether the answer is C.", None),
    ("The answer is C?", None),
    ("Is the answer C?", None),
    ("A. red\nB. blue\nC. green\nD. white", None),
    ("A. red B. blue", None),
    ("A. red. The answer is B.", None),
    ("C. The correct option is D.", None),
    ("The answer is E.", None),
    ("E. none", None),
]

COUNTS = [
    ("3", "3"),
    (" 3", "3"),
    ("3.", "3"),
    ("03", "3"),
    ("0", "0"),
    ("00", "0"),
    ("10", "10"),
    ('"4"', "4"),
    ("(4)", "4"),
    ("**4**", "4"),
    ("4\n", "4"),
    ("three", "3"),
    ("Three.", "3"),
    ("zero", "0"),
    ("twelve", "12"),
    ("two times", "2"),
    ("3 times", "3"),
    ("They did it 3 times.", "3"),
    ("The answer is 3.", "3"),
    ("The answer is: 3", "3"),
    ("Answer: 7", "7"),
    ("Total: 7", "7"),
    ("count = 7", "7"),
    ("The total number is 7", "7"),
    ("The person jumps at 2 and 5, so the total is 2.", "2"),
    ("<answer>5</answer>", "5"),
    (r"\boxed{5}", "5"),
    ("<think>1, 2, 3</think>3", "3"),
    ("", None),
    ("none", None),
    ("no", None),
    ("many", None),
    ("I don't know", None),
    ("1 to 2", None),
    ("1-2", None),
    ("1 – 2", None),
    ("2 or 3", None),
    ("2, 3", None),
    ("1 2 3", None),
    ("2.5", None),
    ("1/2", None),
    ("-1", None),
    ("3+", None),
    ("~3", None),
    ("about 3", None),
    ("at least 3", None),
    ("more than 3", None),
    ("3 or more", None),
    ("not 3", None),
    ("50%", None),
    ("3x", None),
    ("B2", None),
    ("0:35", None),
    ("At 12 s they had done it 3 times.", None),
    ("The answer is 2. The answer is 3.", None),
    ("Answer: 2 or 3", None),
    ("9" * 30, None),
    ("three or four", None),
    ("twentyone", None),
]

YES_NO = [
    ("Yes", "Yes"),
    ("No", "No"),
    ("yes", "Yes"),
    ("NO", "No"),
    (" Yes", "Yes"),
    ("Yes.", "Yes"),
    ("“No”", "No"),
    ('"No".', "No"),
    ("**Yes**", "Yes"),
    ("Y", "Yes"),
    ("n", "No"),
    ("Yes!", "Yes"),
    ("Yes, the man is cooking.", "Yes"),
    ("No, the man is not cooking.", "No"),
    ("No. He is reading.", "No"),
    ("No\nHe is reading.", "No"),
    ("Yes - he is.", "Yes"),
    ("Yes: he is.", "Yes"),
    ("Yes, there is no doubt.", "Yes"),
    ("The answer is yes.", "Yes"),
    ("The answer is no", "No"),
    ("Answer: No", "No"),
    ("<answer>Yes</answer>", "Yes"),
    (r"\boxed{No}", "No"),
    ("<think>Yes, no</think>No", "No"),
    ("", None),
    ("Maybe", None),
    ("No one is cooking.", None),
    ("Not yet", None),
    ("Nothing happens", None),
    ("Yesterday", None),
    ("Yes and no", None),
    ("Yes or No", None),
    ("Yes/No", None),
    ("Yes. No.", None),
    ("No, yes.", None),
    ("Yes, the answer is no.", None),
    ("The answer is yes or no.", None),
    ("The answer is not yes.", None),
    ("I don't know if the answer is yes.", None),
    ("The man is cooking.", None),
    ("I would say yes", None),
    ("True", None),
    ("1", None),
    ("Yes the man is cooking", None),
    ("No he is not", None),
]


def value(found: Parsed | Unparsed) -> str | None:
    return found.value if isinstance(found, Parsed) else None


@pytest.mark.parametrize(("text", "wanted"), SAME_STRING_FOUR_ANSWERS + CHOICES)
def test_choice_reply_is_read_as_the_letter_it_states_or_not_at_all(text: str, wanted: str | None) -> None:
    assert value(parse_choice(text, LETTERS)) == wanted


@pytest.mark.parametrize(("text", "wanted"), COUNTS)
def test_count_reply_is_read_as_the_one_number_it_states_or_not_at_all(text: str, wanted: str | None) -> None:
    assert value(parse_count(text)) == wanted


@pytest.mark.parametrize(("text", "wanted"), YES_NO)
def test_yes_no_reply_is_read_as_the_word_it_states_or_not_at_all(text: str, wanted: str | None) -> None:
    assert value(parse_yes_no(text)) == wanted


def test_the_tables_hold_more_than_two_hundred_strings() -> None:
    assert len({text for text, _ in SAME_STRING_FOUR_ANSWERS}) == 8
    assert (
        len(
            {("choice", t) for t, _ in CHOICES} | {("count", t) for t, _ in COUNTS} | {("y", t) for t, _ in YES_NO}
        )
        >= 200
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("C", "letter"),
        ("<answer>C</answer>", "answer-tag"),
        ("Final answer: C", "final-answer"),
        ("The answer is C", "statement"),
        ("C. red", "leading-letter"),
    ],
)
def test_the_rule_that_read_a_choice_is_named(text: str, rule: str) -> None:
    assert parse_choice(text, LETTERS) == Parsed("C", rule)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  ", "empty"),
        ("A. x\nB. y", "ambiguous"),
        ("The answer is A or B.", "ambiguous"),
        ("E", "not-an-option"),
        ("I see a dog", "no-statement"),
        ("<think>hm", "unfinished-thinking"),
        ("x" * 200_000, "too-long"),
    ],
)
def test_an_unread_choice_gives_its_reason(text: str, reason: str) -> None:
    found = parse_choice(text, LETTERS)
    assert isinstance(found, Unparsed)
    assert found.reason.startswith(reason + ":")


def test_an_options_own_text_is_read_as_its_letter_only_where_one_option_has_it() -> None:
    options = ("A. a red ball", "B. a blue ball", "C. a dog", "D. a dog")
    assert parse("choice", "A blue ball.", options) == Parsed("B", "option-text")
    assert isinstance(parse("choice", "a dog", options), Unparsed)
    assert isinstance(parse("choice", "a blue ball"), Unparsed)


def test_parse_goes_to_the_parser_of_the_kind() -> None:
    assert parse("count", "3 times") == Parsed("3", "only-number")
    assert parse("yes-no", "no") == parse("proactive", "no") == Parsed("No", "word")
    assert parse("open", " a **red** ball ") == parse_open("a red ball") == Parsed("a red ball", "text")
    with pytest.raises(ValueError, match="no parser for answers of kind 'letter'"):
        parse("letter", "C")


def test_letters_follow_the_number_of_options() -> None:
    assert letters_for(("x", "y", "z")) == "ABC"
    assert letters_for(()) == "ABCDE"


@pytest.mark.parametrize("kind", ["choice", "count", "yes-no", "open"])
@pytest.mark.parametrize(
    "unit", ["x", "answer is ", "A. ", "it is ", "3 ", "final answer is B ", "yes, ", " ", "\n", "("]
)
def test_a_reply_of_a_megabyte_is_read_in_milliseconds(kind: str, unit: str) -> None:
    text = (unit * (1_000_000 // len(unit) + 1))[:1_000_000]
    began = time.perf_counter()
    parse(kind, text, ("a", "b", "c", "d"))
    assert time.perf_counter() - began < 0.1


@pytest.mark.parametrize(
    "unit", ["x", "answer is ", "A. ", "it is ", "3 ", "final answer is B ", "yes, ", "the answer is B, ", "a "]
)
def test_the_longest_reply_that_is_read_takes_time_in_proportion_to_its_length(unit: str) -> None:
    text = (unit * 32_768)[:32_768]
    began = time.perf_counter()
    for kind in ("choice", "count", "yes-no", "open"):
        parse(kind, text, ("a", "b", "c", "d"))
    assert time.perf_counter() - began < 0.5

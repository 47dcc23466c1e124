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
    ("It is red, so the answer is A. No, blue.\n</think>\n\nB", "B"),
    ("Perhaps the answer is A.\n</think>\n\nThe answer is B.", "B"),
    ("</think>B", "B"),
    ("A</think>", None),
    ("<think>A</think>B</think>C", "C"),
    ("B <think>or is it A", None),
    ("◁think▷The answer is A.◁/think▷B", "B"),
    ("[THINK]The answer is A.[/THINK]B", "B"),
    ("<think>" + "The answer is A. " * 4000 + "</think>B", "B"),
    ("<answer>B. the red ball</answer>", "B"),
    ("<think>It is red.</think>\n<answer>B. the red ball</answer>", "B"),
    ("<answer>(B) the red ball</answer>", "B"),
    ("<answer>\nB\n</answer>", "B"),
    ("<answer>'B'</answer>", "B"),
    ("<answer>**B**</answer>", "B"),
    ("<answer>Option B</answer>", "B"),
    ("<answer>The answer is B.</answer>", "B"),
    ("<ANSWER>B</ANSWER>", "B"),
    ("<final_answer>B</final_answer>", "B"),
    ("It moves left. <answer>B", "B"),
    ("<|begin_of_box|>B<|end_of_box|>", "B"),
    ("The answer is A. <answer>B</answer>", "B"),
    ("<answer></answer> B is correct.", "B"),
    ("<answer>A or B</answer>", None),
    ("The answer is C. <answer>A or B</answer>", None),
    ("<answer>A, B</answer>", None),
    ("<answer>A man</answer>", None),
    ("<answer>A. red, B. blue</answer>", None),
    ("<answer>not B</answer>", None),
    (r"\boxed{B. the red ball}", "B"),
    (r"\boxed{B: the red ball}", "B"),
    (r"\boxed{B.}", "B"),
    (r"\boxed{(B)}", "B"),
    (r"\boxed{\text{B. the red ball}}", "B"),
    (r"$\boxed{\mathbf{B}}$", "B"),
    (r"\[\boxed{B}\]", "B"),
    (r"\boxed{A man}", None),
    (r"\boxed{A} or \boxed{B}", None),
    (r"\boxed{3} balls, so \boxed{B}", "B"),
    (r"\boxed{A", None),
    ('{"answer": "B"}', "B"),
    ('```json\n{"answer": "B"}\n```', "B"),
    ('{"reason": "The answer is not A.", "answer": "B. the red ball"}', "B"),
    ("{'final_answer': 'B'}", "B"),
    ('{"answer": ["B"]}', "B"),
    ('{"answer": ["A", "B"]}', None),
    ('{"answer": null}', None),
    ('{"answer": "A man"}', None),
    # Statements.
    ("The answer is 'B'.", "B"),
    ("The answer is ‘B’.", "B"),
    ("Final answer: 'B'", "B"),
    ("I choose 'B'.", "B"),
    ("'B' is correct.", "B"),
    ("It is 'B'.", "B"),
    (r"The answer is \(B\).", "B"),
    (r"\(B\)", "B"),
    (r"\[B\]", "B"),
    (r"The answer is $\text{B}$.", "B"),
    ("The answer is A's brother.", None),
    ("The answer is ‘A’s.", None),
    ("The answer is 'A' or 'B'.", None),
    ("The answer is 'A man'.", None),
    ("Is the answer 'B'?", None),
    ("The answer is 'B'?", None),
    ("答案：B", "B"),
    ("答案是B。", "B"),
    ("正确答案为：（B）", "B"),
    ("答案：Ｂ", "B"),
    ("B。", "B"),
    ("我选B", "B"),
    ("选择 B。", "B"),
    ("B、红色的球", None),
    ("B：红色的球", "B"),
    ("答案不是B", None),
    ("不选B", None),
    ("如果球是红的答案是B", None),
    ("答案是A或B", None),
    ("答案是B吗？", None),
    ("选项B是错的", None),
    ("The ball is red.\nThen it is blue.\n\nB", "B"),
    ("The ball is red.\n\n(B)", "B"),
    ("The ball is red.\n**B**.", "B"),
    ("The answer is B.\n\nB", "B"),
    ("The answer is A.\n\nB", None),
    ("A. red\n\nB", None),
    ("A\nB\nC\nD", None),
    ("It is not\nA", None),
    ("Either\nA\nor\nB", None),
    ("A,\nB", None),
    ("The ball is red\nb", None),
    ("A. red\nB. blue\nC. green\nD. white\nThe answer is C", "C"),
    ("(A) red (B) blue (C) green. The answer is (C).", "C"),
    ("A. red: no.\nB. blue: yes.\nThe answer is B. blue", "B"),
    ("A. red\nB. blue\nC. green\n\nC", "C"),
    ("A. red\nB. blue\nThe answer is A or B.", None),
    ("C. green, since A. red is wrong. The answer is D.", None),
    ('"B. the red ball"', "B"),
    ("'B. the red ball'", "B"),
    ("“B”: the red ball", "B"),
    ("Option B", "B"),
    ("(Option B)", "B"),
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
    ("One, two, five. The answer is 5. No, some are double.\n</think>\n\n3", "3"),
    ("<answer>3 times</answer>", "3"),
    ("<answer>three</answer>", "3"),
    ("<ANSWER>3.</ANSWER>", "3"),
    (r"\boxed{\text{3}}", "3"),
    (r"\(3\)", "3"),
    (r"The answer is \(3\).", "3"),
    ("The answer is '3'.", "3"),
    ('{"answer": 3}', "3"),
    ('{"answer": "3"}', "3"),
    ("答案：3", "3"),
    ("３。", "3"),
    ("He jumps at 2 s and at 5 s.\n\n3", "3"),
    ("1\n2\n3", None),
    ("The answer is 2.\n3", None),
    ("2 or\n3", None),
    ("<answer>2 or 3</answer>", None),
    (r"\boxed{2} \boxed{3}", None),
    ('{"answer": 2.5}', None),
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
    ("The answer is yes. But then he sits down.\n</think>\n\nNo", "No"),
    ("<answer>Yes, he does.</answer>", "Yes"),
    ("<ANSWER>no</ANSWER>", "No"),
    (r"\boxed{\text{Yes}}", "Yes"),
    (r"\(\text{No}\)", "No"),
    ("The answer is 'Yes'.", "Yes"),
    ("'Yes'", "Yes"),
    ("No。", "No"),
    ("答案：Yes", "Yes"),
    ('{"answer": "No"}', "No"),
    ("He sits down.\n\nNo", "No"),
    ("Yes, he does.\nNo", None),
    ("He does. Yes.\n\nNo", None),
    ("Yes\nNo", None),
    ("<answer>Yes or No</answer>", None),
    ('{"answer": true}', None),
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
        (r"\boxed{C. red}", "answer-tag"),
        ('{"answer": "C"}', "answer-field"),
        ("It is red.\nC", "last-line"),
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


def test_an_options_text_is_read_in_a_tag_and_after_thinking_as_it_is_alone() -> None:
    options = ("A. Gene activation by Vitamin D.", "B. a blue ball", "C. a dog", "D. A and B")
    assert parse("choice", "no dog</think>a blue ball", options) == Parsed("B", "option-text")
    assert parse("choice", "<answer>a blue ball</answer>", options) == Parsed("B", "option-text")
    assert parse("choice", r"\boxed{\text{a dog}}", options) == Parsed("C", "option-text")
    assert parse("choice", "C</think>\nA. Gene activation by Vitamin D.", options).value == "A"
    assert parse("choice", "<answer>D. A and B</answer>", options) == Parsed("D", "verbatim-option")
    assert isinstance(parse("choice", "<answer>a dog</answer><answer>a blue ball</answer>", options), Unparsed)


def test_open_text_keeps_its_quotes_and_full_width_letters() -> None:
    assert parse_open("no</think> **“是。”** ") == Parsed("“是。”", "text")


def test_parse_goes_to_the_parser_of_the_kind() -> None:
    assert parse("count", "3 times") == Parsed("3", "only-number")
    assert parse("yes-no", "no") == parse("proactive", "no") == Parsed("No", "word")
    assert parse("open", " a **red** ball ") == parse_open("a red ball") == Parsed("a red ball", "text")
    with pytest.raises(ValueError, match="no parser for answers of kind 'letter'"):
        parse("letter", "C")


def test_letters_follow_the_number_of_options() -> None:
    assert letters_for(("x", "y", "z")) == "ABC"
    assert letters_for(()) == "ABCDE"


def cost(kind: str, text: str) -> float:
    """Return the CPU seconds of reading a reply, the least of three times."""
    spent = []
    for _ in range(3):
        began = time.process_time()
        parse(kind, text, ("a", "b", "c", "d"))
        spent.append(time.process_time() - began)
    return max(min(spent), 1e-4)


@pytest.mark.parametrize("kind", ["choice", "count", "yes-no", "open"])
@pytest.mark.parametrize(
    "unit",
    [
        *(
            "x",
            "answer is ",
            "A. ",
            "it is ",
            "3 ",
            "final answer is B ",
            "yes, ",
            "the answer is B, ",
            "a ",
            " ",
            "\n",
        ),
        *("(", "<answer>", "\\boxed{", '"answer":"', "A\n", "选B", "B is correct ", "<think>", "</think>"),
    ],
)
def test_reading_a_reply_eight_times_as_long_costs_in_proportion(kind: str, unit: str) -> None:
    short, long = ((unit * (n // len(unit) + 1))[:n] for n in (4_096, 32_768))
    assert cost(kind, long) < 30 * cost(kind, short)


@pytest.mark.parametrize("unit", ["x", "(", "<answer>", "</think>"])
def test_refusing_a_reply_of_a_megabyte_costs_no_more_than_in_proportion(unit: str) -> None:
    short, long = ((unit * (n // len(unit) + 1))[:n] for n in (125_000, 1_000_000))
    assert cost("choice", long) < 30 * cost("choice", short)

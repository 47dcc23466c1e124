"""A made-up benchmark: questions on made-up matches, in the published layouts of the question benchmarks.

It is what ``--data demo`` stands for in each of them, so that loaders, protocols and scorers run end to end
without a download. Figures on it say nothing about a model.
"""

from evalkit_tasks.toy_qa.layouts import LAYOUTS, make_toy
from evalkit_tasks.toy_qa.questions import ToyQuestion, multiple_choice, spoken_lines, whole_match_questions
from evalkit_tasks.toy_qa.videos import Toy, place_video

__all__ = [
    "LAYOUTS",
    "Toy",
    "ToyQuestion",
    "make_toy",
    "multiple_choice",
    "place_video",
    "spoken_lines",
    "whole_match_questions",
]

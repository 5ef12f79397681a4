"""The corpus that ships with the package: small talk with goals on every line and revealed facts on every reply."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from importlib import resources

from convogym.dialogue import Dialogue
from convogym.errors import UnknownNameError
from convogym.readers import read_steered_talk

# Written later, to be trained on too: "more", in plainer words; "asked", in which nearly every question finds its fact;
# "near", in which facts lie near each other; "plain", whose lines say plainly what they are after; "oblique", whose questions
# take a step of thought; "turned", which is "train" with half of its lines for other goals, for lines alone to be learnt from.
SPLITS = ("train", "more", "asked", "near", "plain", "oblique", "turned", "dev")

# In the order of the corpus's README. For teaching experiments; the shipped model is not taught them as goals.
EXTRA_GOALS: tuple[str, ...] = (
    "talk about sports.",
    "ask about where they live.",
    "talk about books.",
    "talk about cooking.",
    "ask about school.",
    "talk about video games.",
    "ask about parents and siblings.",
    "talk about the weather.",
    "ask about plans for the weekend.",
    "talk about cars.",
)


def load(split: str) -> list[Dialogue]:
    """The dialogues of a split, every turn labelled with goals (published and extra ones) and facts.

    Args:
        split: one of `SPLITS`; never train on dev.

    Raises:
        UnknownNameError: no such split.
    """
    if split not in SPLITS:
        raise UnknownNameError("split", split, SPLITS)
    with resources.as_file(resources.files("convogym").joinpath("data", "steered_talk", f"{split}.jsonl")) as path:
        return read_steered_talk(path)


def without_extra_goals(dialogues: Iterable[Dialogue]) -> list[Dialogue]:
    """The dialogues without `EXTRA_GOALS` in their labels: a line that carried out nothing else becomes an unsteered one."""
    return [
        dataclasses.replace(
            dialogue,
            turns=tuple(
                turn
                if turn.goals is None
                else dataclasses.replace(turn, goals=tuple(goal for goal in turn.goals if goal not in EXTRA_GOALS))
                for turn in dialogue.turns
            ),
        )
        for dialogue in dialogues
    ]

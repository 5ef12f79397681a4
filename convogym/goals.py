"""The turn-level goals: their texts, integer codes and aliases. Knows nothing of models, environments or files.

A *goal* is a text ("ask about pets."), an *action* its integer code. The first eleven are those of the published PersonaGPT
(`interact.py`, model card), in its order; taught goals get codes 11, 12, ...
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from convogym.errors import InputError, UnknownNameError

PUBLISHED_GOALS: tuple[str, ...] = (
    "ask about kids.",
    "ask about pets.",
    "talk about work.",
    "ask about marital status.",
    "talk about travel.",
    "ask about age and gender.",
    "ask about hobbies.",
    "ask about favorite food.",
    "talk about movies.",
    "talk about music.",
    "talk about politics.",
)

# Wordings of the README table of PersonaGPT and of the original convogym; the model was trained on PUBLISHED_GOALS.
PUBLISHED_ALIASES: Mapping[str, str] = {
    "ask about family.": "ask about kids.",
    "talk about traveling.": "talk about travel.",
    "talk about hobbies.": "ask about hobbies.",
    "talk about food.": "ask about favorite food.",
    "ask about food.": "ask about favorite food.",
}

MAX_GOAL_CHARS = 80  # a goal is a short imperative; longer text is a mistake


def _plain(goal: str) -> str:
    return goal.strip().lower().rstrip(".")


@dataclass(frozen=True)
class GoalSet:
    """An ordered set of goals; the position of a goal is its action code."""

    goals: tuple[str, ...] = PUBLISHED_GOALS
    """the goal texts, each non-empty, all distinct"""
    aliases: Mapping[str, str] = field(default_factory=lambda: dict(PUBLISHED_ALIASES))
    """other wordings, each naming one of `goals`"""

    def __post_init__(self) -> None:
        """Checks the texts, their distinctness and the aliases' targets."""
        if not self.goals:
            raise InputError("`goals` must hold at least one goal, got none.")
        for goal in self.goals:
            if not goal.strip() or len(goal) > MAX_GOAL_CHARS or "\n" in goal or "<|" in goal:
                raise InputError(f"a goal must be one line of 1..{MAX_GOAL_CHARS} characters without '<|', got {goal!r}.")
        if len(set(self.goals)) != len(self.goals):
            raise InputError(f"`goals` must be distinct, got {list(self.goals)}.")
        for alias, goal in self.aliases.items():
            if goal not in self.goals:
                raise InputError(f"alias {alias!r} names {goal!r}, which is not a goal of this set.")

    def __len__(self) -> int:
        """The number of goals, which is the size of the action space."""
        return len(self.goals)

    def text(self, action: int) -> str:
        """The goal of an action code in `0..len(self) - 1`; raises `InputError` outside it."""
        if not 0 <= action < len(self.goals):
            raise InputError(f"`action` must be in 0..{len(self.goals) - 1}, got {action}.")
        return self.goals[action]

    def code(self, goal: str) -> int:
        """The action code of a goal's text or alias; case and a missing full stop are forgiven."""
        names = {_plain(name): i for i, name in enumerate(self.goals)}
        names |= {_plain(alias): self.goals.index(name) for alias, name in self.aliases.items() if _plain(alias) not in names}
        if _plain(goal) not in names:
            raise UnknownNameError("goal", goal, self.goals)
        return names[_plain(goal)]

    def __contains__(self, goal: object) -> bool:
        """Whether a text is one of the goals, literally (aliases do not count)."""
        return goal in self.goals

    def extended(self, *goals: str) -> GoalSet:
        """This set with more goals at its end; the codes of the old ones stay."""
        return GoalSet(self.goals + goals, self.aliases)


DEFAULT_GOALS = GoalSet()

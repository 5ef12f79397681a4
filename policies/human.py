"""A person at the terminal picks the goals. Knows how to show goals and understand answers, not who talks or how.

What it reads and writes through is passed in, so that a pipe, a test or another front end can stand in for the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError, UnknownNameError
from convogym.goals import DEFAULT_GOALS, GoalSet
from convogym.policies.base import Actions, Flags, Masks, PolicyLeft, State, allowed_actions


def write_to_stdout(text: str) -> None:
    """Writes a line to whatever standard output is at the time, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def understand_goal(answer: str, goals: GoalSet, allowed: Sequence[int]) -> int:
    """The action a person meant.

    Args:
        answer: an action code, a goal's text or alias, or the beginning of either ("pets" alone is fine too: the opening
            "ask about" or "talk about" may be left out); case does not matter.
        goals: the goals to choose from.
        allowed: the action codes that may be taken now.

    Raises:
        InputError: the answer names no goal, more than one, or one that is not allowed; the message says what is expected.
    """
    said = " ".join(answer.lower().split()).rstrip(".")
    if not said:
        raise InputError("type the number or the first letters of a goal.")
    if said.lstrip("+-").isdecimal() and said.isascii():
        if len(said) > 9 or not 0 <= int(said) < len(goals):
            raise InputError(f"there is no goal {said[:9]}: the numbers go from 0 to {len(goals) - 1}.")
        meant = {int(said)}
    else:
        meant = _named(said, goals)
    if not meant:
        raise InputError(
            f"no goal is called {answer.strip()[:40]!r}: type a number from 0 to {len(goals) - 1}, or a goal's first letters."
        )
    if len(meant) > 1:
        raise InputError(
            f"{answer.strip()[:40]!r} could be {' or '.join(repr(goals.text(code)) for code in sorted(meant))}: type more."
        )
    (action,) = meant
    if action not in allowed:
        raise InputError(f"{goals.text(action)!r} cannot be chosen now; choose one of {', '.join(map(str, allowed))}.")
    return action


def _named(said: str, goals: GoalSet) -> set[int]:
    """Codes of the goals that a lower-case text names, wholly if there is such a goal, else as a beginning."""
    try:
        return {goals.code(said)}
    except UnknownNameError:
        pass
    wordings = {text.lower(): code for code, text in enumerate(goals.goals)}
    wordings |= {alias.lower(): goals.code(target) for alias, target in goals.aliases.items()}
    short = {wording.partition(" about ")[2]: code for wording, code in wordings.items() if " about " in wording}
    exact = {code for wording, code in short.items() if wording.rstrip(".") == said}
    return exact or {code for wording, code in [*wordings.items(), *short.items()] if wording.startswith(said)}


class HumanPolicy:
    """Asks a person for every goal."""

    def __init__(
        self,
        goals: GoalSet = DEFAULT_GOALS,
        view: Callable[[], str] | None = None,
        read: Callable[[str], str] | None = None,
        write: Callable[[str], None] = write_to_stdout,
    ) -> None:
        """Makes a policy that talks through `read` and `write`.

        Args:
            goals: what to choose from.
            view: gives what was said so far, shown before each choice; None shows nothing.
            read: shows a prompt and gives back one line, raising `EOFError` at the end of input; None = the built-in `input`.
            write: shows one or more lines.
        """
        self.goals = goals
        self.view = view
        self._read = read or input
        self._write = write

    @property
    def name(self) -> str:
        """What it is called in records."""
        return "human"

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Asks once per conversation, again after an answer that makes no sense.

        Raises:
            PolicyLeft: the input ended, or Ctrl-C was pressed.
        """
        masks = allowed_actions(len(observation), len(self.goals), action_masks)
        actions = [self._ask([int(code) for code in np.flatnonzero(mask)]) for mask in masks]
        return np.array(actions, dtype=np.int64), state

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> None:
        """None: nobody knows a person's propensities."""
        return None

    def _ask(self, allowed: list[int]) -> int:
        transcript = self.view() if self.view else ""
        if transcript.strip():
            self._write(transcript.rstrip("\n"))
        self._write("\n".join(f"{code:3d}  {self.goals.text(code)}" for code in allowed))
        while True:
            try:
                answer = self._read("goal> ")
            except (EOFError, KeyboardInterrupt) as left:
                raise PolicyLeft("the person at the keyboard has left.") from left
            try:
                return understand_goal(answer, self.goals, allowed)
            except InputError as misunderstanding:
                self._write(str(misunderstanding))

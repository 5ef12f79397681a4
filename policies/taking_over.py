"""A policy that another one takes over from in the middle of every talk. Knows nothing of who they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError
from convogym.policies.base import Actions, Flags, Masks, Policy, Previewing, Probabilities, State

FIRST, SECOND = 1, 2  # places of the two policies' states; place 0 is the turn


class TakeOver:
    """One policy picks the goals of the first turns, another all later ones; who chose is told for every turn.

    Both see the whole talk, so the one that takes over knows what was asked before. The state holds the turn and the states of
    both policies for each conversation.
    """

    def __init__(self, first: Policy, second: Policy, turns: int) -> None:
        """Takes the two and the number of turns, at least 1, that the first one has."""
        if turns < 1:
            raise InputError(f"`turns` before a take-over must be at least 1, got {turns}.")
        seen = {getattr(policy, "observation", "goals") for policy in (first, second)} - {"goals"}
        if len(seen) > 1:
            raise InputError(f"policies that take over from each other must see the same, got {' and '.join(sorted(seen))}.")
        self._policies = (first, second)
        self._turns = turns
        self.observation = seen.pop() if seen else "goals"
        if any(isinstance(policy, Previewing) for policy in self._policies):
            self.preview = self._preview  # only who wants previews is to be shown them: they are dear
        self._choosers: list[str] = []
        self._chances: Probabilities | None = None

    @property
    def name(self) -> str:
        """The two names and the turns, as `make_policy` understands them."""
        first, second = self._policies
        return f"{first.name}>{second.name}@{self._turns}"

    @property
    def choosers(self) -> Sequence[str]:
        """Who chose in each conversation of the last `predict`."""
        return self._choosers

    def _preview(self, rewards: npt.NDArray[np.float64]) -> None:
        for policy in self._policies:
            if isinstance(policy, Previewing):
                policy.preview(rewards)

    def check_fits(self, **sizes: Any) -> None:
        """Refuses an environment that one of the two was not trained for."""
        for policy in self._policies:
            if hasattr(policy, "check_fits"):
                policy.check_fits(**sizes)

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Asks both, so that each can keep its state, and takes the action of the one whose turn it is."""
        size = len(observation)
        starts = np.zeros(size, np.bool_) if episode_start is None else np.asarray(episode_start, np.bool_)
        before = np.empty((size, 3), dtype=object) if state is None else state.copy()
        turn = np.array([0 if start or row[0] is None else row[0] for start, row in zip(starts, before, strict=True)])
        after = np.empty((size, 3), dtype=object)
        after[:, 0] = turn + 1
        picked, chances = [], []
        for place, policy in zip((FIRST, SECOND), self._policies, strict=True):
            own = None if before[0, place] is None else np.stack(list(before[:, place]))
            actions, kept = policy.predict(observation, own, starts, deterministic, action_masks)
            chance = policy.probabilities(observation, action_masks, own, deterministic)
            picked.append(actions)
            chances.append(chance)
            if kept is not None:
                for row in range(size):
                    after[row, place] = kept[row]
        late = turn >= self._turns
        self._choosers = [self._policies[int(each)].name for each in late]
        known = [np.full((size, 1), np.nan) if chance is None else chance for chance in chances]
        width = max(each.shape[1] for each in known)
        first, second = (np.broadcast_to(each, (size, width)) if each.shape[1] == 1 else each for each in known)
        self._chances = np.where(late[:, None], second, first) if any(chance is not None for chance in chances) else None
        return np.where(late, picked[1], picked[0]), after

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> Probabilities | None:
        """The chances of the last `predict`, shape (N, n); rows of nan where whoever chose cannot say."""
        return self._chances

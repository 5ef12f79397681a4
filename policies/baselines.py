"""Policies that do not look: uniformly random goals, and a fixed cycle. Knows nothing of torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError
from convogym.policies.base import Actions, Flags, Masks, Probabilities, State, allowed_actions, draw


class RandomPolicy:
    """Draws every goal uniformly from those allowed."""

    def __init__(self, num_actions: int, seed: int = 0) -> None:
        """Makes a policy with a generator of its own.

        Args:
            num_actions: the number of goals, at least 1.
            seed: the same seed and the same calls give the same actions.
        """
        if num_actions < 1:
            raise InputError(f"`num_actions` must be at least 1, got {num_actions}.")
        self.num_actions = num_actions
        self._rng = np.random.default_rng(seed)

    @property
    def name(self) -> str:
        """What it is called in records."""
        return "random"

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Draws an allowed action per row, `deterministic` or not: there is no most probable one."""
        chances = self.probabilities(observation, action_masks)
        return draw(chances, self._rng.random(len(chances))), state

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> Probabilities:
        """One over the number of allowed actions, shape (N, n)."""
        allowed = allowed_actions(len(observation), self.num_actions, action_masks)
        return np.asarray(allowed / allowed.sum(axis=1, keepdims=True), dtype=np.float64)


class CyclePolicy:
    """Goes through the goals in a fixed order, from its beginning in every conversation; passes over what is not allowed."""

    def __init__(self, num_actions: int, order: Sequence[int] | None = None) -> None:
        """Makes a cycle.

        Args:
            num_actions: the number of goals, at least 1.
            order: the action codes to go through, repeats allowed, not all of them needed; None = 0, 1, 2, ...

        Raises:
            InputError: the order is empty or names an action that does not exist.
        """
        if num_actions < 1:
            raise InputError(f"`num_actions` must be at least 1, got {num_actions}.")
        self.num_actions = num_actions
        self.order = tuple(range(num_actions)) if order is None else tuple(order)
        if not self.order:
            raise InputError("`order` must name at least one action, got none.")
        for action in self.order:
            if isinstance(action, bool) or not isinstance(action, (int, np.integer)) or not 0 <= action < num_actions:
                raise InputError(f"`order` must hold action codes in 0..{num_actions - 1}, got {action!r}.")

    @property
    def name(self) -> str:
        """`cycle`, with the order where it is not the plain one; `convogym.policies.loading.make_policy` understands it."""
        plain = self.order == tuple(range(self.num_actions))
        return "cycle" if plain else "cycle:" + ",".join(str(int(action)) for action in self.order)

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Takes each conversation's next action of the order that is allowed; where none of it is, the lowest that is.

        The state is the place in the order, shape (N,).
        """
        num = len(observation)
        places = np.zeros(num, dtype=np.int64) if state is None else np.array(state, dtype=np.int64)
        if episode_start is not None:
            places[np.asarray(episode_start, dtype=np.bool_)] = 0
        allowed = allowed_actions(num, self.num_actions, action_masks)
        length = len(self.order)
        ahead = (places[:, None] + np.arange(length)) % length  # (N, length)
        turned = np.asarray(self.order)[ahead]  # (N, length)
        usable = np.take_along_axis(allowed, turned, axis=1)  # (N, length)
        skip = usable.argmax(axis=1)
        rows = np.arange(num)
        actions = np.where(usable.any(axis=1), turned[rows, skip], allowed.argmax(axis=1))
        return actions.astype(np.int64), (places + skip + 1) % length

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> None:
        """None: a fixed order has no propensities worth recording."""
        return None

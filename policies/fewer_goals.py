"""Lets a policy that knows the first goals of an environment work where more were taught since. Knows nothing of networks.

What the policy does not know is hidden from it: the counts of later goals are cut off the end of the observation, the masks to
its own actions. Later goals are never chosen, unless no other is allowed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError
from convogym.policies.base import Actions, Flags, Masks, Policy, Probabilities, State, allowed_actions


class FewerGoals:
    """A policy of n goals in an environment of more, whose first n they are."""

    def __init__(self, policy: Policy, num_known: int, num_actions: int) -> None:
        """Wraps a policy.

        Args:
            policy: picks among `num_known` goals; sees observations that end with one count for each of them.
            num_known: n.
            num_actions: the number of goals of the environment, at least n.
        """
        if not 1 <= num_known <= num_actions:
            raise InputError(f"a policy must know 1..{num_actions} of the goals, got {num_known}.")
        self._policy, self._known, self._all = policy, num_known, num_actions

    @property
    def name(self) -> str:
        """The policy's own."""
        return self._policy.name

    @property
    def observation(self) -> str:
        """The name of the observation the policy was trained on; every one without goal blocks can be cut to fewer goals."""
        return str(getattr(self._policy, "observation", "goals"))

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Lets the policy pick; where none of its goals is allowed, the lowest that is."""
        allowed = allowed_actions(len(observation), self._all, action_masks)
        stuck = ~allowed[:, : self._known].any(axis=1)
        actions, state = self._policy.predict(
            self._seen(observation), state, episode_start, deterministic, self._offered(allowed)
        )
        return np.where(stuck, allowed.argmax(axis=1), actions).astype(np.int64), state

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> Probabilities | None:
        """The policy's, 0 for the goals it does not know; shape (N, num_actions)."""
        allowed = allowed_actions(len(observation), self._all, action_masks)
        chances = self._policy.probabilities(self._seen(observation), self._offered(allowed), state, deterministic)
        if chances is None:
            return None
        out = np.zeros((len(observation), self._all))
        out[:, : self._known] = chances
        stuck = ~allowed[:, : self._known].any(axis=1)
        out[stuck] = np.eye(self._all)[allowed[stuck].argmax(axis=1)]
        return out

    def _seen(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return observation[:, : observation.shape[1] - (self._all - self._known)]

    def _offered(self, allowed: Masks) -> Masks:
        """The masks of the known goals; all of them where none is allowed, for a policy must be offered something."""
        known = allowed[:, : self._known]
        return np.asarray(known | ~known.any(axis=1, keepdims=True))

"""A policy that asks the model what each goal would bring, and takes the best. Knows nothing of torch.

What it is shown is the very turn that would follow, reward included, so it knows what no policy in a talk with a person knows:
it tells how much there is to gain in one turn, and is no rival of policies that only look back.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError
from convogym.policies.base import Actions, Flags, Masks, Probabilities, State, allowed_actions


class LookaheadPolicy:
    """Takes the allowed goal whose previewed reward is highest, of equal ones the lowest code."""

    def __init__(self, num_actions: int) -> None:
        """Takes the number of goals, at least 1."""
        self.num_actions = num_actions
        self._rewards: npt.NDArray[np.float64] = np.zeros((0, num_actions))

    @property
    def name(self) -> str:
        """What it is called in records."""
        return "lookahead"

    def preview(self, rewards: npt.NDArray[np.float64]) -> None:
        """Takes the reward that each goal would have, shape (N, n)."""
        self._rewards = rewards

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Takes the best goal in each conversation.

        Raises:
            InputError: no preview was given for as many conversations.
        """
        return self.probabilities(observation, action_masks).argmax(axis=1).astype(np.int64), state

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> Probabilities:
        """All on the best goal, shape (N, n)."""
        allowed = allowed_actions(len(observation), self.num_actions, action_masks)
        if self._rewards.shape != allowed.shape:
            raise InputError(
                f"`lookahead` must be given a preview of shape {allowed.shape} first, got {self._rewards.shape}; "
                "it plays where the environment has `step_all_actions`."
            )
        best = np.where(allowed, self._rewards, -np.inf).argmax(axis=1)
        return np.asarray(np.eye(self.num_actions)[best], dtype=np.float64)

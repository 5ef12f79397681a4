"""What whoever runs conversations asks of whoever picks the goals: the `Policy` protocol. Holds no policy itself.

The shape is Stable-Baselines3's `predict`, over N conversations at once and extended by action masks, so that scripted, human
and learned policies are called alike. Letters: N conversations, d observation length, n actions (goals).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError

Actions: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]
Masks: TypeAlias = npt.NDArray[np.bool_]
Probabilities: TypeAlias = npt.NDArray[np.float64]
State: TypeAlias = npt.NDArray[Any] | None


class PolicyLeft(Exception):
    """Whoever picks the goals has left (end of input, Ctrl-C). Every turn up to here was completed and recorded; just stop."""


class Policy(Protocol):
    """Picks the goal of the next turn in N conversations at once."""

    @property
    def name(self) -> str:
        """What it is called in records and tables."""

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Picks one action per conversation.

        Args:
            observation: shape (N, d).
            state: what the last call gave back, first axis N so that rows can be picked out; None at the very beginning. A row
                of zeros (of None in an array of objects) is that of a conversation that begins.
            episode_start: shape (N,), True where a conversation is at its first turn; None = nowhere, but everywhere without a
                `state`.
            deterministic: the most probable action instead of a drawn one; what is random by nature draws all the same.
            action_masks: shape (N, n), True where an action may be taken; None = all may.

        Returns:
            The actions, shape (N,), and the state for the next call.

        Raises:
            PolicyLeft: a person at the keyboard ended the session.
        """

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> Probabilities | None:
        """The chance that `predict` picks each action, shape (N, n), rows summing to 1: the propensities of what was recorded.

        None where the policy cannot say, as a person cannot.
        """


@runtime_checkable
class Previewing(Protocol):
    """A policy that is told before each choice what every action would bring."""

    def preview(self, rewards: npt.NDArray[np.float64]) -> None:
        """Takes the reward that each action would have in the conversations of the next `predict`, shape (N, n)."""


@runtime_checkable
class Attributing(Protocol):
    """A policy made of several that can say which of them chose."""

    @property
    def choosers(self) -> Sequence[str]:
        """For each conversation of the last `predict` the name of who chose."""


def allowed_actions(num_conversations: int, num_actions: int, action_masks: Masks | None) -> Masks:
    """The masks as a checked boolean array of shape (N, n); all True where none were given.

    Raises:
        InputError: the masks have another shape, or leave a conversation no action.
    """
    if action_masks is None:
        return np.ones((num_conversations, num_actions), dtype=np.bool_)
    masks = np.asarray(action_masks).astype(np.bool_)
    if masks.shape != (num_conversations, num_actions):
        raise InputError(f"`action_masks` must have shape {(num_conversations, num_actions)}, got {masks.shape}.")
    if not masks.any(axis=1).all():
        raise InputError("`action_masks` must leave every conversation at least one action, got a row of zeros.")
    return masks


def draw(probabilities: Probabilities, uniforms: npt.NDArray[np.float64]) -> Actions:
    """One action per row by inverse transform; an action of probability zero is never drawn.

    Args:
        probabilities: shape (N, n), rows summing to 1 up to rounding.
        uniforms: shape (N,), in [0, 1).
    """
    cumulative = np.cumsum(probabilities, axis=1)  # (N, n)
    points = (uniforms * cumulative[:, -1])[:, None]  # scaled, so that rounding cannot leave a gap at the end
    return np.asarray((cumulative > points).argmax(axis=1), dtype=np.int64)

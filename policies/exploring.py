"""A policy that tries other goals now and then, with exact chances: epsilon-greedy, or a softmax of a network's scores.

Talks recorded with it can be judged off-policy: every goal has a chance, and the chances are recorded. Knows nothing of torch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError
from convogym.policies.base import Actions, Flags, Masks, Policy, Previewing, Probabilities, State, allowed_actions, draw


class _Exploring:
    """What the two ways share: the wrapped policy's name, observation, checks and previews."""

    def __init__(self, policy: Policy, num_actions: int, seed: int) -> None:
        self._policy, self._num_actions = policy, num_actions
        self._rng = np.random.default_rng(seed)
        if hasattr(policy, "observation"):
            self.observation = policy.observation  # what it sees is what the wrapped policy was trained on
        if hasattr(policy, "check_fits"):
            self.check_fits = policy.check_fits
        if isinstance(policy, Previewing):
            self.preview = policy.preview


class EpsilonPolicy(_Exploring):
    """Does what a policy would do for sure with chance 1 - epsilon, and takes any allowed goal with chance epsilon."""

    def __init__(self, policy: Policy, epsilon: float, num_actions: int, seed: int = 0) -> None:
        """Wraps a policy.

        Args:
            policy: one whose best is certain, as an order's or a network's is, or that can tell its chances.
            epsilon: 0..1.
            num_actions: n.
            seed: of the draws.

        Raises:
            InputError: epsilon is no such number.
        """
        if not 0 <= epsilon <= 1:
            raise InputError(f"`epsilon` must be in 0..1, got {epsilon}.")
        super().__init__(policy, num_actions, seed)
        self.epsilon = epsilon
        self._chances: Probabilities | None = None

    @property
    def name(self) -> str:
        """`epsilon:` with the number and the wrapped policy's name."""
        return f"epsilon:{self.epsilon:g}:{self._policy.name}"

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Draws one of `probabilities`; the wrapped policy's own choice if `deterministic`."""
        best, after = self._policy.predict(observation, state, episode_start, True, action_masks)
        allowed = allowed_actions(len(observation), self._num_actions, action_masks)
        epsilon = 0.0 if deterministic else self.epsilon
        uniform = allowed / allowed.sum(axis=1, keepdims=True)
        own = self._policy.probabilities(observation, action_masks, state, True)
        own = np.eye(self._num_actions)[best] if own is None else own
        self._chances = np.asarray((1 - epsilon) * own + epsilon * uniform, dtype=np.float64)
        return draw(self._chances, self._rng.random(len(best))), after

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> Probabilities | None:
        """The chances of the last `predict`, shape (N, n): only it knows where an episode starts, which orders depend on."""
        return self._chances


class SoftmaxPolicy(_Exploring):
    """Draws goals in proportion to exp(score / temperature) of a trained policy's scores: logits, or Q values (Boltzmann)."""

    def __init__(self, policy: Policy, temperature: float, num_actions: int, seed: int = 0) -> None:
        """Wraps a trained policy.

        Args:
            policy: has `scores`, as `LearnedPolicy` does.
            temperature: above 0; 1 draws a PPO policy's own chances.
            num_actions: n.
            seed: of the draws.

        Raises:
            InputError: the policy has no scores, or the temperature is not above 0.
        """
        if not (np.isfinite(temperature) and temperature > 0):
            raise InputError(f"`temperature` must be a number above 0, got {temperature}.")
        if not hasattr(policy, "scores") or getattr(policy, "is_recurrent", False):
            raise InputError(
                f"softmax needs a trained policy without memory, which has scores, got {policy.name!r}; use epsilon instead."
            )
        super().__init__(policy, num_actions, seed)
        self._scorer: Any = policy
        self.temperature = temperature

    @property
    def name(self) -> str:
        """`softmax:` with the temperature and the wrapped policy's name."""
        return f"softmax:{self.temperature:g}:{self._policy.name}"

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Draws one of `probabilities`."""
        chances = self.probabilities(observation, action_masks, state, deterministic)
        return draw(chances, self._rng.random(len(chances))), state

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> Probabilities:
        """Shape (N, n); all on the best if `deterministic`."""
        allowed = allowed_actions(len(observation), self._num_actions, action_masks)
        scores = np.where(allowed, self._scorer.scores(observation), -np.inf)
        if deterministic:
            return np.asarray(np.eye(self._num_actions)[scores.argmax(axis=1)], dtype=np.float64)
        weights = np.exp((scores - scores.max(axis=1, keepdims=True)) / self.temperature)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)

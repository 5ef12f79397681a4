"""What a policy would get, estimated from talks that another one steered. Prints nothing; gives a dict.

Needs the propensities of the recorded goals, and a policy that sees what records tell: the goals used and the turn. Letters:
E episodes, T turns of each, n goals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from convogym.episodes import Episode
from convogym.errors import InputError
from convogym.metrics import bootstrap_interval, ratio_interval
from convogym.policies.base import Policy, Probabilities

Floats = npt.NDArray[np.float64]
RIDGE = 1.0  # weight of the penalty on the regression's coefficients, the constant excepted
FOLDS = 2  # the model of values is fitted on the episodes that it is not used on


@dataclass(frozen=True)
class Logged:
    """Recorded talks as arrays."""

    actions: npt.NDArray[np.int64]
    """shape (E, T)"""
    rewards: Floats
    """shape (E, T)"""
    propensities: Floats
    """shape (E, T), in (0, 1]: the chance that each action was taken with"""
    counts: Floats
    """shape (E, T, n): how often each goal was taken before each turn"""

    @property
    def returns(self) -> Floats:
        """Undiscounted, shape (E,)."""
        return np.asarray(self.rewards.sum(axis=1), dtype=np.float64)

    def observations(self, turn: int, num_turns: int) -> npt.NDArray[np.float32]:
        """What `observation="goals"` showed before a turn (0-based), shape (E, 1 + n)."""
        seen = np.column_stack([np.full(len(self.actions), turn), self.counts[:, turn]]) / num_turns
        return seen.astype(np.float32)

    def part(self, which: npt.NDArray[np.bool_]) -> Logged:
        """Some of the episodes."""
        return Logged(self.actions[which], self.rewards[which], self.propensities[which], self.counts[which])


def logged(episodes: Sequence[Episode]) -> Logged:
    """Reads finished episodes.

    Raises:
        InputError: there are fewer than 2 x FOLDS, they differ in goals or turns, or a propensity is not known.
    """
    if len(episodes) < 2 * FOLDS:
        raise InputError(f"off-policy evaluation needs at least {2 * FOLDS} finished episodes, got {len(episodes)}.")
    turns = {len(episode.turns) for episode in episodes}
    if len(turns) != 1 or len({episode.goals for episode in episodes}) != 1:
        raise InputError(f"the episodes must be alike in goals and number of turns, got {sorted(turns)} turns.")
    propensities = [[turn.propensity for turn in episode.turns] for episode in episodes]
    for episode, row in zip(episodes, propensities, strict=True):
        if None in row:
            raise InputError(
                f"episode {episode.id} does not tell its propensities (policy {episode.policy!r}); collect with a policy that "
                "knows them, such as random."
            )
    actions = np.array([[turn.action for turn in episode.turns] for episode in episodes], np.int64)
    taken = np.eye(len(episodes[0].goals))[actions]  # (E, T, n)
    return Logged(
        actions,
        np.array([[turn.reward for turn in episode.turns] for episode in episodes], np.float64),
        np.array(propensities, np.float64),
        np.cumsum(taken, axis=1) - taken,
    )


def chances(policy: Policy, data: Logged, num_turns: int, deterministic: bool) -> Floats:
    """The chance with which a policy takes each goal at each turn of recorded talks, shape (E, T, n).

    A policy without `probabilities` that picks by turn alone, as a cycle does, has all its chance on what it picks.

    Raises:
        InputError: the policy wants to see more than the records tell.
    """
    size, turns, goals = data.counts.shape
    found = np.zeros((size, turns, goals))
    state = None
    for turn in range(turns):
        seen = data.observations(turn, num_turns)
        start = np.full(size, turn == 0)
        picked, after = policy.predict(seen, state, start, deterministic)
        given: Probabilities | None = policy.probabilities(seen, None, state, deterministic)
        certain = np.eye(goals)[picked]
        found[:, turn] = certain if given is None else np.where(np.isnan(given), certain, given)
        state = after
    return found


def features(counts: Floats) -> Floats:
    """What the value of each goal is regressed on, shape (E, n, 2n + 2), from the goals' counts, shape (E, n).

    A constant for each goal, how often that very goal was taken (shared by the goals), and all goals' counts.
    """
    size, goals = counts.shape
    own = np.broadcast_to(np.eye(goals), (size, goals, goals))
    repeated = counts[:, :, None]
    others = np.broadcast_to(counts[:, None, :], (size, goals, goals))
    return np.concatenate([np.ones((size, goals, 1)), own, repeated, others], axis=2)


def fitted_values(data: Logged, target: Floats) -> list[Floats]:
    """Fitted Q evaluation: coefficients of each turn's values, from the last turn to the first.

    `Q_t(s, a)` is a ridge regression of `r_t + sum_b pi(b | s') Q_(t+1)(s', b)` on `features` (Le et al. 2019, "Batch Policy
    Learning under Constraints", with a finite horizon).

    Args:
        data: talks to fit on.
        target: chances of the policy to judge in them, shape (E, T, n).

    Returns:
        T rows of coefficients.
    """
    size, turns, _ = data.counts.shape
    rows = np.arange(size)
    found: list[Floats] = []
    later = np.zeros(size)
    for turn in reversed(range(turns)):
        shown = features(data.counts[:, turn])  # (E, n, F)
        x, y = shown[rows, data.actions[:, turn]], data.rewards[:, turn] + later
        penalty = np.eye(x.shape[1]) * RIDGE
        penalty[0, 0] = 1e-9  # the constant goes free
        weights = np.asarray(np.linalg.solve(x.T @ x + penalty, x.T @ y), dtype=np.float64)
        found.insert(0, weights)
        later = (target[:, turn] * (shown @ weights)).sum(axis=1)
    return found


def doubly_robust(data: Logged, target: Floats, weights: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Each talk's doubly robust estimate and its value by the fitted model alone, both shape (E,).

    `V_t = Vhat(s_t) + rho_t (r_t + V_(t+1) - Qhat(s_t, a_t))` (Jiang & Li 2016, eq. 10), undiscounted.
    """
    size, turns, _ = data.counts.shape
    rows = np.arange(size)
    estimate, model = np.zeros(size), np.zeros(size)
    for turn in reversed(range(turns)):
        q = features(data.counts[:, turn]) @ weights[turn]  # (E, n)
        taken = data.actions[:, turn]
        model = (target[:, turn] * q).sum(axis=1)
        ratio = target[rows, turn, taken] / data.propensities[:, turn]
        estimate = model + ratio * (data.rewards[:, turn] + estimate - q[rows, taken])
    return estimate, model


def evaluate_off_policy(
    episodes: Sequence[Episode], policy: Policy, num_turns: int | None = None, *, seed: int = 0, deterministic: bool = False
) -> dict[str, Any]:
    """Estimates a policy's mean return from talks that another policy steered.

    Args:
        episodes: finished, alike in goals and number of turns, with propensities.
        policy: to be judged; it sees the goals used and the turn.
        num_turns: turns of an episode as the policy's observation counts them; None = those recorded.
        seed: of the bootstrap.
        deterministic: the policy's most probable goals instead of drawn ones.

    Returns:
        `estimates` by name, each with a mean and, where it has one, an interval over episodes: `importance_sampling`,
        `weighted` (importance sampling, divided by the sum of the weights), `doubly_robust` (values fitted on the other half
        of the episodes) and `fitted_q`; `recorded`: the mean return of the recording policy; `effective_episodes`: how many
        equally weighted episodes the weights are worth, the first thing to look at.

    Raises:
        InputError: see `logged` and `chances`.
    """
    data = logged(episodes)
    target = chances(policy, data, num_turns or data.actions.shape[1], deterministic)
    taken = np.take_along_axis(target, data.actions[:, :, None], axis=2)[:, :, 0]  # (E, T)
    weights = np.prod(taken / data.propensities, axis=1)  # (E,)
    fold = np.random.default_rng(seed).permutation(len(weights)) % FOLDS
    robust, model = np.zeros(len(weights)), np.zeros(len(weights))
    for k in range(FOLDS):
        coefficients = fitted_values(data.part(fold != k), target[fold != k])
        robust[fold == k], model[fold == k] = doubly_robust(data.part(fold == k), target[fold == k], coefficients)

    def rng() -> np.random.Generator:
        return np.random.default_rng(seed)

    plain, fair = bootstrap_interval(weights * data.returns, rng()), bootstrap_interval(robust, rng())
    weighted = ratio_interval(weights * data.returns, weights, rng())
    recorded = bootstrap_interval(data.returns, rng())
    total = weights.sum()
    return {
        "policy": policy.name,
        "episodes": len(weights),
        "turns": int(data.actions.shape[1]),
        "effective_episodes": float(total**2 / (weights**2).sum()) if total else 0.0,
        "recorded": recorded.mean,
        "recorded_interval": [recorded.low, recorded.high],
        "estimates": {
            "importance_sampling": {"mean": plain.mean, "mean_interval": [plain.low, plain.high]},
            "weighted": {"mean": weighted.mean, "mean_interval": [weighted.low, weighted.high]},
            "doubly_robust": {"mean": fair.mean, "mean_interval": [fair.low, fair.high]},
            "fitted_q": {"mean": float(model.mean()), "mean_interval": None},
        },
        "seed": seed,
    }

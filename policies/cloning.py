"""Imitation: fits a network to goals that somebody else chose, for its own sake or as a start for learning by reward.

Knows observations and actions as arrays; knows nothing of who chose them. Letters: S examples, d observation length,
n actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from convogym.errors import InputError, UnknownNameError
from convogym.policies.algorithms import ALGORITHMS, RECURRENT, VALUE_BASED
from convogym.policies.learned import LearnedPolicy
from convogym.policies.networks import build, measure
from convogym.policies.spec import PolicySpec

CLONABLE = tuple(name for name in ALGORITHMS if name not in VALUE_BASED + RECURRENT)  # has chances, needs no whole talks
EPOCHS = 60
BATCH = 128
LEARNING_RATE = 3e-3
HELD_OUT = 0.1  # share of the examples that tells how well the choices were learnt


def clone(
    observations: npt.NDArray[np.float32],
    actions: npt.NDArray[np.int64],
    num_actions: int,
    seed: int,
    *,
    algorithm: str = "ppo",
    goals: tuple[str, ...] | None = None,
    goal_blocks: int = 0,
    environment: Mapping[str, Any] | None = None,
    epochs: int = EPOCHS,
) -> LearnedPolicy:
    """Behaviour cloning: maximises the likelihood of the chosen actions.

    Args:
        observations: shape (S, d), S >= 10.
        actions: shape (S,), in 0..num_actions - 1.
        num_actions: n.
        seed: of weights, batches and the split.
        algorithm: one of `CLONABLE`; what may go on learning from it (`train(..., start=)`).
        goals: text of each action's goal.
        goal_blocks: how many numbers an observation has for each goal before turn and counts.
        environment: JSON values that tell which environment the observations are of; kept with the policy.
        epochs: passes over the examples.

    Returns:
        The policy; its spec's `training` has `examples`, `agreement` (the share of held-out choices it makes too) and `seed`.

    Raises:
        UnknownNameError: no such algorithm.
        InputError: too few examples, or shapes that do not go together.
    """
    if algorithm not in CLONABLE:
        raise UnknownNameError("algorithm to clone with", algorithm, CLONABLE)
    if observations.ndim != 2 or len(observations) != len(actions) or len(actions) < 10:
        raise InputError(f"cloning needs 10 examples or more, got {len(actions)} actions for shape {observations.shape}.")
    if actions.min() < 0 or actions.max() >= num_actions:
        raise InputError(f"`actions` must be in 0..{num_actions - 1}, got {actions.min()}..{actions.max()}.")
    spec = PolicySpec(algorithm, observations.shape[1], num_actions, goals, goal_blocks=goal_blocks)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(actions))
    held, kept = np.split(order, [max(1, int(HELD_OUT * len(order)))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(spec)
    measure(network, observations[kept])
    inputs, targets = torch.from_numpy(np.asarray(observations, np.float32)), torch.from_numpy(np.asarray(actions, np.int64))
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    network.set_training_mode(True)
    for _ in range(epochs):
        shuffled = rng.permutation(kept)
        for first in range(0, len(shuffled), BATCH):
            some = torch.from_numpy(shuffled[first : first + BATCH])
            loss = torch.nn.functional.cross_entropy(_logits(network, inputs[some]), targets[some])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    network.set_training_mode(False)
    with torch.no_grad():
        picked = _logits(network, inputs[torch.from_numpy(held)]).argmax(1).numpy()
    agreement = float((picked == actions[held]).mean())
    training: dict[str, Any] = {"examples": len(actions), "agreement": agreement, "seed": seed, "epochs": epochs}
    if environment is not None:
        training["environment"] = dict(environment)
    return LearnedPolicy(replace(spec, training=training), network, seed)


def _logits(network: torch.nn.Module, observations: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = cast(Any, network).get_distribution(observations).distribution.logits  # (B, n)
    return found

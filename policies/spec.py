"""What a learned policy is, apart from its weights: `PolicySpec`. Knows nothing of files and networks; loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from convogym.errors import InputError, UnknownNameError
from convogym.policies.algorithms import ALGORITHMS

MAX_WIDTH = 1_000_000  # of an observation or a layer, so that a damaged file cannot ask for all the memory
MAX_LAYERS = 16
NET_ARCH = (64, 64)  # hidden layers; the observation is an embedding already, and there are few turns to learn from


@dataclass(frozen=True)
class PolicySpec:
    """What a learned policy is, apart from its weights: all that `policy.json` says."""

    algorithm: str
    """one of `ALGORITHMS`"""
    observation_size: int
    """d, at least 1"""
    num_actions: int
    """n, at least 1"""
    goals: tuple[str, ...] | None = None
    """text of each action's goal, n of them; None = the trainer was not told"""
    net_arch: tuple[int, ...] = NET_ARCH
    """widths of the hidden layers"""
    goal_blocks: int = 0
    """how many numbers the observation has for each goal just before turn and counts, block by block"""
    training: Mapping[str, Any] = field(default_factory=dict)
    """how it was trained, in JSON values: steps, seed, hyper-parameters, environment; `curve`: (turns done, mean return)"""
    versions: Mapping[str, str] = field(default_factory=dict)
    """versions of the libraries it was trained with"""

    @property
    def sees_goals_only(self) -> bool:
        """Whether it was trained on turn and goals used alone, with which every observation of `PersonaChat-v0` ends."""
        return self.observation_size == self.num_actions + 1

    def __post_init__(self) -> None:
        """Checks the algorithm's name and the sizes."""
        if self.algorithm not in ALGORITHMS:
            raise UnknownNameError("algorithm", str(self.algorithm), ALGORITHMS)
        sizes = {"observation_size": self.observation_size, "num_actions": self.num_actions}
        for name, size in [*sizes.items(), *(("net_arch", width) for width in self.net_arch)]:
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_WIDTH:
                raise InputError(f"`{name}` must hold whole numbers in 1..{MAX_WIDTH}, got {size!r}.")
        if isinstance(self.goal_blocks, bool) or not isinstance(self.goal_blocks, int) or self.goal_blocks < 0:
            raise InputError(f"`goal_blocks` must be a whole number, at least 0, got {self.goal_blocks!r}.")
        if (self.goal_blocks + 1) * self.num_actions + 1 > self.observation_size and self.goal_blocks:
            raise InputError(
                f"an observation of {self.observation_size} numbers has no room for {self.goal_blocks} blocks of "
                f"{self.num_actions}, turn and counts."
            )
        if not 1 <= len(self.net_arch) <= MAX_LAYERS:
            raise InputError(f"`net_arch` must have 1..{MAX_LAYERS} layers, got {len(self.net_arch)}.")
        if self.goals is not None and len(self.goals) != self.num_actions:
            raise InputError(f"`goals` must name each of the {self.num_actions} actions, got {len(self.goals)}.")

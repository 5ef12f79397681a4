"""A trained network that picks goals, and where it comes from: a folder of ours, or a zip of Stable-Baselines3's.

Knows how a network is asked; how it was trained is in `training`, how it is stored in `files` and `zips`. Letters:
N conversations, d observation length, n actions.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.dqn.policies import DQNPolicy

from convogym.errors import CheckpointError, InputError
from convogym.policies import files, zips
from convogym.policies.algorithms import EPSILON, RECURRENT, VALUE_BASED
from convogym.policies.base import Actions, Flags, Masks, Probabilities, State, allowed_actions, draw
from convogym.policies.spec import PolicySpec


class LearnedPolicy:
    """A trained network that picks goals."""

    def __init__(
        self, spec: PolicySpec, network: BasePolicy, seed: int = 0, name: str | None = None, foreign: bool = False
    ) -> None:
        """Wraps a network.

        Args:
            spec: what the network is.
            network: the SB3 policy that `spec` describes.
            seed: of the generator that draws actions where `deterministic` is off.
            name: what it is called in records; None = the algorithm.
            foreign: it comes from an SB3 zip, and may be built otherwise than `spec` says; it cannot be saved.
        """
        self.spec = spec
        self.network = network
        self.network.set_training_mode(False)
        self._name = name or spec.algorithm
        self._foreign = foreign
        self._rng = np.random.default_rng(seed)

    @property
    def name(self) -> str:
        """What it is called in records."""
        return self._name

    @property
    def observation(self) -> str:
        """The name of the observation it was trained on."""
        told = self.spec.training.get("environment", {}).get("observation")
        return str(told or ("goals" if self.spec.sees_goals_only else "embedding"))

    @property
    def is_recurrent(self) -> bool:
        """Whether its choice depends on a state, that is on the turns before too."""
        return self.spec.algorithm in RECURRENT

    def scores(self, observation: npt.NDArray[np.float32], state: State = None) -> npt.NDArray[np.float64]:
        """Natural log-probabilities of the actions, or Q values of an algorithm in `VALUE_BASED`; shape (N, n).

        A policy trained on "goals" takes the end of a longer observation, which says the same.

        Args:
            observation: shape (N, d).
            state: of a recurrent policy; None = the talks begin.

        Raises:
            InputError: the observation has another length than the policy was trained on.
        """
        return self._forward(observation, state)[0]

    def _forward(self, observation: npt.NDArray[np.float32], state: State) -> tuple[npt.NDArray[np.float64], State]:
        """Scores and the state after them; a recurrent policy's is of shape (N, 2, 1, LSTM_SIZE), any other's as it was."""
        array = np.asarray(observation, dtype=np.float32)
        if self.spec.sees_goals_only and array.ndim == 2:
            array = array[:, -self.spec.observation_size :]
        if array.ndim != 2 or array.shape[1] != self.spec.observation_size:
            raise InputError(
                f"`observation` must have shape (N, {self.spec.observation_size}), as in training, got {array.shape}."
            )
        with torch.no_grad():
            batch = torch.as_tensor(array, device=self.network.device)  # (N, d)
            if isinstance(self.network, DQNPolicy):
                scores = self.network.q_net(batch)  # (N, n)
            elif isinstance(self.network, QRDQNPolicy):
                scores = self.network.quantile_net(batch).mean(dim=1)  # (N, quantiles, n) -> (N, n)
            elif self.is_recurrent:
                scores, state = self._remembering(batch, state)
            else:
                scores = cast(Any, self.network).get_distribution(batch).distribution.logits  # (N, n)
        return np.asarray(scores.cpu().numpy(), dtype=np.float64), state

    def _remembering(self, batch: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        network = cast(Any, self.network)
        layers, _, size = network.lstm_hidden_state_shape
        held = np.zeros((len(batch), 2, layers, size), np.float32) if state is None else np.asarray(state, np.float32)
        memory = torch.from_numpy(held.transpose(1, 2, 0, 3).copy())  # (2, layers, N, size)
        begun = torch.zeros(len(batch))  # a state of zeros is the beginning already
        distribution, after = network.get_distribution(batch, (memory[0], memory[1]), begun)
        return distribution.distribution.logits, torch.stack(list(after)).permute(2, 0, 1, 3).numpy()

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Takes the best allowed action, or draws one of `probabilities`."""
        if self.is_recurrent and state is not None and episode_start is not None:
            state = np.where(np.asarray(episode_start, np.bool_)[:, None, None, None], np.float32(0), state)
        scores, after = self._forward(observation, state)
        chances = self._chances(scores, action_masks, deterministic)
        if deterministic:
            return chances.argmax(axis=1).astype(np.int64), after
        return draw(chances, self._rng.random(len(chances))), after

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> Probabilities:
        """Chance of each action, shape (N, n): the network's, or epsilon-greedy over values.

        All on the best if `deterministic`.
        """
        return self._chances(self.scores(observation, state), action_masks, deterministic)

    def _chances(self, scores: npt.NDArray[np.float64], action_masks: Masks | None, deterministic: bool) -> Probabilities:
        allowed = allowed_actions(len(scores), self.spec.num_actions, action_masks)
        scores = np.where(allowed, scores, -np.inf)
        best: Probabilities = np.eye(self.spec.num_actions)[scores.argmax(axis=1)]  # (N, n)
        if deterministic:
            return best
        if self.spec.algorithm in VALUE_BASED:
            return np.asarray((1 - EPSILON) * best + EPSILON * allowed / allowed.sum(axis=1, keepdims=True), dtype=np.float64)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float64)

    def check_fits(
        self, *, observation_size: int | None = None, num_actions: int | None = None, goals: Sequence[str] | None = None
    ) -> None:
        """Refuses an environment the policy was not trained for; what is None is not compared.

        Raises:
            CheckpointError: the message names both sides.
        """
        cure = "use the environment settings it was trained with, or train a new policy."
        fits = observation_size == self.spec.observation_size or (
            self.spec.sees_goals_only and (observation_size or 0) > self.spec.observation_size
        )
        if observation_size is not None and not fits:
            raise CheckpointError(
                f"policy {self.name!r} was trained on observations of {self.spec.observation_size} numbers, "
                f"this environment gives {observation_size} (another responder?); {cure}"
            )
        if num_actions is not None and num_actions != self.spec.num_actions:
            raise CheckpointError(
                f"policy {self.name!r} was trained to choose among {self.spec.num_actions} goals, "
                f"this environment has {num_actions}; {cure}"
            )
        if goals is not None and self.spec.goals is not None and tuple(goals) != self.spec.goals:
            code = next(code for code, pair in enumerate(zip(self.spec.goals, goals, strict=False)) if pair[0] != pair[1])
            raise CheckpointError(
                f"policy {self.name!r} was trained with goal {code} = {self.spec.goals[code]!r}, "
                f"in this environment it is {goals[code]!r}; {cure}"
            )

    def save(self, folder: Path | str) -> Path:
        """Writes `policy.safetensors` and `policy.json` to a folder, which is made if need be; each is whole or not there.

        Raises:
            CheckpointError: the folder cannot be written.
            InputError: the policy comes from an SB3 zip.
        """
        if self._foreign:
            raise InputError(
                f"policy {self.name!r} comes from an SB3 zip and is built in ways policy.json cannot say; keep the zip."
            )
        target = Path(folder)
        files.write(target, self.spec, self.network)
        return target


def load(path: Path | str, *, trust: bool = False, seed: int = 0) -> LearnedPolicy:
    """Loads a policy that `LearnedPolicy.save` wrote.

    Args:
        path: the folder, or either file in it; with `trust`, also a zip that SB3's `save` wrote.
        trust: load zips. A zip holds a pickle, which runs whatever code its maker put there.
        seed: of the policy's generator.

    Raises:
        CheckpointError: nothing is there, or it is damaged, or something else, or a zip that is not trusted.
    """
    place = Path(path)
    if not place.exists():
        raise CheckpointError(f"there is no policy at {place}: expected a folder written by `convogym train-policy`.")
    if place.is_file() and place.name not in (files.SPEC_FILE, files.WEIGHTS_FILE):
        if place.suffix == ".zip" or zipfile.is_zipfile(place):
            spec, network = zips.read(place, trust)
            return LearnedPolicy(spec, network, seed, name=place.stem, foreign=True)
        raise CheckpointError(f"{place} is no policy: expected a folder with {files.SPEC_FILE} and {files.WEIGHTS_FILE}.")
    folder = place.parent if place.is_file() else place
    spec, network, digest = files.read(folder)
    # The weights are part of the name: episodes of two policies that were saved under one folder name are two runs.
    return LearnedPolicy(spec, network, seed, name=f"{folder.resolve().name}@{digest[:8]}")

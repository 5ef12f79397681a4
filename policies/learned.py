"""Policies learned with Stable-Baselines3: training, and files that hold numbers only.

Knows how a policy is trained, stored and asked; knows nothing of what is talked about. A stored policy is a folder with
`policy.json` (what it is) and `policy.safetensors` (its weights): loading one runs no code of whoever wrote it.

Letters: N conversations, d observation length, n actions.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.save_util import load_from_zip_file
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, is_vecenv_wrapped
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor

from convogym.errors import CheckpointError, InputError, UnknownNameError
from convogym.policies.base import Actions, Flags, Masks, Probabilities, State, allowed_actions, draw

FORMAT = 1  # of policy.json; a reader refuses what it does not know
SPEC_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
MAX_SPEC_BYTES = 10_000_000
MAX_WIDTH = 1_000_000  # of an observation or a layer, so that a damaged file cannot ask for all the memory
MAX_LAYERS = 16

NET_ARCH = (64, 64)  # hidden layers; the observation is an embedding already, and there are few turns to learn from
EPSILON = 0.05  # share of random actions that a DQN policy keeps (the floor of the original convogym's DQNPolicy)
REPEAT_GAIN = 30.0  # speeds up the one shared weight, which Adam moves no faster than any other
WARM_UP_STEPS = 512  # random turns that set the scale of the observation; part of the budget

# Hyper-parameters per algorithm, for talks of 8 turns and 5,000 to 20,000 turns in all. `rollout` is the number of turns
# between two updates over all parallel environments (SB3's n_steps x n_envs); the rest are SB3's own names.
HYPERPARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "ppo": {
        "rollout": 512,
        "learning_rate": 1e-3,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.99,
        "gae_lambda": 0.9,
        "clip_range": 0.2,
        "ent_coef": 0.005,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
    },
    "maskable-ppo": {
        "rollout": 512,
        "learning_rate": 1e-3,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.99,
        "gae_lambda": 0.9,
        "clip_range": 0.2,
        "ent_coef": 0.005,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
    },
    "a2c": {
        "rollout": 512,
        "learning_rate": 2e-3,
        "gamma": 0.99,
        "gae_lambda": 0.9,
        "ent_coef": 0.005,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
        "normalize_advantage": True,
        "use_rms_prop": False,
    },
    # Double DQN with a Huber loss, gamma .95, batches of 64 and an averaged target network, as the original convogym's
    # DQNPolicy (`policies.py`); its learning rate 1e-4 and exploration over 20,000 turns are for budgets ten times ours.
    "dqn": {
        "learning_rate": 1e-3,
        "buffer_size": 50_000,
        "learning_starts": WARM_UP_STEPS,
        "batch_size": 64,
        "gamma": 0.95,
        "tau": 0.2,
        "target_update_interval": 64,  # transitions; with 64 environments, every step
        "train_freq": 1,
        "gradient_steps": 16,
        "exploration_fraction": 0.6,
        "exploration_initial_eps": 1.0,
        "exploration_final_eps": EPSILON,
        "max_grad_norm": 1.0,
    },
}

ALGORITHMS: tuple[str, ...] = tuple(HYPERPARAMETERS)

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the environment steps done and those planned."""


class Standardized(BaseFeaturesExtractor):
    """Brings the observation to zero mean and unit spread, and its embedding to the weight of a single number.

    PersonaChat's observation is [embedding, turn, goals used]. Hundreds of embedding numbers beside the few that tell what was
    asked already would drown them in a small network, so the embedding is scaled down by the root of its length. The scale is
    measured once on random turns (`measure`) and stored with the weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, observation_space: gym.Space[Any], tail: int) -> None:
        """Makes one that passes observations through unchanged, until `measure` is called.

        Args:
            observation_space: a `Box` of shape (d,).
            tail: how many numbers at the end are no embedding (turn and goals used); d or more = there is no embedding.
        """
        shape = observation_space.shape
        assert shape is not None and len(shape) == 1
        super().__init__(observation_space, shape[0])
        self.tail = tail
        self.register_buffer("mean", torch.zeros(shape[0]))
        self.register_buffer("scale", torch.ones(shape[0]))

    def measure(self, observations: npt.NDArray[np.float32]) -> None:
        """Sets mean and scale from observations of shape (samples, d)."""
        size = observations.shape[1]
        spread = observations.std(axis=0)
        scale = np.where(spread > 1e-6, 1.0 / np.maximum(spread, 1e-6), 1.0)
        embedding = max(size - self.tail, 0)
        scale[:embedding] /= math.sqrt(max(embedding, 1))
        self.mean.copy_(torch.as_tensor(observations.mean(axis=0)))
        self.scale.copy_(torch.as_tensor(scale))

    def forward(self, observations: Tensor) -> Tensor:
        """Standardises a batch of shape (N, d); nothing comes out beyond five spreads."""
        return ((observations - self.mean) * self.scale).clamp(-5.0, 5.0)


class _SharedRepeat(torch.nn.Module):
    """A last layer that also adds, to each action's score, how often it was taken times one learned number.

    Whether a goal was asked before matters in much the same way for every goal; sharing that number between the actions lets
    each turn teach it, instead of an eleventh of them. It starts at zero: nothing is presumed.
    """

    def __init__(self, layer: torch.nn.Module, num_actions: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_actions = num_actions
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps [what `layer` takes, the actions' counts], shape (N, . + n), to scores, shape (N, n)."""
        counts = inputs[:, -self.num_actions :]  # (N, n)
        return cast(Tensor, self.layer(inputs[:, : -self.num_actions])) + REPEAT_GAIN * self.weight * counts


class _PassCounts(torch.nn.Module):
    """SB3's hidden layers, with the actions' counts handed on beside what the actor's layers make of the observation."""

    def __init__(self, layers: MlpExtractor, num_actions: int) -> None:
        super().__init__()
        self.layers = layers
        self.num_actions = num_actions
        self.latent_dim_pi = layers.latent_dim_pi + num_actions
        self.latent_dim_vf = layers.latent_dim_vf

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The actor's and the critic's part."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Shape (N, latent_dim_pi)."""
        return torch.cat([self.layers.forward_actor(features), features[:, -self.num_actions :]], dim=1)

    def forward_critic(self, features: Tensor) -> Tensor:
        """Shape (N, latent_dim_vf)."""
        return self.layers.forward_critic(features)


class GoalActorCritic(ActorCriticPolicy):
    """SB3's actor-critic networks with a shared weight for repeated goals; for PPO and A2C."""

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _share_repeats(self, lr_schedule)


class GoalMaskableActorCritic(MaskableActorCriticPolicy):
    """The same for MaskablePPO."""

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _share_repeats(self, lr_schedule)


class GoalQPolicy(DQNPolicy):
    """SB3's Q network with a shared weight for repeated goals."""

    def make_q_net(self) -> QNetwork:
        """The network, as the online and as the target one."""
        network = super().make_q_net()
        num_actions = int(cast(gym.spaces.Discrete, self.action_space).n)
        network.q_net = torch.nn.Sequential(_RepeatInputs(num_actions), _SharedRepeat(network.q_net, num_actions))
        return network


class _RepeatInputs(torch.nn.Module):
    """Appends the actions' counts, which end an observation, once more."""

    def __init__(self, num_actions: int) -> None:
        super().__init__()
        self.num_actions = num_actions

    def forward(self, features: Tensor) -> Tensor:
        """From shape (N, d) to (N, d + n)."""
        return torch.cat([features, features[:, -self.num_actions :]], dim=1)


def _share_repeats(policy: ActorCriticPolicy | MaskableActorCriticPolicy, lr_schedule: Schedule) -> None:
    """Rebuilds the end of a freshly built actor; the optimizer must know the new parameter."""
    num_actions = int(cast(gym.spaces.Discrete, policy.action_space).n)
    anyhow = cast(Any, policy)
    anyhow.mlp_extractor = _PassCounts(policy.mlp_extractor, num_actions)
    anyhow.action_net = _SharedRepeat(policy.action_net, num_actions)
    anyhow.optimizer = anyhow.optimizer_class(policy.parameters(), lr=lr_schedule(1), **policy.optimizer_kwargs)


class DoubleDQN(DQN):
    """SB3's DQN with the double-Q target: the online network picks the next action, the target network rates it.

    y = r + (1 - done) gamma Q_target(s', argmax_a Q(s', a)), as in the original convogym's `DQNPolicy.update_policy`.
    """

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Takes gradient steps on random batches of the replay buffer, with the Huber loss."""
        assert self.replay_buffer is not None
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        losses = []
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            with torch.no_grad():
                best = self.q_net(batch.next_observations).argmax(dim=1, keepdim=True)  # (B, 1)
                next_values = self.q_net_target(batch.next_observations).gather(1, best)  # (B, 1)
                targets = batch.rewards + (1 - batch.dones) * self.gamma * next_values  # (B, 1)
            values = self.q_net(batch.observations).gather(1, batch.actions.long())  # (B, 1)
            loss = torch.nn.functional.smooth_l1_loss(values, targets)
            self.policy.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
            self.policy.optimizer.step()
            losses.append(loss.item())
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", float(np.mean(losses)))


_LEARNERS: Mapping[str, type[BaseAlgorithm]] = {"ppo": PPO, "maskable-ppo": MaskablePPO, "a2c": A2C, "dqn": DoubleDQN}
_POLICY_CLASSES: Mapping[str, type[BasePolicy]] = {
    "ppo": GoalActorCritic,
    "maskable-ppo": GoalMaskableActorCritic,
    "a2c": GoalActorCritic,
    "dqn": GoalQPolicy,
}


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
    training: Mapping[str, Any] = field(default_factory=dict)
    """how it was trained, in JSON values: steps, seed, hyper-parameters, environment; `curve`: (turns done, mean return)"""
    versions: Mapping[str, str] = field(default_factory=dict)
    """versions of the libraries it was trained with"""

    def __post_init__(self) -> None:
        """Checks the algorithm's name and the sizes."""
        if self.algorithm not in ALGORITHMS:
            raise UnknownNameError("algorithm", str(self.algorithm), ALGORITHMS)
        sizes = {"observation_size": self.observation_size, "num_actions": self.num_actions}
        for name, size in [*sizes.items(), *(("net_arch", width) for width in self.net_arch)]:
            if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_WIDTH:
                raise InputError(f"`{name}` must hold whole numbers in 1..{MAX_WIDTH}, got {size!r}.")
        if not 1 <= len(self.net_arch) <= MAX_LAYERS:
            raise InputError(f"`net_arch` must have 1..{MAX_LAYERS} layers, got {len(self.net_arch)}.")
        if self.goals is not None and len(self.goals) != self.num_actions:
            raise InputError(f"`goals` must name each of the {self.num_actions} actions, got {len(self.goals)}.")


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

    def scores(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Natural log-probabilities of the actions, or Q values for DQN; shape (N, n).

        Raises:
            InputError: the observation has another length than the policy was trained on.
        """
        array = np.asarray(observation, dtype=np.float32)
        if array.ndim != 2 or array.shape[1] != self.spec.observation_size:
            raise InputError(
                f"`observation` must have shape (N, {self.spec.observation_size}), as in training, got {array.shape}."
            )
        with torch.no_grad():
            batch = torch.as_tensor(array, device=self.network.device)  # (N, d)
            if isinstance(self.network, DQNPolicy):
                scores = self.network.q_net(batch)  # (N, n)
            else:
                scores = cast(Any, self.network).get_distribution(batch).distribution.logits  # (N, n)
        return np.asarray(scores.cpu().numpy(), dtype=np.float64)

    def predict(
        self,
        observation: npt.NDArray[np.float32],
        state: State = None,
        episode_start: Flags | None = None,
        deterministic: bool = False,
        action_masks: Masks | None = None,
    ) -> tuple[Actions, State]:
        """Takes the best allowed action, or draws one of `probabilities`."""
        chances = self.probabilities(observation, action_masks, state, deterministic)
        if deterministic:
            return chances.argmax(axis=1).astype(np.int64), state
        return draw(chances, self._rng.random(len(chances))), state

    def probabilities(
        self,
        observation: npt.NDArray[np.float32],
        action_masks: Masks | None = None,
        state: State = None,
        deterministic: bool = False,
    ) -> Probabilities:
        """Chance of each action, shape (N, n): the network's, epsilon-greedy for DQN; all on the best if `deterministic`."""
        scores = self.scores(observation)
        allowed = allowed_actions(len(scores), self.spec.num_actions, action_masks)
        scores = np.where(allowed, scores, -np.inf)
        best: Probabilities = np.eye(self.spec.num_actions)[scores.argmax(axis=1)]  # (N, n)
        if deterministic:
            return best
        if self.spec.algorithm == "dqn":
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
        if observation_size is not None and observation_size != self.spec.observation_size:
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
        from safetensors.torch import save as to_bytes

        if self._foreign:
            raise InputError(
                f"policy {self.name!r} comes from an SB3 zip and is built in ways policy.json cannot say; keep the zip."
            )
        tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in self.network.state_dict().items()}
        weights = to_bytes(tensors)
        text = json.dumps(
            {"format": FORMAT, "kind": "convogym policy", **asdict(self.spec), "sha256": hashlib.sha256(weights).hexdigest()},
            indent=2,
        )
        target = Path(folder)
        try:
            target.mkdir(parents=True, exist_ok=True)
            _replace_files({target / WEIGHTS_FILE: weights, target / SPEC_FILE: (text + "\n").encode()})
        except OSError as problem:
            raise CheckpointError(
                f"cannot write the policy to {target}: {problem.strerror or problem}; "
                "choose a folder that can be written, with free space."
            ) from problem
        return target


def _replace_files(contents: Mapping[Path, bytes]) -> None:
    """Writes all files beside their places first and moves them there only when all are on disk."""
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}.draft") for path in contents}
    try:
        for path, draft in drafts.items():
            with open(draft, "wb") as file:
                file.write(contents[path])
                file.flush()
                os.fsync(file.fileno())
        for path, draft in drafts.items():
            os.replace(draft, path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _build(spec: PolicySpec) -> BasePolicy:
    """The untrained network that a spec describes."""
    observations = gym.spaces.Box(-np.inf, np.inf, (spec.observation_size,), np.float32)
    actions = gym.spaces.Discrete(spec.num_actions)
    cls = cast(Any, _POLICY_CLASSES[spec.algorithm])
    return cast(BasePolicy, cls(observations, actions, lambda _: 0.0, **_policy_kwargs(spec.net_arch, spec.num_actions)))


def _policy_kwargs(net_arch: Sequence[int], num_actions: int) -> dict[str, Any]:
    return {
        "net_arch": list(net_arch),
        "activation_fn": torch.nn.Tanh,
        "features_extractor_class": Standardized,
        "features_extractor_kwargs": {"tail": num_actions + 1},
    }


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
    if place.is_file() and place.name not in (SPEC_FILE, WEIGHTS_FILE):
        if place.suffix == ".zip" or zipfile.is_zipfile(place):
            return _load_zip(place, trust, seed)
        raise CheckpointError(f"{place} is no policy: expected a folder with {SPEC_FILE} and {WEIGHTS_FILE}.")
    folder = place.parent if place.is_file() else place
    spec, digest = _read_spec(folder)
    tensors = _read_weights(folder, digest)
    widths = (spec.observation_size, *spec.net_arch)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    try:
        if sum(inputs * outputs for inputs, outputs in pairwise(widths)) > numbers:  # before all that memory is asked for
            raise RuntimeError(f"there are only {numbers} of them.")
        network = _build(spec)
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as problem:
        lines = " ".join(str(problem).split())[:300]
        raise CheckpointError(
            f"the weights in {folder} are not those of the policy that {SPEC_FILE} describes: {lines}"
        ) from problem
    # The weights are part of the name: episodes of two policies that were saved under one folder name are two runs.
    return LearnedPolicy(spec, network, seed, name=f"{folder.resolve().name}@{digest[:8]}")


def _read_bytes(path: Path, limit: int | None = None) -> bytes:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise CheckpointError(
                f"{path} is too large to be a policy's: {path.stat().st_size} bytes, expected at most {limit}."
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent} is no policy: {path.name} is missing; expected a folder written by `convogym train-policy`."
        ) from None
    except OSError as problem:
        raise CheckpointError(f"cannot read {path}: {problem.strerror or problem}.") from problem


def _read_spec(folder: Path) -> tuple[PolicySpec, str]:
    """The spec of a stored policy and the SHA-256 of its weights."""
    path = folder / SPEC_FILE
    raw = _read_bytes(path, MAX_SPEC_BYTES)
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise CheckpointError(
            f"{path} is damaged: it is no JSON ({problem}); train the policy again or restore the file."
        ) from problem
    if not isinstance(said, dict) or said.get("kind") != "convogym policy":
        raise CheckpointError(f"{path} describes no convogym policy; expected a folder written by `convogym train-policy`.")
    if said.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {said.get('format')!r}, this version of convogym reads format {FORMAT}; "
            "load it with the version that wrote it, or train the policy again."
        )
    try:
        spec = PolicySpec(
            algorithm=said["algorithm"],
            observation_size=said["observation_size"],
            num_actions=said["num_actions"],
            goals=None if said["goals"] is None else tuple(str(goal) for goal in said["goals"]),
            net_arch=tuple(said["net_arch"]),
            training=dict(said["training"]),
            versions=dict(said["versions"]),
        )
        return spec, str(said["sha256"])
    except (KeyError, TypeError, ValueError) as problem:
        raise CheckpointError(f"{path} is damaged: {problem}; train the policy again or restore the file.") from problem


def _read_weights(folder: Path, digest: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    path = folder / WEIGHTS_FILE
    raw = _read_bytes(path)
    if hashlib.sha256(raw).hexdigest() != digest:
        raise CheckpointError(
            f"{path} is damaged or belongs to another policy: it is not the file that {SPEC_FILE} was written with; "
            "train the policy again or restore both files."
        )
    try:
        tensors = from_bytes(raw)
    except SafetensorError as problem:
        raise CheckpointError(f"{path} is damaged: {problem}; train the policy again or restore the file.") from problem
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path} is damaged: {key} holds numbers that are not finite; train the policy again.")
    return tensors


def _is_flat(observations: gym.Space[Any], actions: gym.Space[Any]) -> bool:
    return (
        isinstance(observations, gym.spaces.Box) and len(observations.shape) == 1 and isinstance(actions, gym.spaces.Discrete)
    )


def _load_zip(path: Path, trust: bool, seed: int) -> LearnedPolicy:
    """Loads what SB3's `save` wrote; runs the code in its pickles."""
    if not trust:
        raise CheckpointError(
            f"{path} is a Stable-Baselines3 zip. A zip holds a pickle, which can run code of whoever made it; "
            "pass --trust (trust=True) only if that is you or somebody you trust."
        )
    try:
        data, _, _ = load_from_zip_file(path, device="cpu")
        keys = set(data or {})
        masked = "maskable" in str(getattr((data or {}).get("policy_class"), "__module__", "")) or "ppo_mask" in str(
            getattr((data or {}).get("policy_class"), "__module__", "")
        )
        if "exploration_schedule" in keys:
            algorithm = "dqn"
        elif "clip_range" in keys:
            algorithm = "maskable-ppo" if masked else "ppo"
        else:
            algorithm = "a2c"
        learner = cast(Any, _LEARNERS[algorithm]).load(path, device="cpu")
        observations, actions = learner.observation_space, learner.action_space
    except Exception as problem:  # a pickle can raise anything at all
        raise CheckpointError(f"{path} cannot be loaded as a zip of PPO, MaskablePPO, A2C or DQN: {problem}.") from problem
    if not _is_flat(observations, actions):
        raise CheckpointError(
            f"{path} holds a policy for {observations} and {actions}; expected a flat Box and a Discrete space."
        )
    spec = PolicySpec(algorithm, int(cast(gym.spaces.Box, observations).shape[0]), int(cast(gym.spaces.Discrete, actions).n))
    return LearnedPolicy(spec, learner.policy, seed, name=path.stem, foreign=True)


class _Watcher(BaseCallback):
    """Reports progress, notes the learning curve and stores the policy now and then."""

    def __init__(
        self,
        planned: int,
        done_before: int,
        report: Progress | None,
        store: Callable[[Sequence[tuple[int, float]]], object] | None,
        every: int,
    ) -> None:
        super().__init__()
        self.planned = planned
        self.done_before = done_before
        self.report = report
        self.store = store
        self.every = every
        self.curve: list[tuple[int, float]] = []
        self._returns: list[float] = []
        self._next_point = done_before + WARM_UP_STEPS
        self._next_store = every
        self.threads = torch.get_num_threads()

    def _on_rollout_start(self) -> None:
        torch.set_num_threads(self.threads)  # the environment may need them

    def _on_rollout_end(self) -> None:
        torch.set_num_threads(1)  # for matrices this small, waiting for other threads costs more than they bring

    @property
    def done(self) -> int:
        return self.done_before + self.num_timesteps

    def _on_step(self) -> bool:
        self._returns += [float(info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info]
        if self._returns and self.done >= self._next_point:
            self.curve.append((self.done, round(float(np.mean(self._returns)), 6)))
            self._returns = []
            self._next_point = self.done + WARM_UP_STEPS
        if self.report is not None:
            self.report(min(self.done, self.planned), self.planned)
        if self.store is not None and self.done >= self._next_store:
            self.store(self.curve)
            self._next_store = self.done + self.every
        return True


def train(
    algorithm: str,
    vec_env: VecEnv,
    total_steps: int,
    seed: int,
    *,
    goals: Sequence[str] | None = None,
    environment: Mapping[str, Any] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    progress: bool | Progress = False,
    tensorboard: Path | str | None = None,
    callback: BaseCallback | Sequence[BaseCallback] | None = None,
    checkpoint: Path | str | None = None,
    checkpoint_every: int = 4096,
) -> LearnedPolicy:
    """Learns a policy from scratch; the same seed in an equally seeded environment gives the same weights.

    Args:
        algorithm: one of `ALGORITHMS`.
        vec_env: flat `Box` observations, `Discrete` actions, `action_masks()` for "maskable-ppo". It is reset, not closed.
            Observations should end with how often each action was taken, as those of `PersonaChat-v0` do.
        total_steps: turns to learn from, over all parallel environments, the `WARM_UP_STEPS` random ones included; PPO and A2C
            round up to whole rollouts.
        seed: of the network, the exploration and the environment.
        goals: text of each action's goal; kept with the policy, which later refuses an environment with others.
        environment: JSON values that tell which environment this is; kept with the policy.
        hyperparameters: changes to the algorithm's row in `HYPERPARAMETERS`.
        progress: True for a bar on standard error, or a function that is told the steps done and planned.
        tensorboard: folder for TensorBoard's event files.
        callback: SB3 callbacks to call beside the own ones; one that returns False ends the training.
        checkpoint: folder in which the policy is stored every `checkpoint_every` steps, and at the end.
        checkpoint_every: steps between two of those.

    Raises:
        UnknownNameError: no such algorithm.
        InputError: spaces, goals or numbers that cannot be used.
    """
    if algorithm not in ALGORITHMS:
        raise UnknownNameError("algorithm", algorithm, ALGORITHMS)
    observations, actions = vec_env.observation_space, vec_env.action_space
    if not _is_flat(observations, actions):
        raise InputError(f"`vec_env` must have flat Box observations and Discrete actions, got {observations} and {actions}.")
    if total_steps < 1 or checkpoint_every < 1:
        raise InputError(f"`total_steps` and `checkpoint_every` must be at least 1, got {total_steps} and {checkpoint_every}.")
    settings = {**HYPERPARAMETERS[algorithm], **(hyperparameters or {})}
    spec = PolicySpec(
        algorithm,
        int(cast(gym.spaces.Box, observations).shape[0]),
        int(cast(gym.spaces.Discrete, actions).n),
        None if goals is None else tuple(goals),
        training={"seed": seed, "total_steps": total_steps, "num_envs": vec_env.num_envs, "hyperparameters": settings}
        | ({} if environment is None else {"environment": dict(environment)}),
        versions={name: version(name) for name in ("stable-baselines3", "sb3-contrib", "torch", "gymnasium", "numpy")},
    )
    monitored = vec_env if is_vecenv_wrapped(vec_env, VecMonitor) else VecMonitor(vec_env)
    learner = _make_learner(algorithm, settings, spec, monitored, seed, tensorboard)
    warm_up = min(WARM_UP_STEPS, total_steps // 4)
    seen = _random_observations(monitored, warm_up, spec.num_actions, seed)
    _measure(learner.policy, seen)

    def result(curve: Sequence[tuple[int, float]], done: int) -> LearnedPolicy:
        training = {**spec.training, "steps_done": done, "curve": [list(point) for point in curve]}
        return LearnedPolicy(replace(spec, training=training), learner.policy, seed)

    def store(curve: Sequence[tuple[int, float]]) -> None:
        if checkpoint is not None:
            result(curve, watcher.done).save(checkpoint)

    report = _bar(total_steps) if progress is True else (progress or None)
    watcher = _Watcher(total_steps, warm_up, report, store if checkpoint is not None else None, checkpoint_every)
    extra = [] if callback is None else [callback] if isinstance(callback, BaseCallback) else list(callback)
    try:
        learner.learn(max(total_steps - warm_up, 1), callback=CallbackList([watcher, *extra]), tb_log_name=algorithm)
    finally:
        torch.set_num_threads(watcher.threads)
    policy = result(watcher.curve, watcher.done)
    if checkpoint is not None:
        policy.save(checkpoint)
    return policy


def _make_learner(
    algorithm: str, settings: Mapping[str, Any], spec: PolicySpec, vec_env: VecEnv, seed: int, tensorboard: Path | str | None
) -> BaseAlgorithm:
    """The SB3 learner with a row of the table; its networks come from the spec, as in `load`."""
    options = dict(settings)
    if "rollout" in options:
        options["n_steps"] = max(math.ceil(options.pop("rollout") / vec_env.num_envs), 2)
    return cast(
        BaseAlgorithm,
        cast(Any, _LEARNERS[algorithm])(
            _POLICY_CLASSES[algorithm],
            vec_env,
            seed=seed,
            device="cpu",  # far smaller than what a transfer costs
            tensorboard_log=None if tensorboard is None else str(tensorboard),
            policy_kwargs=_policy_kwargs(spec.net_arch, spec.num_actions),
            **options,
        ),
    )


def _random_observations(vec_env: VecEnv, steps: int, num_actions: int, seed: int) -> npt.NDArray[np.float32]:
    """Observations of random turns, first axis samples; honours action masks where the environment has them."""
    rng = np.random.default_rng(seed)
    seen = [np.asarray(vec_env.reset(), dtype=np.float32)]
    has_masks = vec_env.has_attr("action_masks")
    for _ in range(math.ceil(steps / vec_env.num_envs)):
        masks = np.stack(vec_env.env_method("action_masks")) if has_masks else None
        allowed = allowed_actions(vec_env.num_envs, num_actions, masks)
        actions = draw(allowed / allowed.sum(axis=1, keepdims=True), rng.random(vec_env.num_envs))
        observation, _, _, _ = vec_env.step(actions)
        seen.append(np.asarray(observation, dtype=np.float32))
    return np.concatenate(seen)


def _measure(network: torch.nn.Module, observations: npt.NDArray[np.float32]) -> None:
    """Tells every `Standardized` of a network the scale of what it will see."""
    for module in network.modules():
        if isinstance(module, Standardized):
            module.measure(observations)


def _bar(total: int) -> Progress:
    from tqdm import tqdm

    bar = tqdm(total=total, unit="turn", desc="learning", file=sys.stderr)

    def report(done: int, planned: int) -> None:
        bar.update(done - bar.n)
        if done >= planned:
            bar.close()

    return report

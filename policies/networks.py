"""The networks of learned policies: Stable-Baselines3's, with a scaled observation and a weight for repeated goals.

Knows an observation's layout, [embedding, turn, goals used]; knows nothing of training and files. Letters: N conversations,
d observation length, n actions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor

from convogym.policies.spec import PolicySpec

REPEAT_GAIN = 30.0  # speeds up the one shared weight, which Adam moves no faster than any other


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


POLICY_CLASSES: Mapping[str, type[BasePolicy]] = {
    "ppo": GoalActorCritic,
    "maskable-ppo": GoalMaskableActorCritic,
    "a2c": GoalActorCritic,
    "dqn": GoalQPolicy,
    "qr-dqn": QRDQNPolicy,
}

QUANTILES = 20  # of QR-DQN; Dabney et al. use 200, for millions of steps


def build(spec: PolicySpec) -> BasePolicy:
    """The untrained network that a spec describes."""
    observations = gym.spaces.Box(-np.inf, np.inf, (spec.observation_size,), np.float32)
    actions = gym.spaces.Discrete(spec.num_actions)
    cls = cast(Any, POLICY_CLASSES[spec.algorithm])
    return cast(BasePolicy, cls(observations, actions, lambda _: 0.0, **policy_kwargs(spec)))


def policy_kwargs(spec: PolicySpec) -> dict[str, Any]:
    """What SB3 is to make a spec's networks from."""
    own = {"n_quantiles": QUANTILES} if spec.algorithm == "qr-dqn" else {}
    return {
        **own,
        "net_arch": list(spec.net_arch),
        "activation_fn": torch.nn.Tanh,
        "features_extractor_class": Standardized,
        "features_extractor_kwargs": {"tail": spec.num_actions + 1},
    }


def is_flat(observations: gym.Space[Any], actions: gym.Space[Any]) -> bool:
    """Whether these networks can be built for the spaces: a row of numbers in, one of several actions out."""
    return (
        isinstance(observations, gym.spaces.Box) and len(observations.shape) == 1 and isinstance(actions, gym.spaces.Discrete)
    )


def measure(network: torch.nn.Module, observations: npt.NDArray[np.float32]) -> None:
    """Tells every `Standardized` of a network the scale of what it will see."""
    for module in network.modules():
        if isinstance(module, Standardized):
            module.measure(observations)

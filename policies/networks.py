"""The networks of learned policies: Stable-Baselines3's, with a scaled observation and weights that the goals share.

Knows an observation's layout, [embedding, goal blocks, turn, goals used]; knows nothing of training and files. Letters:
N conversations, d observation length, n actions, k goal blocks: numbers for each goal, first every goal's first, and so on.
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
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.qrdqn.policies import QRDQNPolicy
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor

from convogym.policies.spec import PolicySpec

SHARED_GAIN = 30.0  # speeds up the few shared weights, which Adam moves no faster than any other


class Standardized(BaseFeaturesExtractor):
    """Brings the observation to zero mean and unit spread, and its embedding to the weight of a single number.

    PersonaChat's observation is [embedding, goal blocks, turn, goals used]. Hundreds of embedding numbers beside the few that
    tell what was asked already would drown them in a small network, so the embedding is scaled down by the root of its length.
    A goal block has one mean and one spread, so that its goals can be told apart. The scale is measured once on random turns
    (`measure`) and stored with the weights.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, observation_space: gym.Space[Any], num_actions: int, goal_blocks: int) -> None:
        """Makes one that passes observations through unchanged, until `measure` is called.

        Args:
            observation_space: a `Box` of shape (d,).
            num_actions: n; an observation shorter than blocks, turn and counts has no embedding.
            goal_blocks: k.
        """
        shape = observation_space.shape
        assert shape is not None and len(shape) == 1
        super().__init__(observation_space, shape[0])
        self.num_actions, self.goal_blocks = num_actions, goal_blocks
        self.register_buffer("mean", torch.zeros(shape[0]))
        self.register_buffer("scale", torch.ones(shape[0]))

    def measure(self, observations: npt.NDArray[np.float32]) -> None:
        """Sets mean and scale from observations of shape (samples, d)."""
        blocks = self.goal_blocks * self.num_actions
        embedding = max(observations.shape[1] - (blocks + 1 + self.num_actions), 0)
        middle, spread = observations.mean(axis=0), observations.std(axis=0)
        for first in range(embedding, embedding + blocks, self.num_actions):
            block = slice(first, first + self.num_actions)
            middle[block], spread[block] = observations[:, block].mean(), observations[:, block].std()
        scale = np.where(spread > 1e-6, 1.0 / np.maximum(spread, 1e-6), 1.0)
        scale[:embedding] /= math.sqrt(max(embedding, 1))
        self.mean.copy_(torch.as_tensor(middle))
        self.scale.copy_(torch.as_tensor(scale))

    def forward(self, observations: Tensor) -> Tensor:
        """Standardises a batch of shape (N, d); nothing comes out beyond five spreads."""
        return ((observations - self.mean) * self.scale).clamp(-5.0, 5.0)


class _SharedWeights(torch.nn.Module):
    """A last layer that also adds, to each action's score, what is known of that action times a few learned numbers.

    What is known of an action: the goal blocks, and how often it was taken. It matters in much the same way for every goal;
    sharing the numbers between the actions lets each turn teach them, instead of an eleventh of them. They start at zero:
    nothing is presumed.
    """

    def __init__(self, layer: torch.nn.Module, num_actions: int, goal_blocks: int) -> None:
        super().__init__()
        self.layer = layer
        self.num_actions, self.known = num_actions, (goal_blocks + 1) * num_actions
        self.weight = torch.nn.Parameter(torch.zeros(goal_blocks + 1))

    def forward(self, inputs: Tensor) -> Tensor:
        """Maps [what `layer` takes, what is known of the actions], shape (N, . + (k + 1) n), to scores, shape (N, n)."""
        known = inputs[:, -self.known :].view(len(inputs), -1, self.num_actions)  # (N, k + 1, n)
        shared = (self.weight[:, None] * known).sum(1)  # (N, n)
        return cast(Tensor, self.layer(inputs[:, : -self.known])) + SHARED_GAIN * shared


def _known(features: Tensor, num_actions: int, goal_blocks: int) -> Tensor:
    """Goal blocks and counts out of (N, d) observations, shape (N, (k + 1) n): all but the turn between them."""
    turn = features.shape[1] - num_actions - 1
    return torch.cat([features[:, turn - goal_blocks * num_actions : turn], features[:, turn + 1 :]], dim=1)


class _PassKnown(torch.nn.Module):
    """SB3's hidden layers, with what is known of the actions handed on beside what the actor's layers make of the rest."""

    def __init__(self, layers: MlpExtractor, num_actions: int, goal_blocks: int) -> None:
        super().__init__()
        self.layers = layers
        self.num_actions, self.goal_blocks = num_actions, goal_blocks
        self.latent_dim_pi = layers.latent_dim_pi + (goal_blocks + 1) * num_actions
        self.latent_dim_vf = layers.latent_dim_vf

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The actor's and the critic's part."""
        return self.forward_actor(features), self.forward_critic(features)

    def forward_actor(self, features: Tensor) -> Tensor:
        """Shape (N, latent_dim_pi)."""
        return torch.cat([self.layers.forward_actor(features), _known(features, self.num_actions, self.goal_blocks)], dim=1)

    def forward_critic(self, features: Tensor) -> Tensor:
        """Shape (N, latent_dim_vf)."""
        return self.layers.forward_critic(features)


class GoalActorCritic(ActorCriticPolicy):
    """SB3's actor-critic networks with weights that the goals share; for PPO and A2C."""

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _share_weights(self, lr_schedule)


class GoalMaskableActorCritic(MaskableActorCriticPolicy):
    """The same for MaskablePPO."""

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _share_weights(self, lr_schedule)


class GoalQPolicy(DQNPolicy):
    """SB3's Q network with weights that the goals share."""

    def make_q_net(self) -> QNetwork:
        """The network, as the online and as the target one."""
        network = super().make_q_net()
        sizes = _sizes(self)
        network.q_net = torch.nn.Sequential(_RepeatKnown(*sizes), _SharedWeights(network.q_net, *sizes))
        return network


class _RepeatKnown(torch.nn.Module):
    """Appends what is known of the actions once more."""

    def __init__(self, num_actions: int, goal_blocks: int) -> None:
        super().__init__()
        self.num_actions, self.goal_blocks = num_actions, goal_blocks

    def forward(self, features: Tensor) -> Tensor:
        """From shape (N, d) to (N, d + (k + 1) n)."""
        return torch.cat([features, _known(features, self.num_actions, self.goal_blocks)], dim=1)


def _sizes(policy: BasePolicy) -> tuple[int, int]:
    """The number of actions and of goal blocks that a policy was made for."""
    return policy.features_extractor_kwargs["num_actions"], policy.features_extractor_kwargs["goal_blocks"]


def _share_weights(policy: ActorCriticPolicy | MaskableActorCriticPolicy, lr_schedule: Schedule) -> None:
    """Rebuilds the end of a freshly built actor; the optimizer must know the new parameters."""
    sizes = _sizes(policy)
    anyhow = cast(Any, policy)
    anyhow.mlp_extractor = _PassKnown(policy.mlp_extractor, *sizes)
    anyhow.action_net = _SharedWeights(policy.action_net, *sizes)
    anyhow.optimizer = anyhow.optimizer_class(policy.parameters(), lr=lr_schedule(1), **policy.optimizer_kwargs)


POLICY_CLASSES: Mapping[str, type[BasePolicy]] = {
    "ppo": GoalActorCritic,
    "maskable-ppo": GoalMaskableActorCritic,
    "recurrent-ppo": RecurrentActorCriticPolicy,
    "a2c": GoalActorCritic,
    "dqn": GoalQPolicy,
    "qr-dqn": QRDQNPolicy,
}

LSTM_SIZE = 64  # of recurrent-ppo; SB3's 256 are for millions of steps
QUANTILES = 20  # of QR-DQN; Dabney et al. use 200, for millions of steps


def build(spec: PolicySpec) -> BasePolicy:
    """The untrained network that a spec describes."""
    observations = gym.spaces.Box(-np.inf, np.inf, (spec.observation_size,), np.float32)
    actions = gym.spaces.Discrete(spec.num_actions)
    cls = cast(Any, POLICY_CLASSES[spec.algorithm])
    return cast(BasePolicy, cls(observations, actions, lambda _: 0.0, **policy_kwargs(spec)))


def policy_kwargs(spec: PolicySpec) -> dict[str, Any]:
    """What SB3 is to make a spec's networks from."""
    own: dict[str, Any] = {"n_quantiles": QUANTILES} if spec.algorithm == "qr-dqn" else {}
    if spec.algorithm == "recurrent-ppo":
        own = {"lstm_hidden_size": LSTM_SIZE}
    return {
        **own,
        "net_arch": list(spec.net_arch),
        "activation_fn": torch.nn.Tanh,
        "features_extractor_class": Standardized,
        "features_extractor_kwargs": {"num_actions": spec.num_actions, "goal_blocks": spec.goal_blocks},
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

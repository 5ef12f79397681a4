"""Which algorithms learn a policy, and their hyper-parameters. Numbers and names only; loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EPSILON = 0.05  # share of random actions that a DQN policy keeps (the floor of the original convogym's DQNPolicy)
WARM_UP_STEPS = 512  # random turns that set the scale of the observation; part of the budget

# Hyper-parameters per algorithm, for talks of 8 turns and 5,000 to 20,000 turns in all. `rollout` is the number of turns
# between two updates over all parallel environments (SB3's n_steps x n_envs); the rest are SB3's own names.
#
# gamma 0: every reward term pays a goal at its own turn, and `identification` is a difference of potentials, so what later
# goals bring is noise to an earlier one. Learning rate and entropy were the best of several for PPO on talks simulated without
# a language model, in which it then came within 1 % of the best fixed goals; with gamma 0.99 it fell 6 % short of them.
HYPERPARAMETERS: Mapping[str, Mapping[str, Any]] = {
    "ppo": {
        "rollout": 256,
        "learning_rate": 3e-3,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.0,
        "gae_lambda": 0.0,
        "clip_range": 0.2,
        "ent_coef": 0.01,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
    },
    "maskable-ppo": {
        "rollout": 256,
        "learning_rate": 3e-3,
        "batch_size": 128,
        "n_epochs": 10,
        "gamma": 0.0,
        "gae_lambda": 0.0,
        "clip_range": 0.2,
        "ent_coef": 0.01,
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
    # Quantile regression instead of one value (Dabney et al. 2018), of few quantiles: there are few turns to tell them apart.
    "qr-dqn": {
        "learning_rate": 1e-3,
        "buffer_size": 50_000,
        "learning_starts": WARM_UP_STEPS,
        "batch_size": 64,
        "gamma": 0.95,
        "tau": 0.2,
        "target_update_interval": 64,
        "train_freq": 1,
        "gradient_steps": 16,
        "exploration_fraction": 0.6,
        "exploration_initial_eps": 1.0,
        "exploration_final_eps": EPSILON,
        "max_grad_norm": 1.0,
    },
}

ALGORITHMS: tuple[str, ...] = tuple(HYPERPARAMETERS)
VALUE_BASED = ("dqn", "qr-dqn")  # their networks give values, and they explore by epsilon

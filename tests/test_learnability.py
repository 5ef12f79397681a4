"""A responder that opens up to one goal alone must be found out in a minute: environment, reward and learner together."""

import time

import numpy as np
import torch
from fakes import GatedSpeaker, env_kwargs

from convogym.envs.sb3 import SB3VecEnv
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.experiments.evaluate_policy import evaluate_policies
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.policies.training import train


def test_a_responder_that_one_goal_opens_is_solved_within_a_minute() -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    began = time.process_time()
    learning = PersonaChatVectorEnv(64, observation="goals", **env_kwargs(responder=GatedSpeaker("pets")))
    learned = train("ppo", SB3VecEnv(learning), 6144, 0)
    assert time.process_time() - began < 60
    torch.set_num_threads(threads)
    env = PersonaChatVectorEnv(64, autoreset_mode="NextStep", **env_kwargs(responder=GatedSpeaker("pets")))
    optimum, chance, found = (
        np.mean(evaluate_policies([policy], env, 128)["returns"][policy.name])
        for policy in (CyclePolicy(11, [1]), RandomPolicy(11), learned)
    )
    assert chance < 0.6 * optimum
    assert found >= 0.95 * optimum

"""Previews are the turns that would follow, leave no trace, and make the greedy look-ahead as good as it must be."""

from typing import Any

import numpy as np
import pytest
from fakes import GatedSpeaker, env_kwargs
from gymnasium.error import ResetNeeded
from tiny import tiny_model

from convogym.envs.persona_chat import PersonaChatEnv
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments.evaluate_policy import evaluate_policies
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.policies.loading import make_policy
from convogym.policies.lookahead import LookaheadPolicy

REWARD = "identification-0.1*repetition+0.01*ranking"


def model_env(number: int) -> PersonaChatVectorEnv:
    model = tiny_model()
    return PersonaChatVectorEnv(
        number,
        autoreset_mode="NextStep",
        **env_kwargs(responder=model.responder(), goal_speaker=model.goal_speaker(), reward=REWARD),
    )


@pytest.mark.parametrize("number", [1, 3])
def test_a_preview_is_the_turn_that_step_takes_and_changes_none(number: int) -> None:
    looked, plain = model_env(number), model_env(number)
    looked.reset(seed=3)
    plain.reset(seed=3)
    for actions in np.random.default_rng(0).integers(11, size=(4, number)):
        previews = looked.step_all_actions()
        assert [len(goals) for goals in previews] == [11] * number
        seen, rewards, _, _, infos = looked.step(actions)
        unseen, others, _, _, other_infos = plain.step(actions)
        np.testing.assert_array_equal(rewards, others)
        np.testing.assert_allclose(seen, unseen, atol=1e-5)
        assert list(infos["reply"]) == list(other_infos["reply"])
        for i, action in enumerate(actions):
            preview = previews[i][action]
            assert (preview.line, preview.reply) == (infos["line"][i], infos["reply"][i])
            assert preview.reward == pytest.approx(rewards[i], abs=1e-6)
            assert set(preview.reward_terms) == {"identification", "repetition", "ranking"}
    assert len({preview.line for preview in previews[0]}) > 1


def test_the_single_environment_previews_its_own_turn() -> None:
    env = PersonaChatEnv(**env_kwargs())
    with pytest.raises(ResetNeeded):
        env.step_all_actions()
    env.reset(seed=0)
    previews = env.step_all_actions()
    _, reward, *_, info = env.step(4)
    assert previews[4].reply == info["reply"] and previews[4].reward == reward
    for _ in range(3):
        env.step(0)
    with pytest.raises(ResetNeeded, match="no next turn"):
        env.step_all_actions()


def test_look_ahead_takes_the_goal_that_opens_the_responder() -> None:
    env: Any = PersonaChatVectorEnv(4, autoreset_mode="NextStep", **env_kwargs(responder=GatedSpeaker("pets")))
    best = CyclePolicy(11, [1])
    found = evaluate_policies([make_policy("lookahead", 11, 0), best, RandomPolicy(11)], env, 12)
    assert found["returns"]["lookahead"] == found["returns"]["cycle:1"]
    assert found["differences"][1]["winner"] == "lookahead"


def test_look_ahead_keeps_to_the_mask_and_wants_its_preview() -> None:
    policy = LookaheadPolicy(3)
    with pytest.raises(InputError, match="preview of shape"):
        policy.predict(np.zeros((2, 4), np.float32))
    policy.preview(np.array([[1.0, 3.0, 2.0], [0.0, 0.0, 0.0]]))
    masks = np.array([[True, False, True], [False, True, True]])
    assert policy.predict(np.zeros((2, 4), np.float32), action_masks=masks)[0].tolist() == [2, 1]

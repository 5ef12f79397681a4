"""The environment over real decoding: tiny untrained models from a folder, named like any other."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeReader, small_personas

from convogym.agents.gpt2 import GPT2Shape
from convogym.agents.model import LanguageModel
from convogym.agents.tokenizer import BPETokenizer
from convogym.envs.persona_chat import PersonaChatEnv
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.goals import PUBLISHED_GOALS

ACTIONS = np.random.default_rng(0).integers(11, size=(4, 3))


@pytest.fixture(scope="module", params=["inline", "personagpt"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    texts = [*PUBLISHED_GOALS, *(fact for persona in small_personas() for fact in persona.facts)]
    tokenizer = BPETokenizer.learn(texts, 300)
    shape = GPT2Shape(vocab_size=len(tokenizer), n_positions=160, n_embd=16, n_layer=1, n_head=2)
    path = tmp_path_factory.mktemp("models") / str(request.param)
    LanguageModel.fresh("tiny", shape, tokenizer, request.param, seed=0).save(path)
    return path


def arguments(folder: Path, **changes: Any) -> dict[str, Any]:
    plain = {"responder": str(folder), "personas": small_personas(), "reader": FakeReader(), "num_turns": 2}
    return {**plain, **changes}


def test_dialogue_of_a_model_is_the_same_alone_and_in_a_batch(folder: Path) -> None:
    vector = PersonaChatVectorEnv(3, **arguments(folder))
    vector.reset(seed=20)
    together: list[list[tuple[str, str]]] = [[] for _ in range(3)]
    states: list[Any] = []
    for actions in ACTIONS:
        observations, _, ended, _, infos = vector.step(actions)
        info = infos["final_info"] if ended.all() else infos
        states.append(np.stack(list(infos["final_obs"])) if ended.all() else observations)
        for i in range(3):
            together[i].append((info["line"][i], info["reply"][i]))
    for i in range(3):
        single = PersonaChatEnv(**arguments(folder))
        single.reset(seed=20 + i)
        for turn, action in enumerate(ACTIONS[:, i]):
            observation, _, terminated, _, info = single.step(int(action))
            assert (info["line"], info["reply"]) == together[i][turn]
            np.testing.assert_allclose(np.asarray(observation), states[turn][i], atol=1e-4)
            if terminated:
                single.reset()
    assert len({text for turns in together for text, _ in turns}) > 9


def test_two_environments_may_share_the_speakers(folder: Path) -> None:
    model = LanguageModel.load(folder)
    asks, answers = model.goal_speaker(), model.responder()
    shared = arguments(folder, responder=answers, goal_speaker=asks)
    first, second = PersonaChatEnv(**shared), PersonaChatEnv(**shared)
    alone = PersonaChatEnv(**arguments(folder))
    for env, seed in ((first, 1), (second, 2), (alone, 1)):
        env.reset(seed=seed)
    for action in ACTIONS[:2, 0].tolist():
        mixed = first.step(action)[4]
        second.step(10 - action)
        expected = alone.step(action)[4]
        assert (mixed["line"], mixed["reply"]) == (expected["line"], expected["reply"])


def test_one_speaker_object_may_play_both_sides(folder: Path) -> None:
    both = LanguageModel.load(folder).responder()
    one, two = PersonaChatEnv(**arguments(folder, responder=both)), PersonaChatEnv(**arguments(folder))
    one.reset(seed=1)
    two.reset(seed=1)
    for action in (0, 1):
        assert one.step(action)[4]["reply"] == two.step(action)[4]["reply"]


def test_talk_that_outgrows_the_context_goes_on_and_says_so(folder: Path) -> None:
    env = PersonaChatEnv(**arguments(folder, num_turns=5))
    env.reset(seed=0)
    faults = [env.step(turn)[4]["faults"]["context_dropped"] for turn in range(5)]
    assert not faults[0] and faults[-1]


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "CPU", ""])
def test_a_device_that_is_not_there_is_refused(folder: Path, device: str) -> None:
    with pytest.raises(InputError, match="`device` must be one of cpu"):
        PersonaChatVectorEnv(2, **arguments(folder, device=device))

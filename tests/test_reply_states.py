"""Observations that read the replies anew: what is encoded, when, and what is refused."""

import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from fakes import EchoSpeaker, env_kwargs
from tiny import tiny_model

from convogym.envs.persona_chat import PersonaChatEnv
from convogym.envs.reply_states import NUM_TOKENS
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError, UnknownNameError


def model_env(observation: str, **changes: Any) -> PersonaChatEnv:
    model = tiny_model()
    speakers = {"responder": model.responder(), "goal_speaker": model.goal_speaker()}
    return PersonaChatEnv(**env_kwargs(observation=observation, reward="coverage", num_turns=2, **speakers, **changes))


def test_the_last_token_of_all_replies_is_what_the_model_says_of_them() -> None:
    env = model_env("last-token")
    observation, _ = env.reset(seed=1)
    assert isinstance(observation, np.ndarray) and not observation.any()
    replies = []
    for action in (1, 2):
        observation, _, _, _, info = env.step(action)
        replies.append(info["reply"])
    model = tiny_model()
    with torch.inference_mode():
        ids = torch.tensor([[*model.tokenizer.encode(" ".join(replies)), model.tokenizer.eos]])
        wanted = model.network.standardised(model.network.hidden(ids)[0, -1]).numpy()
    assert isinstance(observation, np.ndarray)
    np.testing.assert_allclose(observation[: len(wanted)], wanted, atol=1e-5)
    assert observation[len(wanted) :].tolist() == [1.0, 0.0, 0.5, 0.5, *[0.0] * 8]
    assert env.observation_space.contains(observation)


def test_tokens_are_those_of_the_transcript_with_every_end() -> None:
    env = model_env("tokens")
    observation, _ = env.reset(seed=1)
    assert isinstance(observation, np.ndarray) and (observation == -1).all() and observation.shape == (NUM_TOKENS,)
    observation, _, _, _, info = env.step(1)
    tokenizer = tiny_model().tokenizer
    wanted = [*tokenizer.encode(info["line"]), tokenizer.eos, *tokenizer.encode(info["reply"]), tokenizer.eos]
    assert isinstance(observation, np.ndarray)
    assert observation[-len(wanted) :].tolist() == wanted and (observation[: -len(wanted)] == -1).all()
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize("observation", ["last-token", "tokens"])
def test_who_is_no_language_model_has_no_tokens(observation: str) -> None:
    with pytest.raises(InputError, match="needs a language model as responder, got 'echo'"):
        PersonaChatEnv(**env_kwargs(observation=observation, responder=EchoSpeaker()))


def test_a_missing_package_is_told_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(InputError, match=r"pip install 'convogym\[sentences\]'"):
        PersonaChatEnv(**env_kwargs(observation="sentence-transformers"))
    with pytest.raises(UnknownNameError):
        PersonaChatEnv(**env_kwargs(observation="embedding:mini"))


def test_a_sentence_encoder_reads_the_replies_of_all_talks_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    class Counting:
        """Stands at the import's edge: the length of each text, and its number of words."""

        def __init__(self, name: str, device: str) -> None:
            if name == "none":
                raise OSError("no such encoder")

        def get_sentence_embedding_dimension(self) -> int:
            return 2

        def encode(self, texts: list[str], show_progress_bar: bool) -> Any:
            asked.append(texts)
            return np.array([[len(text), len(text.split())] for text in texts], np.float32)

    module = types.ModuleType("sentence_transformers")
    module.SentenceTransformer = Counting  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    env = PersonaChatVectorEnv(3, **env_kwargs(observation="sentence-transformers:mini", num_turns=4))
    observation, _ = env.reset(seed=0)
    assert observation.shape == (3, 2 + 12) and asked == []
    observation, _, _, _, infos = env.step(np.array([1, 2, 3]))
    assert asked == [list(infos["reply"])]
    assert observation[:, 0].tolist() == [len(reply) for reply in infos["reply"]]
    with pytest.raises(InputError, match="expected a sentence encoder"):
        PersonaChatEnv(**env_kwargs(observation="sentence-transformers:none"))

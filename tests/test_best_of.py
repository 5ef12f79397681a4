"""Of several draws the one most like the others is said, whoever is asked beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from fakes import EchoSpeaker, env_kwargs
from tiny import tiny_model

from convogym.agents.best_of import BestOf
from convogym.agents.sampling import Sampling
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.metrics import consensus
from convogym.speakers import Request, Utterance

WILD = Sampling(top_k=300, top_p=1.0, temperature=1.5, max_tokens=12)


def request(slot: int, seed: int, history: Sequence[str] = ("hello.",)) -> Request:
    return Request(slot, ("i have two cats.",), tuple(history), (), np.random.default_rng(seed).random(12))


class Choosing(EchoSpeaker):
    """Says a text of its own in each of a request's slots."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__()
        self.texts = texts

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        return [dataclasses.replace(said, text=self.texts[i]) for i, said in enumerate(super().speak(requests))]


def test_the_draw_most_like_the_others_is_said_and_heard_once() -> None:
    speaker = Choosing(["a red car", "two old cats", "two cats", "it rains"])
    heard: list[str] = []
    asked = dataclasses.replace(request(3, 0), heard=heard.append)
    (said,) = BestOf(speaker, 4).speak([asked])
    assert said.text == "two old cats" and heard == ["two old cats"]
    assert [each.slot for each in speaker.requests] == [12, 13, 14, 15]
    assert np.array_equal(speaker.requests[0].noise, asked.noise)
    assert len({each.noise.tobytes() for each in speaker.requests}) == 4
    assert all(each.heard is None and ((0 <= each.noise) & (each.noise < 1)).all() for each in speaker.requests)


def test_what_the_speaker_said_before_is_not_said_again() -> None:
    texts = ["a red car", "two old cats", "two cats", "it rains"]
    asked = request(0, 0, ("two cats", "two old cats", "and?"))  # the first of them is the partner's
    assert BestOf(Choosing(texts), 4).speak([asked])[0].text == "two cats"


def test_a_models_answer_depends_on_its_request_alone() -> None:
    model = tiny_model()
    requests = [request(slot, 10 + slot) for slot in range(3)]
    together = [said.text for said in BestOf(model.responder(WILD), 5).speak(requests)]
    alone = [BestOf(model.responder(WILD), 5).speak([each])[0].text for each in reversed(requests)][::-1]
    assert together == alone and len(set(together)) == 3
    speaker = BestOf(model.responder(WILD), 5)
    drawn = [said.text for said in model.responder(WILD).speak(speaker._draws(requests[1]))]
    assert len(set(drawn)) > 1 and together[1] == drawn[consensus(drawn)]
    assert model.responder(WILD).speak([requests[1]])[0].text == drawn[0]


def test_it_is_known_by_name_and_gives_what_the_model_gives() -> None:
    responder = tiny_model().responder()
    speaker = BestOf(responder, 3)
    assert speaker.name == f"{responder.name}, best of 3"
    assert (speaker.model, speaker.feature_size, speaker.max_tokens) == (responder.model, responder.feature_size, 40)
    assert np.array_equal(speaker.embed(["hi."]), responder.embed(["hi."]))
    assert not hasattr(speaker, "exchange")
    with pytest.raises(InputError, match="at least 2"):
        BestOf(responder, 1)


def test_environments_take_it_as_their_responder() -> None:
    speaker = EchoSpeaker()
    envs: Any = PersonaChatVectorEnv(2, **env_kwargs(responder=BestOf(speaker, 3)))
    envs.reset(seed=1)
    infos = envs.step(np.array([0, 1]))[-1]
    drawn = [speaker.text(each) for each in speaker.requests if not each.goals]
    assert len({each.slot for each in speaker.requests if not each.goals}) == 6
    assert list(infos["reply"]) == [drawn[consensus(drawn[:3])], drawn[3 + consensus(drawn[3:])]]
    assert envs.responder_name == "echo, best of 3"

"""The comparison of batch sizes finds what depends on the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from fakes import EchoSpeaker, env_kwargs
from tiny import tiny_model

from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments import evaluate_seeds as module
from convogym.experiments.evaluate_seeds import evaluate_seeds
from convogym.speakers import Request, Utterance


class Gossip(EchoSpeaker):
    """From its third turn on it says how many were asked with it."""

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        spoken = super().speak(requests)
        return [
            said if len(request.history) < 5 else Utterance(f"we are {len(requests)}", 3, said.features, -1.0)
            for said, request in zip(spoken, requests, strict=True)
        ]


def test_a_speaker_that_depends_on_its_company_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_env(model: Any, size: int, **options: Any) -> PersonaChatVectorEnv:
        return PersonaChatVectorEnv(size, autoreset_mode="NextStep", **env_kwargs(responder=Gossip()))

    monkeypatch.setattr(module, "make_env", fake_env)
    found = evaluate_seeds(tiny_model(), 6, batches=(1, 3), turns=4)
    assert found["identical"] == {"3": 0} and found["n"] == 6
    assert {each["turn"] for each in found["differences"]} == {2}
    assert found["differences"][0]["alone"][1] == "we are 1" and found["differences"][0]["beside"][1] == "we are 3"


def test_one_size_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(InputError, match="two different"):
        evaluate_seeds(tiny_model(), 2, batches=(4,))

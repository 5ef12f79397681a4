"""The two other ways to speak do speak: greedily, they say what the decoder says, token for token."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_model

from convogym.agents import decoder
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling, pick
from convogym.agents.speaking import ModelSpeaker
from convogym.agents.torch_passes import TorchPasses
from convogym.experiments.baseline_speakers import BatchedGenerate, ReferenceLoop, filtered, in_transformers
from convogym.experiments.scripted_talks import Script, converse, in_turn
from convogym.layouts import LAYOUTS, prompt
from convogym.speakers import Request

GREEDY = Sampling(top_k=1, max_tokens=12)
FACTS = ("i have two dogs.", "i am a nurse.", "i like tea.", "i live in a small town by the sea.")
GOALS = ("ask about pets.", "talk about work.", "talk about music.")
DIALOGUES = 5


@pytest.fixture(scope="module")
def pair() -> tuple[LanguageModel, Any]:
    """A tiny model that minds positions and ends some utterances; and the same weights in the transformers library."""
    model = tiny_model(seed=1)
    transformer = model.network.transformer
    with torch.no_grad():
        transformer.wpe.weight.mul_(20)
        transformer.ln_f.bias.add_(2.5 * transformer.wte.weight[model.tokenizer.eos])
    return model, in_transformers(model)


@pytest.fixture
def unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our decoder multiplies by torch, in float32 as the two others do; test_decoder.py tells what its kernels round."""
    monkeypatch.setattr(decoder, "passes_of", TorchPasses)


def script(turns: int = 3, max_tokens: int = 12) -> Script:
    rng = np.random.default_rng(2)

    def request(i: int, persona: tuple[str, ...], goals: tuple[str, ...]) -> Request:
        return Request(i, persona, (), goals, rng.random(max_tokens))

    return Script(
        tuple(tuple(request(i, (), GOALS[: t + 1]) for i in range(DIALOGUES)) for t in range(turns)),
        tuple(tuple(request(i, FACTS[: i % 4 + 1], ()) for i in range(DIALOGUES)) for t in range(turns)),
    )


@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("system", [ReferenceLoop, BatchedGenerate])
def test_whole_talks_are_greedily_those_of_our_speaker(system: Any, layout: str, pair: tuple[LanguageModel, Any]) -> None:
    model = dataclasses.replace(pair[0], layout=layout)
    ours = converse(script(), ModelSpeaker(model, GREEDY).exchange)
    speaker = system(model, pair[1], GREEDY)
    theirs = converse(script(), in_turn(speaker.speak, speaker.speak))
    assert theirs.said == ours.said
    assert theirs.tokens == ours.tokens
    assert len({text for talk in ours.said for text in talk}) > 10


@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize("system", [ReferenceLoop, BatchedGenerate])
def test_their_tokens_are_greedily_those_of_our_decoder(system: Any, pair: tuple[LanguageModel, Any]) -> None:
    """Ragged prompts of both sides; some utterances end by themselves, others at the bound."""
    model, network = pair
    history = ("hello there.", "hi! how are you today?", "i am fine.", "good.", "do you have any pets?", "yes, two dogs.")
    asked = [Request(i, FACTS, history[: 2 * i + 1], (), np.zeros(0)) for i in range(3)]
    asked += [Request(3 + i, (), history[: 2 * i], GOALS[: i + 1], np.zeros(0)) for i in range(3)]
    prompts = [prompt("inline", model.tokenizer, r.persona, r.history, r.goals, 500).ids for r in asked]
    ours = model.decoder().generate(range(len(asked)), prompts, np.zeros((len(asked), 12)), GREEDY)
    theirs = system(model, network, GREEDY).speak(asked)
    assert [(said.ids, said.tokens) for said in theirs] == [(said.ids, said.tokens) for said in ours]
    assert {said.is_cut_off for said in ours} == {True, False}


@pytest.mark.parametrize("system", [ReferenceLoop, BatchedGenerate])
def test_what_they_draw_is_repeated_by_its_seed(system: Any, pair: tuple[LanguageModel, Any]) -> None:
    model, network = pair
    asked = script().replies[0]
    asked = tuple(dataclasses.replace(request, history=("hello there.",)) for request in asked)
    before = torch.get_rng_state()
    first, again, other = (
        [[said.ids for said in system(model, network, Sampling(max_tokens=8), seed).speak(asked)]] for seed in (1, 1, 2)
    )
    assert first == again != other
    speaker = system(model, network, Sampling(max_tokens=8), 1)
    assert speaker.speak(asked) != speaker.speak(asked)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("system", [ReferenceLoop, BatchedGenerate])
def test_they_never_say_nothing_or_a_control_token(system: Any, pair: tuple[LanguageModel, Any]) -> None:
    model, network = pair
    asked = [dataclasses.replace(request, history=("hello there.",)) for request in script().replies[0]] * 4
    for said in system(model, network, Sampling(top_k=400, top_p=1.0, max_tokens=8)).speak(asked):
        assert said.ids and not set(said.ids) & set(model.tokenizer.control_ids)
        assert len(said.ids) <= said.tokens <= 8


def test_the_filter_leaves_the_tokens_that_our_sampling_can_pick() -> None:
    rng = torch.Generator().manual_seed(3)
    for sampling in (Sampling(), Sampling(top_k=5, top_p=0.5), Sampling(top_k=1)):
        logits = torch.randn(40, generator=rng)
        grid = torch.linspace(0, 1 - 1e-9, 4001, dtype=torch.float64)
        picked = pick(logits.expand(len(grid), -1), grid, sampling)
        shares = torch.softmax(filtered(logits, sampling), -1)
        assert set(picked.tolist()) == set(torch.nonzero(shares).flatten().tolist())
        counted = torch.bincount(picked, minlength=40) / len(grid)
        torch.testing.assert_close(counted, shares, atol=1e-3, rtol=0)


def test_nothing_is_copied(pair: tuple[LanguageModel, Any]) -> None:
    model, network = pair
    theirs = {name: tensor.data_ptr() for name, tensor in network.state_dict().items()}
    assert all(theirs[name] == tensor.data_ptr() for name, tensor in model.network.state_dict().items())
    assert theirs["lm_head.weight"] == theirs["transformer.wte.weight"]

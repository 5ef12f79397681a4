"""Low-rank adapters: they start as nothing, train alone, and merge into ordinary weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_model

from convogym import grammar
from convogym.agents.finetuning import FinetuneConfig, Finetuner, Pair
from convogym.agents.gpt2 import Linear
from convogym.agents.lora import add_adapters, merge_adapters
from convogym.errors import InputError

IDS = torch.tensor([[5, 9, 20, 31, 7]])


def test_adapters_start_as_nothing_train_alone_and_merge() -> None:
    model = tiny_model()
    network = model.network
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        first = network.hidden(IDS)
        add_adapters(network, 2, seed=0)
        torch.testing.assert_close(network.hidden(IDS), first)
    talks = [grammar.dialogue(np.random.default_rng(0), "train", 2) for _ in range(4)]
    pairs = [Pair((), (), ("ask about pets.",), "do you have a dog?")]
    config = FinetuneConfig(steps=4, lr=1e-2, rates="control", pairs=1, rehearsal=1, evaluate_every=4, tolerance=0.9)
    list(Finetuner(model, pairs, talks, talks, lambda candidate: 0.5, config).run())
    with torch.no_grad():
        tuned = network.hidden(IDS)
        assert not torch.allclose(tuned, first, atol=1e-3)
        merge_adapters(network)
        torch.testing.assert_close(network.hidden(IDS), tuned, rtol=1e-4, atol=1e-4)
    after = network.state_dict()
    assert set(after) == set(before)
    assert all(isinstance(block.attn.c_attn, Linear) for block in network.transformer.layers())
    control = list(model.tokenizer.control_ids)
    words = [i for i in range(400) if i not in control]
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.endswith("weight") and (".c_" in name)} | {"transformer.wte.weight"}
    assert torch.equal(before["transformer.wte.weight"][words], after["transformer.wte.weight"][words])
    for name in moved - {"transformer.wte.weight"}:
        assert int(torch.linalg.matrix_rank(after[name] - before[name], atol=1e-4)) <= 2
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_adapters_are_a_function_of_the_seed() -> None:
    networks = [tiny_model().network for _ in range(2)]
    for network in networks:
        torch.rand(1)
        add_adapters(network, 3, seed=4)
    states = [network.state_dict() for network in networks]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_rank_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        add_adapters(tiny_model().network, 0, seed=0)

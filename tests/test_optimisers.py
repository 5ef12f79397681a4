"""How far a step moves which part of a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from convogym.agents.gpt2 import GPT2, GPT2Shape
from convogym.agents.optimisers import PUBLISHED_SHARES, GroupedAdamW, OptimiserPair

LR = 5e-5
CONTROL = (57, 58, 59)


def network() -> GPT2:
    made = GPT2(GPT2Shape(60, 16, 8, 2, 2))
    made.reset_parameters(torch.Generator().manual_seed(0))
    return made


def moved(made: GPT2, optimiser: Any, scale: float = 1.0) -> dict[str, torch.Tensor]:
    """How far a first step moves each entry. AdamW's first step is its rate wherever there is a gradient."""
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    for parameter in made.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step(scale, math.inf)
    return {name: (p.detach() - before[name]).abs() for name, p in made.named_parameters()}


def test_published_rates_move_each_part_by_its_own_rate() -> None:
    made = network()
    by = moved(made, GroupedAdamW(made, LR, CONTROL, PUBLISHED_SHARES))
    words = by["transformer.wte.weight"]
    assert words[list(CONTROL)].mean() == pytest.approx(5e-4, rel=0.01)  # the original's never moved
    assert words[:57].max() < 2e-8
    assert by["transformer.wpe.weight"].mean() == pytest.approx(1e-6, rel=0.05)
    assert by["transformer.h.0.mlp.c_fc.weight"].mean() == pytest.approx(5e-5, rel=0.01)


def test_one_rate_moves_everything_alike() -> None:
    made = network()
    by = moved(made, GroupedAdamW(made, 1e-3), scale=0.5)
    assert all(distance.mean() == pytest.approx(5e-4, rel=0.01) for distance in by.values())


def test_pretraining_moves_attention_and_positions_less() -> None:
    made = network()
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    generator = torch.Generator().manual_seed(1)
    for parameter in made.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    OptimiserPair(made, 8e-3, 2e-2).step(1.0, 1e9)
    size = {name: float((p.detach() - before[name]).pow(2).mean().sqrt()) for name, p in made.named_parameters()}
    assert size["transformer.wpe.weight"] == pytest.approx(OptimiserPair.POSITION_SHARE * 2e-2, rel=0.1)
    assert size["transformer.wte.weight"] == pytest.approx(2e-2, rel=0.1)
    assert size["transformer.h.0.mlp.c_fc.weight"] == pytest.approx(0.2 * 8e-3, rel=0.25)
    assert size["transformer.h.0.attn.c_attn.weight"] == pytest.approx(0.2 * 8e-3 * OptimiserPair.ATTENTION_SHARE, rel=0.25)


@pytest.mark.parametrize("make", [lambda made: OptimiserPair(made, 8e-3, 2e-2), lambda made: GroupedAdamW(made, 1e-3)])
def test_a_state_that_says_it_was_computed_otherwise_goes_on_alike(make: Callable[[GPT2], Any]) -> None:
    runs = []
    for told in (True, None):
        made = network()
        optimiser = make(made)
        moved(made, optimiser)
        state = optimiser.state_dict()
        for part in state.values() if "0" in state else [state]:
            for group in part["param_groups"]:
                if "fused" in group:
                    group["fused"] = told
        again = make(made)
        again.load_state_dict(state)
        moved(made, again)
        runs.append([p.detach().clone() for p in made.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))

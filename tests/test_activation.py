"""The compiled activation is torch's to a bfloat16's rounding, and so is its slope."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from convogym.agents.activation import tanh_gelu
from convogym.agents.gpt2 import MLP, GPT2Shape

NEAR = torch.linspace(-12, 12, 4001)
FAR = torch.tensor([-1e30, -1e4, -90.0, 90.0, 1e4])


def test_value_and_slope_are_gelus() -> None:
    x = torch.cat([NEAR, FAR]).bfloat16().view(2, -1).requires_grad_(True)
    exact = x.detach().double().requires_grad_(True)
    weights = torch.linspace(-2, 2, x.numel()).bfloat16().view_as(x)
    ours, theirs = tanh_gelu(x), F.gelu(exact, approximate="tanh")
    assert ours.dtype == torch.bfloat16
    torch.testing.assert_close(ours.double(), theirs, atol=1e-6, rtol=2**-8)
    near = x.detach().abs() < 20
    slopes = [
        torch.autograd.grad((y * w).sum(), of)[0] for y, w, of in ((ours, weights, x), (theirs, weights.double(), exact))
    ]
    torch.testing.assert_close(slopes[0][near].double(), slopes[1][near], atol=1e-6, rtol=2**-7)


def test_what_is_no_number_stays_none() -> None:
    x = torch.tensor([[0.5, float("nan"), 1.0]]).bfloat16().requires_grad_(True)
    assert torch.isnan(tanh_gelu(x)).tolist() == [[False, True, False]]


def test_parts_of_a_tensor_are_taken_as_they_stand() -> None:
    whole = torch.randn(4, 10, generator=torch.Generator().manual_seed(0)).bfloat16()
    part = whole[:, ::2].clone().requires_grad_(True)
    assert torch.equal(tanh_gelu(whole.requires_grad_(True)[:, ::2]), tanh_gelu(part))


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh", "gelu", "relu"])
def test_a_layer_in_bfloat16_computes_what_it_does_in_float32(activation: str) -> None:
    shape = GPT2Shape(50, 16, 32, 1, 2, activation_function=activation)
    layer = MLP(shape)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)
    x = torch.randn(7, 32, generator=generator)
    grads = []
    for bf16 in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            out = layer(x)
        grads.append(
            torch.cat([g.flatten() for g in torch.autograd.grad(out.float().square().sum(), list(layer.parameters()))])
        )
    assert float((grads[0] - grads[1]).norm() / grads[0].norm()) < 0.02

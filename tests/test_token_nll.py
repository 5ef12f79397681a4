"""`token_nll` gives what torch's cross entropy of all the logits gives, and the same gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from convogym.agents.gpt2 import causal_attention
from convogym.agents.token_nll import ROWS, token_nll


@pytest.mark.parametrize("targets", [1, ROWS - 1, ROWS, 2 * ROWS + 3])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_value_and_gradients_are_cross_entropys(targets: int, smoothing: float) -> None:
    generator = torch.Generator().manual_seed(targets)
    hidden = torch.randn(targets, 12, generator=generator, requires_grad=True)
    words = torch.randn(50, 12, generator=generator, requires_grad=True)
    wanted = torch.randint(0, 50, (targets,), generator=generator)
    weights = torch.rand(targets, generator=generator)
    ours = token_nll(hidden, words, wanted, smoothing)
    theirs = F.cross_entropy(hidden @ words.T, wanted, reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(ours, theirs)
    for own, expected in zip(
        torch.autograd.grad((ours * weights).sum(), (hidden, words)),
        torch.autograd.grad((theirs * weights).sum(), (hidden, words)),
        strict=True,
    ):
        torch.testing.assert_close(own, expected, atol=1e-5, rtol=1e-4)


def test_nothing_to_learn_gives_nothing() -> None:
    hidden = torch.zeros(0, 12, requires_grad=True)
    nll = token_nll(hidden, torch.randn(50, 12), torch.zeros(0, dtype=torch.int64))
    assert nll.shape == (0,)
    assert torch.autograd.grad(nll.sum(), hidden)[0].shape == (0, 12)


def test_large_logits_do_not_overflow() -> None:
    hidden, words = torch.tensor([[1000.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert token_nll(hidden, words, torch.tensor([0])).tolist() == [0.0]
    assert token_nll(hidden, words, torch.tensor([2])).tolist() == [2000.0]


def test_autocast_multiplies_in_its_precision_and_adds_in_float32() -> None:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(40, 16, generator=generator, requires_grad=True)
    words = torch.randn(60, 16, generator=generator, requires_grad=True)
    wanted = torch.randint(0, 60, (40,), generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = token_nll(hidden, words, wanted)
    exact = token_nll(hidden, words, wanted)
    assert mixed.dtype == torch.float32 and not torch.equal(mixed, exact)
    torch.testing.assert_close(mixed, exact, atol=0.05, rtol=0.02)
    for own, expected in zip(
        torch.autograd.grad(mixed.sum(), (hidden, words)), torch.autograd.grad(exact.sum(), (hidden, words)), strict=True
    ):
        assert own.dtype == torch.float32
        assert (own - expected).norm() < 0.01 * expected.norm()


def test_attention_for_training_in_bfloat16_is_the_fused_one() -> None:
    generator = torch.Generator().manual_seed(4)
    q, k, v = (torch.randn(2, 3, 17, 8, generator=generator) for _ in range(3))
    halves = [x.bfloat16().requires_grad_() for x in (q, k, v)]
    mixed = causal_attention(*halves)
    assert mixed.dtype == torch.bfloat16
    exact = causal_attention(q, k, v)
    torch.testing.assert_close(mixed.float(), exact, atol=0.03, rtol=0.03)

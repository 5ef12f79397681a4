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


def test_a_sure_tokens_gradient_is_not_lost_in_rounding() -> None:
    """Of a target whose chance is 0.999, in bfloat16: what is left to learn is a thousandth, and its sign is right."""
    words = torch.eye(8)
    hidden = torch.zeros(1, 8).index_fill(1, torch.tensor([3]), 8.8125).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        nll = token_nll(hidden, words, torch.tensor([3]))
    (gradient,) = torch.autograd.grad(nll.sum() / 900, hidden)
    expected = (torch.softmax(hidden.detach(), -1)[0, 3] - 1) / 900
    assert float(gradient[0, 3]) == pytest.approx(float(expected), rel=0.02)


def test_a_second_backward_pass_is_refused() -> None:
    nll = token_nll(torch.randn(3, 4, requires_grad=True), torch.randn(9, 4), torch.tensor([1, 2, 3])).sum()
    nll.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    with pytest.raises(RuntimeError, match="once"):
        nll.backward()  # type: ignore[no-untyped-call]


def test_attention_for_training_in_bfloat16_is_the_fused_one_with_exact_scores() -> None:
    """Compared with attention in float32 of the same rounded numbers, sure heads among them."""
    generator = torch.Generator().manual_seed(4)
    halves = [(8 * torch.randn(2, 3, 17, 8, generator=generator)).bfloat16().requires_grad_() for _ in range(3)]
    exact = [x.detach().float().requires_grad_() for x in halves]
    pull = torch.randn(2, 3, 17, 8, generator=generator)
    mixed, fused = causal_attention(*halves), causal_attention(*exact)
    assert mixed.dtype == torch.bfloat16
    assert (mixed.float() - fused).norm() < 0.005 * fused.norm()
    for own, expected in zip(
        torch.autograd.grad((mixed.float() * pull).sum(), halves),
        torch.autograd.grad((fused * pull).sum(), exact),
        strict=True,
    ):
        assert (own.float() - expected).norm() < 0.02 * expected.norm()

"""Picks the next token from logits and one uniform number a row. Knows numbers; knows nothing of tokens' meaning."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from convogym.errors import InputError


@dataclass(frozen=True)
class Sampling:
    """How replies are drawn. The defaults are PersonaGPT's (`interact.py`, model card); a model folder may say otherwise."""

    top_k: int = 10
    """only the k likeliest tokens; 1 = greedy"""
    top_p: float = 0.92
    """of those, the fewest whose share reaches p (the token that crosses p stays)"""
    temperature: float = 1.0
    """logits are divided by it"""
    max_tokens: int = 40
    """longest utterance, its end included"""

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.top_k < 1 or self.max_tokens < 1:
            raise InputError(f"`top_k` and `max_tokens` must be at least 1, got {self.top_k} and {self.max_tokens}.")
        if not 0 < self.top_p <= 1:
            raise InputError(f"`top_p` must be in (0, 1], got {self.top_p}.")
        if not self.temperature > 0:
            raise InputError(f"`temperature` must be positive, got {self.temperature}; for greedy replies use top_k=1.")


def pick(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """The token of every row: top-k, then nucleus, then the inverse of the cumulative distribution at the row's number.

    Filters as PersonaGPT's `top_k_top_p_filtering` does: the nucleus is taken of the renormalised top k, and the first token
    over the threshold is kept. Likelier tokens come first in the cumulative sum, so a row's token depends on its logits and
    number alone.

    Args:
        logits: (B, V).
        uniform: (B,) in [0, 1).
        sampling: the filter.

    Returns:
        (B,) int64.
    """
    top, tokens = torch.topk(logits, min(sampling.top_k, logits.size(-1)))  # (B, k), likeliest first
    shares = torch.softmax(top.double() / sampling.temperature, -1)
    before = shares.cumsum(-1) - shares
    shares = shares.masked_fill(before > sampling.top_p, 0.0)
    reached = shares.cumsum(-1)
    chosen = (reached <= uniform[:, None] * reached[:, -1:]).sum(-1, keepdim=True)
    last = (shares > 0).sum(-1, keepdim=True) - 1
    return tokens.gather(-1, torch.minimum(chosen, last)).squeeze(-1)

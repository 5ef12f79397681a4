"""The negative log-likelihood of tokens from hidden states, with few passes over their logits. Knows tensors alone.

Of a small model with a large vocabulary the usual way (logits in float32, their logarithms, a gradient of each) spends more
time on passes over (M, V) numbers than on products. Here some rows at a time get their chances, kept in the precision of the
products: less what was wanted they are the logits' gradient.

Letters: M targets, C hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

ROWS = 128  # whose chances are computed at a time, in 4 MB of float32 with 8,192 ids


class _TokenNLL(torch.autograd.Function):
    """See `token_nll`."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, words: Tensor, targets: Tensor, smoothing: float, dtype: torch.dtype, learns: bool
    ) -> Tensor:
        count = len(hidden)
        more = -count % ROWS if learns else 0  # sizes of products that come again
        h = F.pad(hidden.to(dtype), (0, 0, 0, more))
        w, targets = words.to(dtype), F.pad(targets, (0, more))
        shares = h.new_empty(len(h) if learns else 0, len(w))  # e^(logit - best)
        nll, totals, own = (h.new_empty(len(h), dtype=torch.float32) for _ in range(3))
        for first in range(0, len(h), ROWS):
            rows = slice(first, first + ROWS)
            logits = torch.mm(h[rows], w.T)
            best = logits.amax(-1).float()  # (ROWS,)
            wanted = (1 - smoothing) * logits.gather(-1, targets[rows, None])[:, 0].float()
            if smoothing:
                wanted += smoothing * logits.float().mean(-1)
            exact = logits.float().sub_(best[:, None]).exp_()
            totals[rows] = exact.sum(-1)
            own[rows] = exact.gather(-1, targets[rows, None])[:, 0]
            nll[rows] = totals[rows].log() + best - wanted
            if learns:
                shares[rows] = exact
        if learns:
            ctx.save_for_backward(h, w, targets, totals, own)
            ctx.shares, ctx.smoothing, ctx.dtypes = shares, smoothing, (hidden.dtype, words.dtype)
        return nll[:count]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        h, w, targets, totals, own = ctx.saved_tensors
        moved, ctx.shares = ctx.shares, None
        if moved is None:
            raise RuntimeError("`token_nll` gives its gradient once; compute it again for a second backward pass.")
        count, (of_hidden, of_words) = len(gradients[0]), ctx.dtypes
        gradient = F.pad(gradients[0], (0, len(h) - count))  # (M,)
        moved *= (gradient / totals).to(moved.dtype)[:, None]
        if ctx.smoothing:
            moved -= (gradient * ctx.smoothing / len(w)).to(moved.dtype)[:, None]
        # Of a sure token two numbers near 1 are subtracted: before they are rounded.
        wanted = own / totals - (1 - ctx.smoothing) - ctx.smoothing / len(w)
        moved[torch.arange(len(h), device=h.device), targets] = (gradient * wanted).to(moved.dtype)
        return (moved @ w)[:count].to(of_hidden), (moved.T @ h).to(of_words), None, None, None, None


def token_nll(hidden: Tensor, words: Tensor, targets: Tensor, smoothing: float = 0.0) -> Tensor:
    """`cross_entropy(hidden @ words.T, targets)` of every target, products in autocast's precision, sums in float32.

    Args:
        hidden: (M, C) states that predict the targets.
        words: (V, C), the output map.
        targets: (M,) int64 in 0..V-1.
        smoothing: share of the target's probability given to all tokens alike (label smoothing, Szegedy et al. 2016, 7).

    Returns:
        (M,) float32, in nats.
    """
    device = hidden.device.type
    mixed = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if mixed else torch.promote_types(hidden.dtype, words.dtype)
    learns = torch.is_grad_enabled() and (hidden.requires_grad or words.requires_grad)
    with torch.autocast(device, enabled=False):
        nll: Tensor = _TokenNLL.apply(hidden, words, targets, smoothing, dtype, learns)  # type: ignore[no-untyped-call]
    return nll

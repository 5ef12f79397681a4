"""Optimisers for GPT-2s: Muon and AdamW for training from scratch, AdamW by parts for fine-tuning. Knows nothing of losses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# Newton-Schulz coefficients and step count: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
_NS = (3.4445, -4.7750, 2.0315)
_NS_STEPS = 5


def orthogonalised(gradient: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values land in about 0.7..1.2. Products are of the given type."""
    a, b, c = _NS
    x = (gradient / (gradient.norm() + 1e-7)).to(dtype)
    tall = x.size(0) > x.size(1)
    if tall:
        x = x.T
    for _ in range(_NS_STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    out: Tensor = (x.T if tall else x).to(gradient.dtype)
    return out


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised (Jordan et al. 2024), in float32 unless told otherwise.

    `torch.optim.Muon` does the same in bfloat16 always, which processors without bfloat16 arithmetic emulate: sixty times
    slower on such a one.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        bf16: bool = False,
    ) -> None:
        """Takes matrices only.

        Args:
            params: two-dimensional parameters, or groups of them with rates of their own.
            lr: step size; an update has root-mean-square 0.2 * lr at any shape, AdamW's size (Liu et al. 2025, 2.2).
            momentum: of the running gradient, Nesterov.
            weight_decay: decoupled, times lr.
            bf16: orthogonalise with products in bfloat16.
        """
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._dtype = torch.bfloat16 if bf16 else torch.float32

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # no loss is given back
        """Moves every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                running = state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = orthogonalised(parameter.grad.lerp(running, group["momentum"]), self._dtype)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * 0.2 * max(parameter.shape) ** 0.5)


def _fused(state: dict[str, Any]) -> dict[str, Any]:
    """AdamW's state, of whatever age, for its one kernel: a state says which way it was computed, and would be obeyed."""
    return {**state, "param_groups": [{**group, "fused": True} for group in state["param_groups"]]}


class OptimiserPair:
    """Muon and AdamW stepped as one, at rates that a schedule scales together."""

    ATTENTION_SHARE = 0.3
    """of Muon's rate, for the maps to queries, keys and values: at the full rate copying heads are overwritten"""
    POSITION_SHARE = 0.05
    """of AdamW's rate, for the position embedding"""

    def __init__(
        self,
        network: nn.Module,
        matrix_lr: float,
        other_lr: float,
        weight_decay: float = 0.0,
        epsilon: float = 1e-8,
        bf16: bool = False,
    ) -> None:
        """Splits the parameters.

        Args:
            network: a `GPT2` or something around one.
            matrix_lr: Muon's rate, for the two-dimensional weights inside the layers.
            other_lr: AdamW's rate, for embeddings, norms and biases.
            weight_decay: decoupled, of the layers' matrices; embeddings, norms and biases have none.
            epsilon: AdamW's: gradients well below it hardly move anything.
            bf16: Muon's products in bfloat16.
        """
        named = [(name, parameter) for name, parameter in network.named_parameters() if parameter.requires_grad]
        matrices = {name: p for name, p in named if p.dim() == 2 and ".h." in name}
        others = {name: p for name, p in named if name not in matrices}

        def groups(of: dict[str, nn.Parameter], part: str, share: float, rate: float) -> list[dict[str, Any]]:
            split = [([p for name, p in of.items() if part not in name], rate)]
            split.append(([p for name, p in of.items() if part in name], rate * share))
            return [{"params": parameters, "lr": lr} for parameters, lr in split if parameters]

        self._pair: tuple[torch.optim.Optimizer, ...] = (
            Muon(groups(matrices, "c_attn", self.ATTENTION_SHARE, matrix_lr), weight_decay=weight_decay, bf16=bf16),
            torch.optim.AdamW(
                groups(others, "wpe", self.POSITION_SHARE, other_lr),
                betas=(0.9, 0.95),
                eps=epsilon,
                weight_decay=0.0,
                fused=True,
            ),
        )
        self._epsilon = epsilon
        self._rates = [[group["lr"] for group in optimiser.param_groups] for optimiser in self._pair]
        self._parameters = [p for _, p in named]

    def step(self, scale: float, max_norm: float) -> float:
        """Clips, moves and forgets the gradients.

        Args:
            scale: of both rates, from the schedule.
            max_norm: gradients together are scaled down to this norm.

        Returns:
            The norm before clipping. Where it is not finite, nothing was moved.
        """
        norm = float(nn.utils.clip_grad_norm_(self._parameters, max_norm))
        if not math.isfinite(norm):
            return norm
        for optimiser, rates in zip(self._pair, self._rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * scale
                if "eps" in group:
                    group["eps"] = self._epsilon  # a checkpoint of an earlier phase brings that phase's
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on exactly."""
        return {str(i): optimiser.state_dict() for i, optimiser in enumerate(self._pair)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the state of an earlier run."""
        muon, adam = self._pair
        muon.load_state_dict(state["0"])
        adam.load_state_dict(_fused(state["1"]))


# Shares of the rate by part, from PersonaGPT's control stage (`train.py:train_loop`: control tokens 5e-4, other words 1e-8,
# positions 1e-6, the rest 5e-5). There the rows of the embedding were slices without a gradient, so that no row ever moved.
PUBLISHED_SHARES = {"control": 10.0, "words": 2e-4, "positions": 0.02}
CONTROL_ONLY = {"control": 1.0, "words": 0.0, "positions": 0.0}


class GroupedAdamW:
    """AdamW whose rate differs between control tokens, other words, positions and the rest."""

    def __init__(
        self,
        network: nn.Module,
        lr: float,
        control_rows: Sequence[int] = (),
        shares: Mapping[str, float] | None = None,
        betas: tuple[float, float] = (0.9, 0.98),
    ) -> None:
        """Splits the parameters.

        Args:
            network: a `GPT2`, with or without more heads; what needs no gradient is left alone.
            lr: rate of the rest.
            control_rows: rows of the token embedding that are control tokens.
            shares: of `lr`, for "control", "words" and "positions"; None = one rate for all.
            betas: AdamW's.
        """
        named = dict(network.named_parameters())
        words, positions = named["transformer.wte.weight"], named["transformer.wpe.weight"]
        shares = shares or {"control": 1.0, "words": 1.0, "positions": 1.0}
        rest = [p for p in named.values() if p is not words and p is not positions and p.requires_grad]
        self._rates = [lr * max(shares["words"], shares["control"]), lr * shares["positions"], lr]
        groups = [{"params": [words]}, {"params": [positions]}, {"params": rest}]
        self._optimiser = torch.optim.AdamW(groups, lr=lr, betas=betas, weight_decay=0.0, fused=True)
        self._words = words
        self._parameters = [words, positions, *rest]
        rows = torch.full((words.size(0), 1), lr * shares["words"])
        rows[list(control_rows)] = lr * shares["control"]
        uneven = shares["words"] != shares["control"]
        self._row_shares = (rows / self._rates[0]).to(words.device) if uneven else None  # (V, 1)

    @torch.no_grad()
    def step(self, scale: float, max_norm: float) -> float:
        """Clips, moves and forgets the gradients.

        Args:
            scale: of all rates, from the schedule.
            max_norm: gradients together are scaled down to this norm.

        Returns:
            The norm before clipping. Where it is not finite, nothing was moved.
        """
        norm = float(nn.utils.clip_grad_norm_(self._parameters, max_norm))
        if not math.isfinite(norm):
            return norm
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * scale
        before = self._words.detach().clone()
        self._optimiser.step()
        if self._row_shares is not None:
            # Without weight decay an AdamW step is proportional to its rate, so a row's can be scaled when it is taken.
            self._words.copy_(before + (self._words - before) * self._row_shares)
        self._optimiser.zero_grad(set_to_none=True)
        return norm

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs to go on exactly."""
        return self._optimiser.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes up the state of an earlier run."""
        self._optimiser.load_state_dict(_fused(state))

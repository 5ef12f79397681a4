"""What a decode step costs by the decoder's kernels, by torch, by `torch.compile` and by torch's 8-bit products. Gives a dict.

A step is what `Passes.step` does where everybody draws: one token read and the next one drawn for each dialogue, the copying
of lists and numbers included. All ways are `Passes`, so the same prompts are read and drawn after with the same noise.
"""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from convogym.agents.compiled import CompiledPasses
from convogym.agents.decoder import Batch, Passes
from convogym.agents.gpt2 import GPT2, Linear
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.agents.static_passes import AHEAD, StaticPasses
from convogym.agents.torch_passes import TorchPasses
from convogym.errors import InputError

SIZES = (1, 64)
CONTEXT = 150  # tokens of each dialogue before the first that is drawn
STEPS = 5 * AHEAD  # of which the fastest counts: anything slower was disturbed


def decode_steps(model: LanguageModel, sizes: Sequence[int] = SIZES, seed: int = 0) -> dict[str, Any]:
    """Microseconds of a step, by way and by number of dialogues.

    Args:
        model: plain (`GPT2.is_plain`), without token types, with room for `CONTEXT` and `STEPS` tokens and `AHEAD` more.
        sizes: numbers of dialogues side by side.
        seed: of prompts and noise.

    Returns:
        `step_us`, by way and size, None where a way does not work here; `missing`, by way, why it does not.

    Raises:
        InputError: the model is none of these.
    """
    network = model.network
    if not network.is_plain or network.speakers:
        raise InputError("decode steps are compared on models in float32 on the processor, without token types.")
    needed = CONTEXT + STEPS + AHEAD
    if network.shape.n_positions < needed:
        raise InputError(f"decode steps are compared at up to {needed} tokens; this model reads {network.shape.n_positions}.")
    ways: Mapping[str, Callable[..., Passes]] = {
        "kernels": CompiledPasses,
        "torch": TorchPasses,
        "torch.compile": _FusedPasses,
        "torch int8": lambda network, *rest: TorchPasses(_in_int8(network), *rest),
    }
    found: dict[str, dict[str, float | None]] = {way: {} for way in ways}
    missing: dict[str, str] = {}
    for way, passes in ways.items():
        for size in sizes:
            found[way][str(size)] = None
            if way in missing:
                continue
            try:
                found[way][str(size)] = 1e6 * _step_seconds(passes, model, size, seed)
            except Exception as error:  # a compiler or an engine that lacks: torch raises whatever went wrong inside it
                if way in ("kernels", "torch"):
                    raise
                missing[way] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return {"step_us": found, "missing": missing, "context": CONTEXT, "responder": model.name, "seed": seed}


@torch.inference_mode()
def _step_seconds(make: Callable[..., Passes], model: LanguageModel, size: int, seed: int) -> float:
    """The fastest of the steps of so many dialogues."""
    rng, sampling = np.random.default_rng(seed), Sampling(max_tokens=STEPS + AHEAD)
    passes = make(model.network, model.tokenizer.eos, model.tokenizer.control_ids[1:])
    rows = list(range(size))
    for row in rows:
        passes.hold(row, CONTEXT + sampling.max_tokens)
    ids = rng.integers(model.tokenizer.own_ids, size=(size, CONTEXT)).tolist()
    noise = rng.random((size, sampling.max_tokens)).tolist()
    start, drawn, fastest = 0, 0, float("inf")
    while drawn < STEPS:
        began = time.perf_counter()
        step = passes.step(Batch(rows, [start] * size, ids, None, noise, [drawn] * size), sampling)
        number = len(step.tokens[0])
        if drawn:
            fastest = min(fastest, (time.perf_counter() - began) / number)
        start += len(ids[0]) + number - 1
        drawn += number
        ids = [tokens[-1:] for tokens in step.tokens]
    return fastest


class _FusedPasses(StaticPasses):
    """Those of static shapes, their pass compiled by torch."""

    def __init__(self, network: GPT2, eos: int, banned: Sequence[int]) -> None:
        super().__init__(network, eos, banned)
        self._compute = torch.compile(self._compute, dynamic=False)  # type: ignore[method-assign]


class _Int8(GPT2):
    """A network whose products are of 8 bits; `output` is its output map."""

    output: nn.Module

    def logits(self, hidden: Tensor) -> Tensor:
        return self.output(hidden)  # type: ignore[no-any-return]


def _in_int8(network: GPT2) -> GPT2:
    """A copy whose matrices are rounded to 8 bits, and whose products round their inputs when they are computed."""

    def rounded(weight: Tensor, bias: Tensor | None) -> nn.Module:
        """Of a matrix (out, in)."""
        whole = nn.Linear(weight.size(1), weight.size(0), bias is not None)
        with torch.no_grad():
            whole.weight.copy_(weight)
            if bias is not None:
                whole.bias.copy_(bias)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its end in some release to come
            found = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]  # torch has no type for it
                nn.Sequential(whole), {nn.Linear}, torch.qint8
            )
        quantised: nn.Module = found[0]
        return quantised

    copied = copy.deepcopy(network)
    for block in copied.transformer.layers():
        for parent in (block.attn, block.mlp):
            for name, part in list(parent.named_children()):
                if isinstance(part, Linear):
                    setattr(parent, name, rounded(part.weight.detach().t(), part.bias.detach()))
    copied.__class__ = _Int8
    copied.output = rounded(copied.transformer.wte.weight.detach(), None)
    return copied

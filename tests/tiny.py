"""Tiny real models and vocabularies for tests: made in a second, random but deterministic."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from convogym import grammar
from convogym.agents import decoder as decoding
from convogym.agents.decoder import Batch, Passes, Step
from convogym.agents.gpt2 import GPT2, GPT2Shape
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.agents.tokenizer import BPETokenizer


@functools.cache
def tiny_tokenizer() -> BPETokenizer:
    """A lower-case vocabulary of 400 ids, learnt from grammar dialogues."""
    rng = np.random.default_rng(0)
    return BPETokenizer.learn([text for _ in range(40) for text in grammar.dialogue(rng, "train").utterances], 400)


def tiny_model(layout: str = "inline", n_positions: int = 512, seed: int = 0) -> LanguageModel:
    """An untrained two-layer model with lively weights, so that what it says depends on what it reads."""
    tokenizer = tiny_tokenizer()
    model = LanguageModel.fresh("tiny", GPT2Shape(len(tokenizer), n_positions, 32, 2, 4), tokenizer, layout, seed)
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            if parameter.dim() == 2 and "wpe" not in name:
                parameter.mul_(8.0)
    return model


def stepped(x: torch.Tensor, dim: int) -> torch.Tensor:
    """Whole multiples, up to 127, of a 127th of the largest along a dimension."""
    most = x.abs().amax(dim, keepdim=True).clamp(min=1e-30)
    return (x * (127 / most)).round() * (most / 127)


@contextmanager
def stepped_products(network: torch.nn.Module) -> Iterator[None]:
    """Meanwhile a GPT-2, ours or the transformers library's, multiplies `stepped` numbers, as the kernels do.

    Matrices by columns, and what is multiplied with them by rows.
    """

    def rows(module: Any, given: Any) -> Any:
        return (stepped(given[0], -1),)

    def output(hidden: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(stepped(hidden, -1), stepped(words, -1))

    def head(module: Any, given: Any, out: torch.Tensor) -> torch.Tensor:
        return output(given[0], module.weight)

    with torch.no_grad(), ExitStack() as stack:
        if isinstance(network, GPT2):
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(
                network, "logits", lambda hidden: output(hidden, network.transformer.wte.weight)
            )
        for name, module in network.named_modules():
            if name == "lm_head":
                stack.callback(module.register_forward_hook(head).remove)
            elif name.rpartition(".")[2] in ("c_attn", "c_proj", "c_fc"):
                stack.callback(module.register_forward_pre_hook(rows).remove)
                weight: Any = module.weight
                stack.callback(weight.copy_, weight.clone())
                weight.copy_(stepped(weight, 0))
        yield


@contextmanager
def stepped_cache(network: torch.nn.Module) -> Iterator[None]:
    """`stepped_products`, and each head's queries, keys and values are `stepped` too, as the decoder's passes keep them."""

    def hook(heads: int) -> Callable[[Any, Any, torch.Tensor], torch.Tensor]:
        def kept(module: Any, given: Any, out: torch.Tensor) -> torch.Tensor:
            return stepped(out.view(*out.shape[:-1], 3 * heads, -1), -1).reshape(out.shape)

        return kept

    with stepped_products(network), ExitStack() as stack:
        for name, module in network.named_modules():
            if name.endswith("attn.c_attn"):
                around: Any = network.get_submodule(name.removesuffix(".c_attn"))
                heads: int = around.heads if hasattr(around, "heads") else around.num_heads
                stack.callback(module.register_forward_hook(hook(heads)).remove)
        yield


def count_tokens(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on, how many new tokens each step of any new decoder computes."""
    computed: list[int] = []
    original = decoding.passes_of

    def counted(*arguments: Any) -> Passes:
        passes = original(*arguments)
        step = passes.step

        def count(batch: Batch, sampling: Sampling) -> Step:
            computed.append(sum(map(len, batch.ids)))
            return step(batch, sampling)

        monkeypatch.setattr(passes, "step", count)
        return passes

    monkeypatch.setattr(decoding, "passes_of", counted)
    return computed

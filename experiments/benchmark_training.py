"""How fast the trainer is beside PersonaGPT's loop: target tokens a second, same model, same talks, one run. Gives a dict.

The loop is PersonaGPT's (`train.py:pretrain`, `fit_on_batch`): one pair of context and utterance at a time, the context
encoded anew for each, the utterance after it against the context's keys and values, the gradients of 64 pairs added up before
AdamW takes a step. It runs the transformers library's network and is fed this project's ids, with one eos. The loss is that
library's on the utterance alone, so an utterance's first token is not learnt; it is counted as a target all the same.

Both read the same dialogues once, every utterance of both speakers a target, with the same optimiser at the same constant
rate: the loop in float32, as PersonaGPT's; the trainer in float32 and, where the hardware multiplies in it, in bfloat16.
Both are warm when the clock starts: the loop has read `PAIRS_A_STEP` pairs, and the trainer has done the same run before, on a
throw-away copy, so that torch has its memory and a program for every size of product. What that took is told too.
Whether a token seen teaches as much is measured: all are scored on dialogues that none has read.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from convogym import steered_talk
from convogym.agents.model import LanguageModel
from convogym.agents.optimisers import GroupedAdamW
from convogym.agents.training import NextToken, Trainer, TrainingConfig, batches, has_bfloat16, keep_memory, mean_nll
from convogym.dialogue import Dialogue
from convogym.errors import InputError
from convogym.experiments.baseline_speakers import in_transformers
from convogym.experiments.console import Tick, ignore_ticks, machine, stoppable
from convogym.experiments.corpora import spelled
from convogym.experiments.regimes import both_views
from convogym.layouts import Example

PAIRS_A_STEP = 64  # `gradient_accumulation_steps` of PersonaGPT's .env
LR = 5e-5  # its `learn_rate`
MAX_NORM = 1.0
HELD_OUT = 40  # dialogues


def pairs_of(example: Example, eos: int) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Each learnt utterance of an example, its eos included, after all that stands before it: PersonaGPT's (x, y)."""
    start = 0
    for place, (token, learnt) in enumerate(zip(example.ids, example.learnt, strict=True)):
        if not learnt or not example.learnt[place - 1]:
            start = place
        if learnt and token == eos:
            yield example.ids[:start], example.ids[start : place + 1]
            start = place + 1


def one_pair_at_a_time(
    model: LanguageModel, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]], lr: float, tick: Tick
) -> int:
    """Trains as PersonaGPT does.

    Args:
        model: trained in place.
        pairs: contexts and utterances, in the order they are read.
        lr: AdamW's.
        tick: told of every pair.

    Returns:
        Optimiser steps taken.
    """
    network = in_transformers(model)
    network.tie_weights()
    network.loss_type = "ForCausalLM"  # the library's choice for a GPT-2, but it warns of having to choose
    network.train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=lr, eps=1e-8, weight_decay=0.0, fused=True)
    steps = 0
    for number, (context, utterance) in enumerate(pairs, 1):
        past = network(torch.tensor([context]), use_cache=True).past_key_values
        y = torch.tensor([utterance])
        loss = network(y, past_key_values=past, labels=y).loss / PAIRS_A_STEP
        loss.backward()
        if number % PAIRS_A_STEP == 0 or number == len(pairs):
            torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
            optimiser.step()
            optimiser.zero_grad()
            steps += 1
        tick(1)
    return steps


def benchmark_training(
    model: LanguageModel, dialogues: int, seed: int = 0, lr: float = LR, tick: Tick = ignore_ticks
) -> dict[str, Any]:
    """Measures both on steered-talk, the loop first.

    Args:
        model: stays as it is; both train a copy.
        dialogues: how many are read.
        seed: of their choice and order.
        lr: of both.
        tick: told of every pair of the loop, and of as many again while the trainer runs.

    Returns:
        Target tokens a second and held-out loss (nats a token) of the loop and of the trainer in each precision; the ratios of
        their speeds (`ratio`), and of the loop's to that of the trainer's first run (`first_ratio`, `first_seconds`).

    Raises:
        InputError: there are not so many dialogues.
    """
    train, dev = drawn(dialogues, seed), [spelled(d) for d in steered_talk.load("dev")]
    with stoppable(lambda: "A benchmark that is not complete tells nothing, so nothing was kept."):
        where = machine()  # before, so that its load is other programs'
        return {**_measure(model, train, dev, seed, lr, tick), "seed": seed, "machine": where}


def drawn(dialogues: int, seed: int) -> list[Dialogue]:
    """The dialogues that are read; each of their utterances makes a pair, if it fits the context.

    Raises:
        InputError: there are not so many.
    """
    every = steered_talk.load("train")
    if not 1 <= dialogues <= len(every):
        raise InputError(f"`dialogues` must be in 1..{len(every)}, got {dialogues}.")
    return [spelled(every[int(i)]) for i in np.random.default_rng(seed).permutation(len(every))[:dialogues]]


def _measure(
    model: LanguageModel, dialogues: Sequence[Dialogue], held_out: Sequence[Dialogue], seed: int, lr: float, tick: Tick
) -> dict[str, Any]:
    examples = [example for d in dialogues for example in both_views(model, d)]
    watched = [example for d in held_out[:HELD_OUT] for example in both_views(model, d)]
    pairs = [pair for example in examples for pair in pairs_of(example, model.tokenizer.eos)]
    targets = sum(len(utterance) for _, utterance in pairs)
    keep_memory()  # for all
    one_pair_at_a_time(_copy(model), pairs[:PAIRS_A_STEP], lr, ignore_ticks)
    loop = _copy(model)
    started = time.perf_counter()
    loop_steps = one_pair_at_a_time(loop, pairs, lr, tick)
    loop_seconds = time.perf_counter() - started

    lengths = [len(example.ids) for example in examples]
    batch_tokens = max(max(lengths), round(1.05 * sum(lengths) / loop_steps))  # steps of like size, padding allowed for
    groups = batches(lengths, batch_tokens, np.random.default_rng([seed, 0]))

    def trained(bf16: bool) -> tuple[LanguageModel, float]:
        """A model after the trainer's run, and how many seconds that took."""
        config = TrainingConfig(
            steps=len(groups),
            batch_tokens=batch_tokens,
            warmup=0,
            decay_from=len(groups),
            max_norm=MAX_NORM,
            bf16=bf16,
            seed=seed,
        )
        ours = _copy(model)
        optimiser = GroupedAdamW(ours.network, lr, betas=(0.9, 0.999))
        trainer = Trainer(NextToken(ours.network), lambda number: examples, config, optimiser=optimiser)
        started = time.perf_counter()
        for _ in trainer.run():
            pass
        return ours, time.perf_counter() - started

    def scored(each: LanguageModel, steps: int, seconds: float) -> dict[str, Any]:
        return {
            "target_tokens_per_s": targets / seconds,
            "seconds": seconds,
            "steps": steps,
            "held_out_loss": mean_nll(each.network, watched),
        }

    precisions = {"float32": False, **({"bfloat16": True} if has_bfloat16("cpu") else {})}
    runs = dict[str, dict[str, Any]]()
    for place, (name, bf16) in enumerate(precisions.items(), 1):
        _, first = trained(bf16)
        ours, seconds = trained(bf16)
        runs[name] = scored(ours, len(groups), seconds) | {"first_seconds": first}
        tick(place * len(pairs) // len(precisions) - (place - 1) * len(pairs) // len(precisions))
    return {
        "ratio": {name: loop_seconds / run["seconds"] for name, run in runs.items()},
        "first_ratio": {name: loop_seconds / run["first_seconds"] for name, run in runs.items()},
        "before": {"held_out_loss": mean_nll(model.network, watched)},
        "one_pair_at_a_time": scored(loop, loop_steps, loop_seconds),
        "trainer": runs,
        "target_tokens": targets,
        "pairs": len(pairs),
        "dialogues": len(dialogues),
        "model": model.name,
        "parameters": model.num_parameters,
        "lr": lr,
    }


def _copy(model: LanguageModel) -> LanguageModel:
    return dataclasses.replace(model, network=copy.deepcopy(model.network))

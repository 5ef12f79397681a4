"""Learns corrections as the original convogym does, for comparison with `convogym.agents.finetuning`.

`learners.py:Learner.fit_on_active_batch`: every correction is one call, whose loss is that of the correction and of one random
old pair; the optimiser steps at every eighth call. Rates, warm-up and lengths are that class's defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from convogym.agents.finetuning import Pair, pair_example
from convogym.agents.model import LanguageModel
from convogym.agents.training import padded, target_nll
from convogym.dialogue import Dialogue
from convogym.errors import InputError

RATE = 5e-5  # AdamW's, eps 1e-8
ACCUMULATED = 8  # calls an optimiser step
WARM_UP, TOTAL = 4_000, 20_000  # optimiser steps: 20 % of `total_iters`, and all of them
MAX_NORM = 1.0


def learn_as_the_original(
    model: LanguageModel, corrections: Sequence[Pair], old: Sequence[Dialogue], seed: int, tick: Callable[[int], object]
) -> None:
    """Learns from every correction once, in the order given, in place; what is left of the last eight calls changes nothing.

    Args:
        model: changed in place.
        corrections: what to learn.
        old: dialogues with replies, from which the old pairs are drawn.
        seed: of the draws.
        tick: told of calls done.

    Raises:
        InputError: no dialogue has a reply.
    """
    replies = [
        Pair(dialogue.persona.facts if dialogue.persona else (), dialogue.utterances[: 2 * i + 1], (), turn.reply)
        for dialogue in old
        for i, turn in enumerate(dialogue.turns)
        if turn.reply is not None
    ]
    if not replies:
        raise InputError("the original learns an old reply with every correction; got dialogues without replies.")
    rng, network = np.random.default_rng([seed, 15]), model.network
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, eps=1e-8, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(step / WARM_UP, max(0.0, (TOTAL - step) / (TOTAL - WARM_UP)))
    )
    network.train()
    for call, correction in enumerate(corrections, 1):
        for pair in (correction, replies[int(rng.integers(len(replies)))]):
            loss = target_nll(network, padded([pair_example(model, pair)])).mean() / ACCUMULATED
            loss.backward()  # type: ignore[no-untyped-call]
        if call % ACCUMULATED == 0:
            torch.nn.utils.clip_grad_norm_(network.parameters(), MAX_NORM)
            optimiser.step()
            schedule.step()
            optimiser.zero_grad()
        tick(1)
    optimiser.zero_grad()
    network.eval()

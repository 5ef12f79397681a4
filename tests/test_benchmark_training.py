"""The training benchmark: its loop computes what PersonaGPT's does, and both sides read the same targets."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import tiny_model

from convogym.agents.training import has_bfloat16
from convogym.errors import InputError
from convogym.experiments.benchmark_training import benchmark_training, drawn, one_pair_at_a_time, pairs_of
from convogym.layouts import Example


def test_pairs_are_the_learnt_utterances_after_all_that_was_said() -> None:
    eos = 9
    ids = (1, 2, eos, 3, 4, eos, 5, eos, 6, eos)
    learnt = (False, False, False, True, True, True, False, False, True, True)
    assert list(pairs_of(Example(ids, learnt, False), eos)) == [(ids[:3], (3, 4, eos)), (ids[:8], (6, eos))]
    both = (False, False, False, True, True, True, True, True, True, True)
    assert [utterance for _, utterance in pairs_of(Example(ids, both, False), eos)] == [(3, 4, eos), (5, eos), (6, eos)]


def test_a_step_of_the_loop_follows_the_gradient_of_its_pairs() -> None:
    """AdamW's first step is its rate, against the sign of the gradient of the mean loss of each utterance's later tokens."""
    model, same = tiny_model(), tiny_model()
    pairs = [((3, 5, 8), (20, 21, 22)), ((4, 6), (30, 31))]
    loss = torch.zeros(())
    for context, utterance in pairs:
        hidden = same.network.hidden(torch.tensor([(*context, *utterance)]))[0]
        logs = torch.log_softmax(same.network.logits(hidden[len(context) : -1]), -1)
        loss = loss - logs.gather(-1, torch.tensor(utterance[1:])[:, None]).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert one_pair_at_a_time(model, pairs, 1e-3, lambda done: None) == 1
    for after, before in zip(model.network.parameters(), same.network.parameters(), strict=True):
        gradient = before.grad
        assert gradient is not None
        sure = gradient.abs() > 1e-4
        torch.testing.assert_close((after - before.detach())[sure], -1e-3 * gradient.sign()[sure], rtol=0.02, atol=1e-6)


def test_both_are_measured_on_the_same_targets_and_the_model_stays() -> None:
    model = tiny_model()
    before = [tensor.clone() for tensor in model.network.state_dict().values()]
    ticks: list[int] = []
    found = benchmark_training(model, 2, seed=1, lr=1e-3, tick=ticks.append)
    assert all(torch.equal(a, b) for a, b in zip(before, model.network.state_dict().values(), strict=True))
    utterances = [text for dialogue in drawn(2, 1) for text in dialogue.utterances]
    assert found["pairs"] == len(utterances)
    assert found["target_tokens"] == sum(len(model.tokenizer.encode(text)) + 1 for text in utterances)
    assert sum(ticks) == 2 * found["pairs"]
    assert list(found["trainer"]) == list(found["ratio"]) == ["float32", *(["bfloat16"] if has_bfloat16("cpu") else [])]
    loop = found["one_pair_at_a_time"]
    for run in (loop, *found["trainer"].values()):
        assert run["target_tokens_per_s"] > 0
        assert run["held_out_loss"] < found["before"]["held_out_loss"]
    for precision, run in found["trainer"].items():
        assert found["first_ratio"][precision] == pytest.approx(loop["seconds"] / run["first_seconds"])
        assert math.isclose(found["ratio"][precision], run["target_tokens_per_s"] / loop["target_tokens_per_s"], rel_tol=1e-6)


def test_more_dialogues_than_there_are_is_refused() -> None:
    with pytest.raises(InputError, match=r"1\.\.578"):
        drawn(579, 0)

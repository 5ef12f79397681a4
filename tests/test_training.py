"""Training: the loss against a per-token loop, determinism, kills and resumes, bad losses, and that something is learnt."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from convogym import grammar
from convogym.agents.finetuning import FinetuneConfig, Finetuner, Pair, pair_example
from convogym.agents.gpt2 import GPT2Shape, dropped
from convogym.agents.model import LanguageModel
from convogym.agents.optimisers import orthogonalised
from convogym.agents.starting import pointing_layer
from convogym.agents.training import (
    POINTED,
    NextToken,
    Trainer,
    TrainingConfig,
    batches,
    cited,
    has_bfloat16,
    mean_nll,
    nll_of,
    padded,
    pointing_nll,
    target_nll,
)
from convogym.errors import CheckpointError, InputError, TrainingError
from convogym.layouts import Example, responder_examples

CONFIG = TrainingConfig(steps=8, batch_tokens=600, warmup=2, decay_from=4, dropout=0.1, seed=5)


def examples(count: int = 12, seed: int = 0) -> list[Example]:
    rng = np.random.default_rng(seed)
    tokenizer = tiny_model().tokenizer
    return [e for _ in range(count) for e in responder_examples(tokenizer, grammar.dialogue(rng, "train", 4), 400)]


def epoch(number: int) -> Sequence[Example]:
    return examples(12, number)


def state(model: LanguageModel) -> list[torch.Tensor]:
    return [tensor.clone() for tensor in model.network.state_dict().values()]


def test_masked_loss_equals_a_loop_over_single_tokens() -> None:
    model = tiny_model()
    some = examples(3)
    losses = target_nll(model.network, padded(some)).detach()
    expected = []
    for example in some:
        for position, learnt in enumerate(example.learnt):
            if learnt:
                with torch.no_grad():
                    hidden = model.network.hidden(torch.tensor([example.ids[:position]]))[0, -1]
                    expected.append(-torch.log_softmax(model.network.logits(hidden), -1)[example.ids[position]])
    torch.testing.assert_close(losses, torch.stack(expected), atol=2e-4, rtol=1e-4)


def test_batches_take_every_example_once_within_the_bound() -> None:
    some = examples(30)
    groups = batches([len(e.ids) for e in some], 600, np.random.default_rng(0))
    assert sorted(i for group in groups for i in group) == list(range(len(some)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(len(some[i].ids) for i in group) <= 600


def test_the_same_seed_gives_the_same_weights() -> None:
    ends = []
    for _ in range(2):
        model = tiny_model()
        losses = [p.loss for p in Trainer(NextToken(model.network), epoch, CONFIG).run()]
        ends.append((losses, state(model)))
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(a, b) for a, b in zip(ends[0][1], ends[1][1], strict=True))


@pytest.mark.parametrize("killed_after", [1, 5, 7])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path: Path, killed_after: int) -> None:
    whole = tiny_model()
    list(Trainer(NextToken(whole.network), epoch, CONFIG).run())
    first = Trainer(NextToken(tiny_model().network), epoch, CONFIG, tmp_path)
    list(first.run(until=killed_after))
    again = tiny_model(seed=9)
    second = Trainer(NextToken(again.network), epoch, CONFIG, tmp_path)
    assert second.resume() and second.step == killed_after
    list(second.run())
    assert all(torch.equal(a, b) for a, b in zip(state(whole), state(again), strict=True))


def test_several_batches_a_step_give_the_gradient_of_one_large_batch() -> None:
    """Eight examples in one batch, or in four accumulated ones: the same step, for the loss is a mean over all targets."""
    some = examples(8)
    ends = []
    for config in (
        TrainingConfig(1, batch_tokens=10**6),
        TrainingConfig(1, batch_tokens=max(len(e.ids) for e in some) * 2, accumulate=4),
    ):
        model = tiny_model()
        trainer = Trainer(NextToken(model.network), lambda number: some, config)
        (progress,) = trainer.run()
        ends.append((progress.tokens, progress.loss, state(model)))
    assert ends[0][0] == ends[1][0] == sum(len(e.ids) for e in some)
    assert ends[0][1] == pytest.approx(ends[1][1], rel=1e-5)
    for a, b in zip(ends[0][2], ends[1][2], strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


def test_resume_without_a_checkpoint_says_no(tmp_path: Path) -> None:
    assert not Trainer(NextToken(tiny_model().network), epoch, CONFIG, tmp_path).resume()


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    trainer = Trainer(NextToken(tiny_model().network), epoch, CONFIG, tmp_path)
    list(trainer.run(until=1))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="expected a checkpoint"):
        Trainer(NextToken(tiny_model().network), epoch, CONFIG, tmp_path).resume()


def test_a_loss_that_is_not_a_number_stops_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    model = tiny_model()
    trainer = Trainer(NextToken(model.network), epoch, CONFIG, tmp_path)
    list(trainer.run(until=2))
    kept = (tmp_path / "checkpoint.pt").read_bytes()
    with torch.no_grad():
        model.network.transformer.wpe.weight[:] = float("nan")
    with pytest.raises(TrainingError, match=r"the loss is nan at step 2 .*last good checkpoint is .*checkpoint\.pt"):
        list(trainer.run())
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept


class Cliff(NextToken):
    """A loss of 0 whose gradient is no number: the root of 0."""

    def sums(self, examples: Sequence[Example], dropout: float, step: int) -> Mapping[str, torch.Tensor]:
        return {"loss": (0 * self.network.transformer.wpe.weight).sqrt().sum()}


def test_a_gradient_that_is_not_a_number_does_not_reach_the_weights() -> None:
    model = tiny_model()
    before = state(model)
    with pytest.raises(TrainingError, match=r"gradient no number at step 0 .*no checkpoint yet"):
        list(Trainer(Cliff(model.network), epoch, CONFIG).run())
    assert all(torch.equal(a, b) for a, b in zip(before, state(model), strict=True))


def test_bfloat16_computes_nearly_the_same_loss() -> None:
    losses = []
    for bf16 in (False, True):
        config = dataclasses.replace(CONFIG, bf16=bf16, dropout=0.0)
        losses.append(next(Trainer(NextToken(tiny_model().network), epoch, config).run()).loss)
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.03)
    assert isinstance(has_bfloat16("cpu"), bool)


def test_places_are_what_all_places_have_there() -> None:
    network = tiny_model().network
    ids = padded(examples(3)).ids
    places = torch.tensor([5, 0, 5, ids.size(1) + 2, ids.numel() - 1])
    torch.testing.assert_close(network.hidden(ids, places=places), network.hidden(ids).flatten(0, 1)[places])


@pytest.mark.parametrize("learnt", ["some", "all", "none"])
def test_losses_and_gradients_are_those_of_all_places(learnt: str) -> None:
    network = tiny_model().network
    batch = padded(examples(3))
    batch = batch._replace(learnt={"some": batch.learnt, "all": batch.ids > 0, "none": batch.learnt & False}[learnt])
    ours, theirs = target_nll(network, batch), nll_of(network, network.hidden(batch.ids), batch)
    torch.testing.assert_close(ours, theirs)
    weights = list(network.parameters())
    for own, expected in zip(
        torch.autograd.grad(ours.sum(), weights, allow_unused=True),
        torch.autograd.grad(theirs.sum(), weights, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(own, expected, atol=1e-4, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(target_nll(network, batch), theirs)


def test_dropout_takes_its_share_and_keeps_the_sum() -> None:
    x = torch.ones(3, 1001, requires_grad=True)
    torch.manual_seed(4)
    once = dropped(x, 0.25, True)
    torch.manual_seed(4)
    assert torch.equal(once, dropped(x, 0.25, True)) and not torch.equal(once, dropped(x, 0.25, True))
    assert sorted(set(once.flatten().tolist())) == [0.0, pytest.approx(4 / 3)]
    assert float((once == 0).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(torch.autograd.grad(once.sum(), x)[0], once)
    assert torch.equal(dropped(x, 0.25, False), x) and torch.equal(dropped(x, 0.0, True), x)
    assert 0 < (dropped(x, 0.999, True) != 0).sum() < 60  # 1 in 256 is the least
    assert (dropped(x, 1.0, True) == 0).all()
    for share in (-0.1, 1.5):
        with pytest.raises(ValueError, match="between 0 and 1"):
            dropped(x, share, True)


def test_no_examples_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to train on"):
        list(Trainer(NextToken(tiny_model().network), lambda number: [], CONFIG).run())


def test_training_learns() -> None:
    model = tiny_model()
    some = examples(20)
    before = mean_nll(model.network, some)
    list(
        Trainer(
            NextToken(model.network), lambda number: some, TrainingConfig(steps=60, batch_tokens=1500, warmup=5, seed=1)
        ).run()
    )
    assert mean_nll(model.network, some) < 0.6 * before


def test_pointing_loss_equals_a_loop_over_labelled_places() -> None:
    generator = torch.Generator().manual_seed(0)
    some = examples(4)
    mask = cited(some)
    queries, keys = torch.randn(2, len(some), mask.size(1), 6, generator=generator)
    expected = []
    for row, example in enumerate(some):
        for citation in example.citations:
            for place in range(citation.start - 1, min(citation.start - 1 + POINTED, citation.stop - 1)):
                attention = torch.softmax(keys[row, : place + 1] @ queries[row, place] / 6**0.5, 0)
                expected.append(-torch.stack([attention[start:stop].sum() for start, stop in citation.sources]).sum().log())
    assert len(expected) > 30
    torch.testing.assert_close(pointing_nll(queries, keys, mask), torch.stack(expected), atol=1e-5, rtol=1e-5)


def missed(model: LanguageModel) -> float:
    """Mean pointing loss of dialogues that nothing here is trained on."""
    some = examples(20, seed=77)
    losses: list[torch.Tensor] = []

    def look(layer: int, queries: torch.Tensor, keys: torch.Tensor) -> None:
        if layer == pointing_layer(3):
            losses.append(pointing_nll(queries[:, -1], keys[:, -1], cited(some)))

    with torch.no_grad():
        model.network.hidden(padded(some).ids, look=look)
    return float(losses[0].mean())


def test_a_head_learns_to_look_at_what_replies_reveal() -> None:
    after = []
    for weight in (0.0, 1.0):
        model = LanguageModel.fresh("tiny", GPT2Shape(len(tiny_tokenizer()), 512, 32, 3, 4), tiny_tokenizer(), "inline", 0)
        before = missed(model)
        config = TrainingConfig(steps=40, batch_tokens=1500, warmup=4)
        progress = list(Trainer(NextToken(model.network, weight), epoch, config).run())
        assert set(progress[-1].terms) == ({"loss", "pointing"} if weight else {"loss"})
        after.append(missed(model))
    assert after[1] < 0.8 * before and after[1] < 0.8 * after[0]


def test_rates_rise_hold_and_fall() -> None:
    config = TrainingConfig(steps=10, warmup=2, decay_from=5)
    assert [config.rate(step) for step in range(10)] == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_an_orthogonalised_matrix_has_singular_values_near_one() -> None:
    matrix = torch.randn(48, 20, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert 0.6 < float(values.min()) and float(values.max()) < 1.3


def test_a_pair_learns_its_target_only() -> None:
    model = tiny_model()
    t = model.tokenizer
    pair = Pair((), ("hi.", "hello."), (None, "ask about pets."), "do you have a dog?")
    example = pair_example(model, pair)
    learnt = [i for i, target in zip(example.ids, example.learnt, strict=True) if target]
    assert learnt == [*t.encode("do you have a dog?"), t.eos] and example.is_steered


def test_finetuning_learns_the_pairs_and_keeps_the_best_weights() -> None:
    """The measure of following is the likelihood of the pairs' targets, which the run must raise."""
    model = tiny_model()
    rng = np.random.default_rng(0)
    pairs = [
        Pair((), (), ("ask about pets.",), "do you have a dog?"),
        Pair((), (), ("talk about work.",), "what is your job?"),
    ]
    dialogues = [grammar.dialogue(rng, "train", 3) for _ in range(12)]
    targets = [pair_example(model, pair) for pair in pairs]
    finetuner = Finetuner(
        model,
        pairs,
        dialogues[:8],
        dialogues[8:],
        lambda candidate: float(np.exp(-mean_nll(candidate.network, targets))),
        FinetuneConfig(steps=30, lr=3e-3, pairs=2, rehearsal=2, evaluate_every=10, tolerance=0.5),
    )
    seen = list(finetuner.run())
    result = finetuner.result
    assert result is not None and result.best_step > 0
    assert result.following_after > 2 * result.following_before
    assert not result.got_worse(0.5)
    assert float(np.exp(-mean_nll(model.network, targets))) == pytest.approx(result.following_after, rel=1e-4)
    assert seen[-1].ctrl_loss < seen[0].ctrl_loss and seen[-1].persona_loss < seen[0].persona_loss


def test_a_run_that_does_harm_is_told_apart() -> None:
    """A rate that wrecks the model: the kept weights are worse than the tolerance allows, and the result says so."""
    model = tiny_model()
    rng = np.random.default_rng(0)
    talks = [grammar.dialogue(rng, "train", 2) for _ in range(4)]
    pairs = [Pair((), (), ("ask about pets.",), "do you have a dog?")]
    config = FinetuneConfig(steps=6, lr=3.0, pairs=1, rehearsal=1, evaluate_every=2)
    finetuner = Finetuner(model, pairs, talks, talks, lambda candidate: 0.5, config)
    list(finetuner.run())
    assert finetuner.result is not None and finetuner.result.got_worse(config.tolerance)


def test_corrections_are_half_of_every_step_however_few_they_are() -> None:
    model = tiny_model()
    talks = [grammar.dialogue(np.random.default_rng(0), "train", 2)]
    pairs = [Pair((), (), ("ask about pets.",), f"line {i}") for i in range(40)]
    pairs.append(Pair((), (), ("ask about pets.",), "do you have a dog?", is_correction=True))
    finetuner = Finetuner(model, pairs, talks, talks, lambda candidate: 0.5, FinetuneConfig(steps=1, pairs=8))
    drawn = finetuner._drawn_pairs(np.random.default_rng(0))
    assert len(drawn) == 8 and sum(example == pair_example(model, pairs[-1]) for example in drawn) == 4


@pytest.mark.parametrize("bad", [{"lr": 0.0}, {"lr": float("nan")}, {"lr": -1.0}, {"tolerance": 1.0}, {"pairs": 0}])
def test_impossible_configurations_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        FinetuneConfig(**bad)  # type: ignore[arg-type]  # the values are wrong on purpose


def test_nothing_to_learn_from_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to learn from"):
        Finetuner(tiny_model(), [], [], [], lambda candidate: 0.0, FinetuneConfig())

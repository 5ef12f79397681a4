"""P2 Bot: every reward and score by hand, and what a step of self-play does to likelihoods."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny import tiny_model

from convogym.agents.double_heads import choice_of, with_head
from convogym.agents.model import LanguageModel
from convogym.agents.receiver import Matching, Receiver, Whose, fits, sharpness, soft_score
from convogym.agents.self_play import (
    Opening,
    Reinforce,
    SelfPlay,
    Weighted,
    advantages,
    coherence_reward,
    language_reward,
    perceived_personas,
    repetition,
    total,
)
from convogym.agents.training import Trainer, TrainingConfig
from convogym.transfertransfo import Question

FACTS = ("i have two dogs.", "i am a nurse.")


def transmitter(seed: int = 0) -> LanguageModel:
    model = tiny_model(seed=seed)
    model.network = with_head(model.network, 2, seed).eval()
    return model


def test_persona_perception_is_discounted_over_both_sides_and_brought_to_0_to_2() -> None:
    """G of (1, 2, 4): 1 + (2 + 4 / 2) / 2 = 3, 2 + 4 / 2 = 4, 4; of (0, 0, 0): 0. The greatest is 4, the least 0."""
    fit = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(perceived_personas(fit), torch.tensor([[1.5, 2.0, 2.0], [0.0, 0.0, 0.0]]))
    assert not perceived_personas(torch.ones(2, 1)).any()


def test_repetition_is_the_cosine_with_the_likest_earlier_utterance() -> None:
    vectors = torch.tensor([[[1.0, 0.0], [0.0, 3.0], [3.0, 4.0]]])
    torch.testing.assert_close(repetition(vectors), torch.tensor([[0.0, 0.0, 0.8]]))


def test_rewards_add_up_with_the_published_weights() -> None:
    one = torch.ones(2, 1)
    terms = {"coherence": 0.4 * one, "persona": 2.0 * one, "language": -3.0 * one, "repetition": 0.5 * one}
    torch.testing.assert_close(total(terms), (0.1 * 0.4 + 0.5 * 2.0 - 0.5 * 3.0 - 0.1 * 0.5) * one)


def test_an_advantage_is_over_the_same_turn_of_the_other_talks() -> None:
    rewards = torch.tensor([[1.0, 5.0], [3.0, 5.0]])
    torch.testing.assert_close(advantages(rewards), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))


def test_the_language_reward_is_the_mean_log_likelihood_of_the_words_alone() -> None:
    model = tiny_model()
    text = "i have two dogs."
    ids = [model.tokenizer.eos, *model.tokenizer.encode(text)]
    with torch.no_grad():
        logs = torch.log_softmax(model.network.logits(model.network.hidden(torch.tensor([ids]))[0]), -1)
    expected = np.mean([float(logs[i, ids[i + 1]]) for i in range(len(ids) - 1)])
    assert float(language_reward(model, [text])[0]) == pytest.approx(expected, rel=1e-4)


def test_the_coherence_reward_is_the_heads_chance_less_a_half() -> None:
    model = transmitter()
    question = Question(FACTS, ("hi.",), ("hello.",))
    row = choice_of(model, question).rows[0]
    head = getattr(model.network, "multiple_choice_head").summary  # noqa: B009  # a GPT2 without a head has none
    with torch.no_grad():
        chance = torch.softmax(head(model.network.hidden(torch.tensor([row.ids]))[0, -1]), -1)[1]
    assert float(coherence_reward(model, [question])[0]) == pytest.approx(float(chance) - 0.5, rel=1e-3)


def test_the_receivers_scores_by_hand() -> None:
    """C = 5, so dot products are halved; attention at 0.1 over fits (1, 0) and (0, 2)."""
    said = torch.tensor([[2.0, 0, 0, 0, 0], [0, 4.0, 0, 0, 0]])
    facts = torch.tensor([[1.0, 0, 0, 0, 0], [0, 1.0, 0, 0, 0]])
    fit = fits(said, facts)
    torch.testing.assert_close(fit, torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    by_hand = math.exp(0.1) / (math.exp(0.1) + 1) * 1 + math.exp(0.2) / (math.exp(0.2) + 1) * 2
    assert float(soft_score(fit, 0.1)) == pytest.approx(by_hand)
    assert [sharpness(step) for step in (0, 4999, 5000, 69_999, 10**6)] == pytest.approx([0.1, 0.1, 0.2, 1.4, 1.5])


def whose(receiver: Receiver, said: tuple[str, ...], *personas: tuple[str, ...]) -> Whose:
    return Whose(tuple(map(receiver.ids, said)), tuple(tuple(map(receiver.ids, facts)) for facts in personas))


def test_the_receivers_loss_by_hand() -> None:
    receiver = Receiver(tiny_model())
    examples = [
        whose(receiver, ("my dogs are big.", "yes."), ("i like tea.", "i sing."), FACTS),
        whose(receiver, ("i sing all day.",), ("i am a nurse.",), ("i sing.",)),
    ]
    margin = sparse = 0.0
    with torch.no_grad():
        for example in examples:
            said = receiver.vectors(example.said)
            found = [fits(said, receiver.vectors(facts)) for facts in example.personas]
            wrong, true = (float(soft_score(fit, 0.1)) for fit in found)
            margin += max(0.0, 0.5 - true + wrong) / 2
            sparse += sum(float(fit.abs().sum()) for fit in found) / len(said)
        objective = Matching(receiver.model)
        sums = objective.sums(examples, 0.0, 0)
    assert float(sums["margin_loss"]) == pytest.approx(margin, rel=1e-3)
    assert float(sums["sparsity"]) == pytest.approx(sparse, rel=1e-3)
    assert objective.counts(examples) == {"margin_loss": 2, "sparsity": 4}
    assert objective.shares == {"margin_loss": 1.0, "sparsity": 0.01}


def test_padding_changes_no_vector() -> None:
    """The original's mean counts padding."""
    receiver = Receiver(tiny_model())
    short, long = receiver.ids("i sing."), receiver.ids("i have two dogs and a cat and a horse.")
    with torch.no_grad():
        torch.testing.assert_close(receiver.vectors([short, long])[0], receiver.vectors([short])[0], rtol=1e-4, atol=1e-4)


def test_the_receiver_learns_whose_talk_it_is() -> None:
    receiver = Receiver(tiny_model())
    personas = [("i have two dogs.",), ("i am a nurse.",), ("i like tea.",), ("i sing.",)]
    said = ["my dogs are big.", "the hospital is busy.", "a cup of green tea.", "my new song is out."]
    examples = [
        whose(receiver, (text,), other, own)
        for text, own in zip(said, personas, strict=True)
        for other in personas
        if other != own
    ]
    config = TrainingConfig(steps=40, batch_tokens=4000, warmup=2, matrix_lr=5e-3, other_lr=2e-3)
    seen = [p.terms["margin_loss"] for p in Trainer(Matching(receiver.model), lambda number: examples, config).run()]
    assert seen[-1] < 0.5 * seen[0]
    assert np.mean([receiver.is_right(example, 0) for example in examples]) > 0.8


def test_reinforce_makes_better_utterances_likelier_and_worse_ones_less_so() -> None:
    model = transmitter()
    rows = [choice_of(model, Question(FACTS, ("hi.",), (text,))).rows[0] for text in ("hello there.", "what?")]

    def likelihoods() -> list[float]:
        with torch.no_grad():
            return [-float(Reinforce(network).sums([Weighted(row, 1.0)], 0.0, 0)["policy_loss"]) for row in rows]

    network = with_head(model.network, 2, 0)
    before = likelihoods()
    weighted = [Weighted(rows[0], 1.0), Weighted(rows[1], -1.0)]
    with torch.no_grad():
        loss = float(Reinforce(network).sums(weighted, 0.0, 0)["policy_loss"])
    assert loss == pytest.approx(-before[0] + before[1], rel=1e-4)
    config = TrainingConfig(steps=3, batch_tokens=10**6, warmup=0, matrix_lr=1e-3, other_lr=1e-3)
    list(Trainer(Reinforce(network), lambda number: weighted, config).run())
    after = likelihoods()
    assert after[0] > before[0] and after[1] < before[1]


def test_an_episode_has_the_learners_utterances_in_their_contexts() -> None:
    model = transmitter()
    game = SelfPlay(model, transmitter(), tiny_model(seed=2), Receiver(tiny_model(seed=3)), copies=3, exchanges=2)
    opening = Opening(FACTS, ("i like tea.",), "hello, who are you?")
    played = game.play(opening, np.random.default_rng(0))
    assert [len(talk) for talk in played.talks] == [5, 5, 5] and len(played.examples) == 6
    first = played.examples[0].example
    context = model.prompt(FACTS, (opening.line,), (), 400).ids
    assert first.ids[: len(context)] == context
    assert first.learnt == (False,) * len(context) + (True,) * (len(first.ids) - len(context))
    by_turn = np.array([each.advantage for each in played.examples]).reshape(3, 2)
    np.testing.assert_allclose(by_turn.mean(0), 0, atol=1e-5)
    assert set(played.rewards) == {"coherence", "persona", "language", "repetition", "total"}
    assert 0 <= played.rewards["persona"] <= 2 and played.rewards["language"] < 0
    again = game.play(opening, np.random.default_rng(0))
    assert again == played

"""The judges: what they learn, how evidence behaves, and their folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import stepped_products, tiny_model

from convogym import grammar
from convogym.agents.reader import Reader, Reading
from convogym.agents.reader_training import LabelledLine, fresh_reader, labelled_lines, match_loss, train_reader
from convogym.agents.training import TrainingConfig
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import CheckpointError
from convogym.goals import PUBLISHED_GOALS


@pytest.fixture(scope="module")
def reader() -> Reader:
    """A tiny reader after some seconds of training on the grammar."""
    made = fresh_reader(tiny_model(), 1, 0)
    rng = np.random.default_rng(0)
    talks = [grammar.dialogue(rng, "train") for _ in range(120)]
    lines = [line for talk in talks for line in labelled_lines(talk)]
    config = TrainingConfig(steps=60, other_lr=2e-3, warmup=5, decay_from=20)
    list(train_reader(made, lines, talks, config, line_batch=32, talk_batch=12))
    return made


def test_the_matcher_finds_the_persona_of_held_out_talks(reader: Reader) -> None:
    rng = np.random.default_rng(1)
    talks = [grammar.dialogue(rng, "held-out") for _ in range(40)]
    hits = 0
    for i, talk in enumerate(talks):
        others = [talks[(i + k) % 40].persona for k in range(1, 11)]
        candidates = [p.facts for p in (talk.persona, *others) if p is not None]
        turns = [(t.line, t.reply or "") for t in talk.turns]
        hits += int(np.sum(reader.evidence(turns, [candidates] * len(turns)), axis=0).argmax() == 0)
    assert hits >= 28  # chance is 3.6 of 40


def test_the_goal_judge_tells_learnt_goals_apart(reader: Reader) -> None:
    rng = np.random.default_rng(2)
    lines = [(goal, grammar.question(rng, goal)) for goal in range(len(PUBLISHED_GOALS)) for _ in range(10)]
    chances = reader.probabilities([""] * len(lines), [text for _, text in lines])
    assert chances.shape == (110, 11) and ((chances >= 0) & (chances <= 1)).all()
    right = np.mean([row.argmax() == goal for row, (goal, _) in zip(chances, lines, strict=True)])
    assert right > 0.18  # twice chance


def test_evidence_does_not_depend_on_company_or_order(reader: Reader) -> None:
    turns = [
        ("do you have pets?", "yes, two dogs."),
        ("what do you do?", "i'm a nurse at the old hospital, and i love it there."),
    ]
    personas: list[list[tuple[str, ...]]] = [
        [("i have two dogs.",), ("i am a nurse.", "i have a cat.")],
        [("i drive a bus.",), ("i am a nurse.",), ("i am tall.",)],
    ]
    together = reader.evidence(turns, personas)
    swapped = reader.evidence(turns[::-1], personas[::-1])[::-1]
    alone = [reader.evidence([t], [p])[0] for t, p in zip(turns, personas, strict=True)]
    for a, b, c in zip(together, swapped, alone, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)
        np.testing.assert_allclose(a, c, atol=1e-4)


def test_compiled_reading_is_that_of_torch(reader: Reader) -> None:
    """Lengths from one token to more than fit, facts of one reply that another is never compared with.

    Where a number lies in the middle of two whole ones, the last digit of a float decides which it is rounded to.
    """
    rng = np.random.default_rng(5)
    talks = [grammar.dialogue(rng, "train") for _ in range(30)]
    turns = [(turn.line, turn.reply or "") for talk in talks for turn in talk.turns[:2]]
    turns += [("", "yes"), ("tell me all about it.", "my dog is big and " * 60), ("so " * 200, "no.")]
    personas = [[talks[(i + k) % 30].persona.facts for k in range(1 + i % 4)] for i in range(len(turns))]  # type: ignore[union-attr]
    network = reader.network
    with torch.no_grad(), stepped_products(network.body):
        read = reader.read(turns)
        expected = []
        for place, candidates in enumerate(personas):
            facts = reader.read([("", fact) for persona in candidates for fact in persona])
            owner = torch.tensor([number for number, persona in enumerate(candidates) for _ in persona])
            fit = network.fit(Reading(*(part[place : place + 1] for part in read)), facts)
            expected.append(network.evidence(fit, owner, len(candidates))[0].numpy())
    for one, other in zip(reader.evidence(turns, personas), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)
    np.testing.assert_allclose(reader.features(turns), read.pooled, atol=2e-3)
    chances = reader.probabilities([line for line, _ in turns], [reply for _, reply in turns])
    odds = (network.goal_logits(read.pooled) + network.ngrams.logits([reply for _, reply in turns])) / 2
    np.testing.assert_allclose(chances, torch.sigmoid(odds).detach(), atol=2e-3)


def test_facts_are_read_anew_when_weights_changed() -> None:
    made = fresh_reader(tiny_model(), 1, 0)
    asked = ([("do you have pets?", "yes, two dogs.")], [[("i have two dogs.",), ("i am a nurse.",)]])
    before = made.evidence(*asked)[0]
    with torch.no_grad():
        made.network.body.transformer.wte.weight.mul_(1.5)
    fresh = Reader(made.network, made.tokenizer)
    np.testing.assert_array_equal(made.evidence(*asked)[0], fresh.evidence(*asked)[0])
    assert np.abs(made.evidence(*asked)[0] - before).max() > 1e-3


def test_nothing_asked_is_nothing_answered(reader: Reader) -> None:
    assert reader.evidence([], []) == []
    assert reader.evidence([("hi.", "yes.")], [[()]])[0].shape == (1,)


def test_evidence_of_a_persona_does_not_depend_on_the_order_of_its_facts(reader: Reader) -> None:
    turn = [("do you have pets?", "yes, two dogs.")]
    (a,) = reader.evidence(turn, [[("i have two dogs.", "i am a nurse.")]])
    (b,) = reader.evidence(turn, [[("i am a nurse.", "i have two dogs.")]])
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_fact_that_fits_nothing_says_nothing_for_its_persona(reader: Reader) -> None:
    """By hand: fits far below `nothing` leave log(e^b / (1 + facts)), whatever they are."""
    network = reader.network
    with torch.no_grad():
        evidence = network.evidence(torch.tensor([[-90.0, -80.0, -70.0]]), torch.tensor([0, 0, 1]), 2)
    b = float(network.nothing.detach())
    np.testing.assert_allclose(evidence[0].numpy(), [b - np.log(3), b - np.log(2)], atol=1e-5)


@pytest.mark.parametrize(("talks", "personas"), [(8, 8), (8, 4), (3, 1)])
def test_match_loss_without_knowledge_is_that_of_guessing(reader: Reader, talks: int, personas: int) -> None:
    """Replies that reveal nothing leave every persona of one size alike; a persona of two talks is one candidate, not two."""
    rng = np.random.default_rng(0)
    facts = [tuple(f"i have {number} {animal}." for animal in ("dogs", "cats", "cows")) for number in range(personas)]
    heard = [
        Dialogue((Turn("hello.", "zzz"),), Persona(facts[i % personas][:: 1 if i < personas else -1])) for i in range(talks)
    ]
    with torch.no_grad():
        reader.network.scale.data, kept = torch.tensor(0.0), reader.network.scale.data
        loss = float(match_loss(reader, heard, rng))
        reader.network.scale.data = kept
    assert loss == pytest.approx(np.log(personas), abs=1e-4)


def test_labels_beyond_the_published_goals_do_not_count() -> None:
    talk = Dialogue(
        (Turn("nice car?", "no.", ("talk about cars.", "talk about work.")), Turn("hm.", "yes.", ()), Turn("so?", "so."))
    )
    assert labelled_lines(talk) == [LabelledLine("", "nice car?", (2,)), LabelledLine("no.", "hm.", ())]


def test_a_reader_survives_its_folder(reader: Reader, tmp_path: Path) -> None:
    reader.save(tmp_path / "r")
    again = Reader.load(tmp_path / "r")
    a, b = (each.probabilities(["hi."], ["do you have pets?"]) for each in (reader, again))
    np.testing.assert_allclose(a, b, atol=5e-3)  # weights are kept in half precision


def test_a_damaged_reader_is_refused(reader: Reader, tmp_path: Path) -> None:
    reader.save(tmp_path / "r")
    weights = (tmp_path / "r" / "model.safetensors").read_bytes()
    (tmp_path / "r" / "model.safetensors").write_bytes(weights[:100])
    with pytest.raises(CheckpointError, match="expected a reader"):
        Reader.load(tmp_path / "r")
    with pytest.raises(CheckpointError, match="expected a reader"):
        Reader.load(tmp_path / "nowhere")

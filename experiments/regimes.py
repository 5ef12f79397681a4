"""The stages of the three training regimes: which examples, which objective, which rates. What they share is in `train.py`."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from convogym import steered_talk
from convogym.agents.control_stage import ControlAndPersona, TwoKinds
from convogym.agents.double_heads import Choice, Choosing, NextUtterance, choices_of, with_head
from convogym.agents.model import LanguageModel
from convogym.agents.optimisers import PUBLISHED_SHARES, GroupedAdamW
from convogym.agents.receiver import Matching, Receiver, Whose
from convogym.agents.self_play import SUPERVISED, Opening, Played, Reinforce, SelfPlay, Weighted
from convogym.agents.training import NextToken, Trainer, TrainingConfig
from convogym.dialogue import Dialogue
from convogym.errors import InputError
from convogym.experiments.corpora import reordered, spelled
from convogym.experiments.train import SCRATCH, Plan, Run, steps_of
from convogym.layouts import Example, line_examples
from convogym.transfertransfo import Question, questions_of

LR = {"transfertransfo": 6.25e-5, "personagpt": 5e-5, "p2bot": 6.25e-5}  # train.py; .env; agents/transmitter
CONTROL_LR = 5e-5  # train_loop's, for all but the parts in `PUBLISHED_SHARES`
RECEIVER_LR = 1e-4  # agents/receiver; its 6.25e-6 for BERT is for 50 epochs
RECEIVER_BATCH_TOKENS = 2048
FROZEN_WORDS = {"control": 0.0, "words": 0.0, "positions": 0.0}  # as the receiver's word and type embeddings
TRAINED_PERSONAS = 2  # the true one and one other, as the receiver is trained
JUDGED_PERSONAS = 32  # as it is validated
JUDGED = 100  # held-out talks it is scored on


def _config(plan: Plan, steps: int, **changes: Any) -> TrainingConfig:
    """A run whose rate falls linearly from its full value to 0."""
    same = {name: getattr(plan, name) for name in ("batch_tokens", "accumulate", "dropout", "max_norm", "bf16", "seed")}
    return TrainingConfig(**{"steps": steps, "warmup": 0, **same, **changes})


def _adamw(model: LanguageModel, lr: float, shares: Mapping[str, float] | None = None) -> GroupedAdamW:
    return GroupedAdamW(model.network, lr, model.tokenizer.control_ids, shares, betas=(0.9, 0.999))


def with_distractors(questions: Sequence[Question], candidates: int, rng: np.random.Generator) -> list[Question]:
    """Every question with so many candidates: its own last ones before the true one, random other replies where it lacks them.

    Raises:
        InputError: there are fewer different replies than candidates.
    """
    pool = sorted({question.candidates[-1] for question in questions})
    if len(pool) < candidates:
        raise InputError(f"choosing among {candidates} candidates needs as many different replies, the data has {len(pool)}.")
    made = []
    for question in questions:
        *others, true = question.candidates[-candidates:]
        while len(others) < candidates - 1:
            text = pool[int(rng.integers(len(pool)))]
            if text != true and text not in others:
                others.append(text)
        made.append(dataclasses.replace(question, candidates=(*others, true)))
    return made


# --- TransferTransfo --------------------------------------------------------------------------------------------------------


def transfertransfo(
    run: Run, model: LanguageModel, dialogues: Sequence[Dialogue], held_out: Sequence[Dialogue]
) -> dict[str, Any]:
    """One stage; the optimiser is AdamW, the rate falls linearly to 0."""
    plan = run.plan
    model.network = network = with_head(model.network, 1, plan.seed)
    asked = [question for d in dialogues for question in questions_of(d, plan.permutations)]
    left_out = 0

    def epoch(number: int) -> list[Choice]:
        nonlocal left_out
        made, left_out = choices_of(
            model, with_distractors(asked, plan.candidates, np.random.default_rng([plan.seed, number, 1]))
        )
        return made

    def make(folder: Path) -> Trainer[Choice]:
        objective = Choosing(network, plan.lm_coef, plan.mc_coef)
        config = _config(plan, steps_of([objective.length(choice) for choice in epoch(0)], plan))
        optimiser = _adamw(model, plan.rate(LR[plan.regime]))
        return Trainer(objective, epoch, config, folder, plan.regime, optimiser, run.team)

    run.train("double-heads", make)
    return {"questions": len(asked), "questions_too_long": left_out}


# --- PersonaGPT -------------------------------------------------------------------------------------------------------------


def both_views(model: LanguageModel, dialogue: Dialogue) -> list[Example]:
    """A dialogue as each speaker hears it, with that speaker's persona and no goals."""
    limit = model.network.shape.n_positions
    bare = dataclasses.replace(dialogue, turns=tuple(dataclasses.replace(turn, goals=None) for turn in dialogue.turns))
    # Without goals the two layouts write the same, and the inline one writes a whole dialogue at once.
    lines = line_examples("inline", model.tokenizer, bare, limit, lambda goals: None)
    return [*model.reply_examples(dialogue, limit), *lines]


def control_examples(model: LanguageModel, dialogues: Sequence[Dialogue], rng: np.random.Generator) -> list[Example]:
    """The lines that carry out goals, each with one of its goals named."""
    limit = model.network.shape.n_positions
    found = [
        line_examples(model.layout, model.tokenizer, d, limit, lambda goals: goals[int(rng.integers(len(goals)))])
        for d in dialogues
    ]
    return [example for examples in found for example in examples if example.is_steered]


def personagpt(run: Run, model: LanguageModel, dialogues: Sequence[Dialogue], held_out: Sequence[Dialogue]) -> dict[str, Any]:
    """Persona pretraining, then the control stage: one goal-conditioned example beside every persona example."""
    plan = run.plan
    if model.layout not in ("personagpt", "inline"):
        raise InputError(f"{plan.base} reads layout {model.layout!r}, which has no goals; take another base.")
    labelled = [d for d in dialogues if any(turn.goals for turn in d.turns)]
    labelled += [spelled(d) for d in steered_talk.without_extra_goals(steered_talk.load("train"))]

    def persona(number: int) -> list[Example]:
        rng = np.random.default_rng([plan.seed, number, 2])
        return [example for d in dialogues for example in both_views(model, reordered(d, rng))]

    def control(number: int) -> list[TwoKinds]:
        rng = np.random.default_rng([plan.seed, number, 3])
        steered = control_examples(model, labelled, rng)
        return [TwoKinds(steered[int(rng.integers(len(steered)))], example) for example in persona(number)]

    def first(folder: Path) -> Trainer[Example]:
        objective = NextToken(model.network)
        config = _config(plan, steps_of([objective.length(example) for example in persona(0)], plan))
        return Trainer(objective, persona, config, folder, "persona", _adamw(model, plan.rate(LR[plan.regime])), run.team)

    def second(folder: Path) -> Trainer[TwoKinds]:
        objective = ControlAndPersona(model.network)
        once = dataclasses.replace(plan, epochs=min(1.0, plan.epochs))  # train_loop reads Persona-Chat once
        config = _config(plan, steps_of([objective.length(example) for example in control(0)], once))
        optimiser = _adamw(model, plan.rate(CONTROL_LR), None if plan.base == SCRATCH else PUBLISHED_SHARES)
        return Trainer(objective, control, config, folder, "control", optimiser, run.team)

    run.train("persona", first)
    run.train("control", second)
    return {"steered_dialogues": len(labelled)}


# --- P2 Bot -----------------------------------------------------------------------------------------------------------------


def both_seats(dialogue: Dialogue) -> list[Question]:
    """Every utterance but the first as a question to who says it: self-play speaks for both."""
    found = questions_of(dialogue)
    facts = dialogue.partner_persona.facts if dialogue.partner_persona else ()
    said = dialogue.utterances
    return found + [Question(facts, said[:i], (said[i],)) for i in range(2, len(said), 2)]


def whose_of(receiver: Receiver, dialogues: Sequence[Dialogue], personas: int, rng: np.random.Generator) -> list[Whose]:
    """What each speaker with a persona says in each dialogue, beside that persona and others of random facts.

    Args:
        receiver: makes the ids.
        dialogues: with personas.
        personas: to choose from; the others have as many facts as the true one, none of them its own.
        rng: draws them.
    """
    owned = []
    for dialogue in dialogues:
        for side, persona in enumerate((dialogue.partner_persona, dialogue.persona)):
            said = dialogue.utterances[side::2]
            if persona is not None and said:
                owned.append((said, persona.facts))
    every = sorted({fact for _, facts in owned for fact in facts})
    made = []
    for said, facts in owned:
        others = []
        for _ in range(personas - 1):
            drawn = [every[int(i)] for i in rng.permutation(len(every))[: 2 * len(facts)]]
            others.append(tuple([fact for fact in drawn if fact not in facts][: len(facts)]))
        groups = [tuple(receiver.ids(fact) for fact in each) for each in (*others, facts) if each]
        made.append(Whose(tuple(receiver.ids(text) for text in said), tuple(groups)))
    return [example for example in made if len(example.personas) == personas]


def openings_of(dialogues: Sequence[Dialogue]) -> list[Opening]:
    """The first lines of dialogues in which both personas are known."""
    return [
        Opening(d.persona.facts, d.partner_persona.facts, d.turns[0].line)
        for d in dialogues
        if d.persona is not None and d.partner_persona is not None
    ]


def p2bot(run: Run, model: LanguageModel, dialogues: Sequence[Dialogue], held_out: Sequence[Dialogue]) -> dict[str, Any]:
    """Transmitter, receiver, self-play."""
    plan = run.plan
    openings = openings_of(dialogues)
    if not openings:
        raise InputError("self-play needs dialogues with both speakers' personas, the data has none (ConvAI2's 'both' has).")
    receiver, untuned = Receiver(_twin(model)), _twin(model)
    model.network = network = with_head(model.network, 2, plan.seed)
    questions = [question for d in dialogues for question in both_seats(d)]

    def choices(number: int) -> list[Choice]:
        rng = np.random.default_rng([plan.seed, number, 4])
        mixed = [dataclasses.replace(q, facts=tuple(q.facts[i] for i in rng.permutation(len(q.facts)))) for q in questions]
        return choices_of(model, with_distractors(mixed, 2, rng))[0]

    def transmitter(folder: Path) -> Trainer[Choice]:
        objective = NextUtterance(network)
        steps = steps_of([objective.length(choice) for choice in choices(0)], plan)
        config = _config(plan, steps, warmup=round(0.002 * steps))
        return Trainer(objective, choices, config, folder, "transmitter", _adamw(model, plan.rate(LR[plan.regime])))

    def match(folder: Path) -> Trainer[Whose]:
        config = _config(plan, plan.receiver_steps, batch_tokens=RECEIVER_BATCH_TOKENS)
        optimiser = _adamw(receiver.model, plan.rate(RECEIVER_LR), None if plan.base == SCRATCH else FROZEN_WORDS)
        return Trainer(Matching(receiver.model), perceived, config, folder, "receiver", optimiser)

    def perceived(number: int) -> list[Whose]:
        return whose_of(receiver, dialogues, TRAINED_PERSONAS, np.random.default_rng([plan.seed, number, 5]))

    run.train("transmitter", transmitter)
    run.train("receiver", match)
    receiver.model.save(run.out / "receiver")
    judge = _twin(model)
    game = SelfPlay(model, judge, judge if plan.base == SCRATCH else untuned, receiver)
    history: list[dict[str, float]] = []

    def episode(number: int) -> list[Weighted]:
        """One step; depends on the weights of now, too, which a resumed run has again."""
        rng = np.random.default_rng([plan.seed, number, 6])
        if rng.random() < SUPERVISED:
            drawn = [questions[int(i)] for i in rng.integers(len(questions), size=game.copies)]
            return [Weighted(choice.rows[-1], 1.0) for choice in choices_of(model, drawn)[0]]
        played: Played = game.play(openings[int(rng.integers(len(openings)))], rng)
        history.append(played.rewards)
        return played.examples

    def self_play(folder: Path) -> Trainer[Weighted]:
        config = _config(plan, plan.episodes, batch_tokens=1 << 30, accumulate=1, dropout=0.0, decay_from=plan.episodes)
        return Trainer(Reinforce(network), episode, config, folder, "self-play", _adamw(model, plan.self_play_lr))

    run.train("self-play", self_play)
    part = max(1, len(history) // 10)
    return {
        "openings": len(openings),
        **_receiver_score(receiver, held_out, plan),
        "rewards_first_tenth": _means(history[:part]),
        "rewards_last_tenth": _means(history[-part:]),
    }


def _twin(model: LanguageModel) -> LanguageModel:
    """The same model with weights of its own."""
    return dataclasses.replace(model, network=copy.deepcopy(model.network))


def _means(rewards: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: float(np.mean([each[name] for each in rewards])) for name in rewards[0]} if rewards else {}


def _receiver_score(receiver: Receiver, dialogues: Sequence[Dialogue], plan: Plan) -> dict[str, Any]:
    """How often the true persona scores highest."""
    talks = whose_of(receiver, dialogues, JUDGED_PERSONAS, np.random.default_rng([plan.seed, 7]))[:JUDGED]
    hits = [receiver.is_right(talk, plan.receiver_steps) for talk in talks]
    return {
        "receiver_hits_at_1": float(np.mean(hits)) if hits else None,
        "receiver_among": JUDGED_PERSONAS,
        "receiver_n": len(hits),
    }


STAGES: Mapping[str, Callable[[Run, LanguageModel, Sequence[Dialogue], Sequence[Dialogue]], dict[str, Any]]] = {
    "transfertransfo": transfertransfo,
    "personagpt": personagpt,
    "p2bot": p2bot,
}

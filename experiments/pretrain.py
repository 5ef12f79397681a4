"""Trains persona-mini from nothing: a vocabulary, then phase after phase of talk (`phases`).

Talk rich in facts, talk of all kinds, answers, lines, names, more of people's talk, the model's own best utterances, facts
that lie near each other, and roundabout questions.

    convogym pretrain --data FOLDER --out FOLDER            the recipe of the shipped model
    convogym pretrain --data FOLDER --out FOLDER --resume   goes on where a killed run was

The result is a mean of the weights at the ends of the phases in `RELEASED`. Every number of the recipe stands in `RECIPE`,
`REPLIED_TO` and `STEERED`; the model's own lines are chosen by the persona-reader of the package. `out/log.jsonl` gets a line
every ten steps, `out/board` the same for TensorBoard, `out/mean.json` the watched losses of the mean, `out/model` the result.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from convogym import weak_labels
from convogym.agents.folders import replaced
from convogym.agents.gpt2 import GPT2Shape
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.agents.starting import start_able_to_point, tell_rare_tokens_apart
from convogym.agents.tokenizer import BPETokenizer
from convogym.agents.training import (
    NextToken,
    Progress,
    Trainer,
    TrainingConfig,
    cut_log,
    has_bfloat16,
    mean_nll,
    padded,
    write_log,
)
from convogym.dialogue import Dialogue
from convogym.errors import InputError
from convogym.experiments import corpora as corpora_module
from convogym.experiments import own_best
from convogym.experiments.corpora import Mix, Share
from convogym.layouts import Example
from convogym.readers import read_dialogues, write_dialogues

FACTS = Mix(
    shares={
        "personachat_train_part": Share(replies=1.0),
        "synthetic_persona_chat": Share(replies=0.6, swapped=0.4),
        "steered_talk": Share(replies=2.0, lines=2.0),
        "self_dialogue": Share(plain=1.0, limit=2000),
    },
    other=Share(plain=0.1),
    grammar=1500,
    grammar_replies=1500,
)
TALK = Mix(
    shares={
        "personachat_train_part": Share(replies=1.0, lines=0.6),
        "synthetic_persona_chat": Share(replies=0.5, swapped=0.5, lines=0.2),
        "steered_talk": Share(replies=2.0, lines=2.0),
        "self_dialogue": Share(plain=1.0, limit=2000),
    },
    other=Share(plain=0.1),
    grammar=1200,
    grammar_replies=1200,
)
ANSWERS = Mix(
    shares={
        "personachat_train_part": Share(replies=0.6, lines=0.2),
        "synthetic_persona_chat": Share(replies=0.3, swapped=0.2, lines=0.1),
        "steered_talk": Share(replies=1.0, lines=4.0),
        "self_dialogue": Share(plain=1.0, limit=500),
    },
    grammar=3000,
    grammar_replies=5000,
    grammar_turns=(2, 6),
)
LINES = Mix(
    shares={
        "personachat_train_part": Share(replies=0.6, asked=0.5),
        "synthetic_persona_chat": Share(replies=0.3, swapped=0.2, asked=0.5),
        "steered_talk": Share(replies=1.0, lines=3.0, asked=3.0),
        "self_dialogue": Share(plain=1.0, limit=500),
    },
    grammar=1500,
    grammar_replies=4000,
    grammar_turns=(2, 6),
)
NAMES = dataclasses.replace(LINES, grammar_replies=5000, reworded=0.5)
MORE = Mix(
    shares={
        "personachat_train_part": Share(replies=1.0, asked=0.3),
        "synthetic_persona_chat": Share(replies=0.3, swapped=0.2, asked=0.3),
        "steered_talk": Share(replies=0.8, lines=1.5, asked=1.5),
        "steered_talk_more": Share(replies=2.5, lines=1.5, asked=1.0),
        "self_dialogue": Share(plain=1.0, limit=300),
    },
    grammar=800,
    grammar_replies=2500,
    grammar_turns=(2, 6),
    reworded=0.5,
)
OWN = Mix(
    shares={
        "personachat_train_part": Share(replies=0.5, asked=0.2),
        "synthetic_persona_chat": Share(replies=0.2, swapped=0.1),
        "steered_talk": Share(replies=0.6, lines=1.0, asked=0.7),
        "steered_talk_more": Share(replies=1.5, lines=1.0, asked=0.5),
        "steered_talk_asked": Share(replies=2.5, lines=2.0, asked=1.0),
        "own_replies": Share(replies=1.0),
        "own_lines": Share(lines=1.0),
    },
    grammar=600,
    grammar_replies=2500,
    grammar_turns=(2, 6),
    reworded=0.5,
)
OWN_AGAIN = dataclasses.replace(
    OWN,
    shares={
        **OWN.shares,
        "personachat_train_part": Share(replies=0.6, asked=0.2),
        "steered_talk_asked": Share(replies=2.5, lines=1.5, asked=1.0),
    },
)
OWN_AT_LAST = dataclasses.replace(
    OWN,
    shares={
        **OWN.shares,
        "personachat_train_part": Share(replies=0.5, asked=0.3),
        "synthetic_persona_chat": Share(replies=0.3, swapped=0.2, asked=0.2),
        "steered_talk": Share(replies=0.8, lines=1.0, asked=0.7),
        "steered_talk_more": Share(replies=1.5, lines=1.0, asked=0.6),
        "steered_talk_asked": Share(replies=2.0, lines=1.2, asked=0.8),
        "self_dialogue": Share(plain=1.0, limit=300),
    },
    grammar=700,
    grammar_replies=4500,
)
SETTLING = dataclasses.replace(
    OWN_AT_LAST,
    shares={
        **OWN_AT_LAST.shares,
        "personachat_train_part": Share(replies=1.2, asked=0.3),
        "synthetic_persona_chat": Share(replies=0.5, swapped=0.3, asked=0.2),
        "self_dialogue": Share(plain=1.0, limit=600),
    },
)
NEAR = Mix(
    shares={
        "personachat_train_part": Share(replies=1.5, asked=0.3),
        "synthetic_persona_chat": Share(replies=0.4, swapped=0.2, asked=0.2),
        "steered_talk": Share(replies=0.7, lines=0.5, asked=0.5, pieced=1.5),
        "steered_talk_more": Share(replies=0.8, lines=1.5, asked=0.5, pieced=0.7),
        "steered_talk_asked": Share(replies=0.8, lines=0.7, asked=0.5, pieced=1.2),
        "steered_talk_near": Share(replies=2.0, lines=0.7, asked=0.5, pieced=1.5),
        "steered_talk_plain": Share(replies=2.0, lines=2.0, asked=0.5, pieced=1.0),
        "self_dialogue": Share(plain=1.0, limit=300),
        "own_replies": Share(replies=0.8),
        "own_lines": Share(lines=1.5),
    },
    grammar=700,
    grammar_replies=3000,
    grammar_turns=(2, 6),
    reworded=0.4,
)
TOLD = dataclasses.replace(NEAR, grammar_replies=8000)
OBLIQUE = dataclasses.replace(
    NEAR,
    shares={
        **NEAR.shares,
        "steered_talk": Share(replies=0.7, lines=0.4, asked=0.4, pieced=1.5),
        "steered_talk_more": Share(replies=0.7, lines=1.0, asked=0.4, pieced=0.7),
        "steered_talk_asked": Share(replies=0.7, lines=0.5, asked=0.4, pieced=1.2),
        "steered_talk_near": Share(replies=1.2, lines=0.5, asked=0.4, pieced=1.5),
        "steered_talk_plain": Share(replies=1.0, lines=1.5, asked=0.4, pieced=1.0),
        "steered_talk_oblique": Share(replies=2.0, lines=0.8, asked=0.4, pieced=2.0),
        "steered_talk_turned": Share(lines=2.5),
    },
)
OBLIQUE_TOLD = dataclasses.replace(OBLIQUE, grammar_replies=8000)
REPLIED_TO = (
    {
        "personachat_train_part": (0, 1000),
        "synthetic_persona_chat": (0, 150),
        "steered_talk": (0, 300),
        "steered_talk_more": (0, 800),
    },
    {
        "personachat_train_part": (1000, 2100),
        "synthetic_persona_chat": (150, 300),
        "steered_talk": (300, 600),
        "steered_talk_more": (800, 1200),
        "steered_talk_asked": (0, 600),
    },
    {
        "personachat_train_part": (0, 1000),
        "synthetic_persona_chat": (300, 450),
        "steered_talk_more": (0, 200),
        "steered_talk_asked": (600, 1300),
    },
    {
        "personachat_train_part": (1000, 2100),
        "synthetic_persona_chat": (450, 550),
        "steered_talk_near": (0, 300),
        "steered_talk_plain": (0, 300),
    },
    {
        "personachat_train_part": (0, 1000),
        "synthetic_persona_chat": (550, 650),
        "steered_talk_near": (300, 700),
        "steered_talk_oblique": (0, 300),
    },
)
"""of each corpus, from which dialogue to before which the model's own replies are put in, each of the times"""
STEERED = (
    {"personachat_train_part": (0, 200), "steered_talk": (0, 300), "steered_talk_more": (0, 800)},
    {"personachat_train_part": (1000, 1200), "steered_talk": (300, 600), "steered_talk_asked": (0, 600)},
    {"personachat_train_part": (300, 600), "steered_talk": (600, 900), "steered_talk_asked": (600, 1300)},
    {
        "personachat_train_part": (600, 900),
        "steered_talk": (0, 600),
        "steered_talk_more": (0, 400),
        "steered_talk_near": (0, 400),
        "steered_talk_plain": (0, 500),
    },
    {
        "personachat_train_part": (900, 1200),
        "steered_talk": (0, 600),
        "steered_talk_near": (400, 900),
        "steered_talk_plain": (0, 500),
        "steered_talk_oblique": (0, 500),
    },
)
"""likewise the model's own lines"""


@dataclass(frozen=True)
class Recipe:
    """What decides a from-scratch model, but for its corpora and the judge that chooses among its own lines."""

    vocabulary: int = 8192
    """ids in all, control tokens included"""
    n_positions: int = 512
    n_embd: int = 224
    n_layer: int = 5
    n_head: int = 4
    layout: str = "inline"
    max_tokens: int = 448
    """longest training example"""
    epoch: float = 1.0
    """of the mixes' numbers, how much an epoch gets"""
    fact_steps: int = 400
    """steps in which facts are copied often: what a model starts able to do it loses unless it soon pays"""
    talk_steps: int = 1200
    """steps of talk with personas and goals, the rates falling to 0"""
    answer_steps: int = 800
    """steps in which most replies answer questions after facts, the rates falling once more"""
    more_answer_steps: int = 560
    """steps of the same once more"""
    answer_share: float = 0.7
    """of the full rates, where each of the two begins"""
    line_steps: int = 300
    """steps of answers and of lines that carry out a goal in talk of any kind"""
    line_share: float = 0.4
    """of the full rates, where they begin"""
    name_steps: int = 600
    """steps of the same in which any word may have to be copied (`corpora.reworded`), rare tokens told apart before"""
    more_name_steps: int = 700
    """steps of the same once more"""
    name_share: float = 0.5
    """of the full rates, where each of the two begins"""
    name_epsilon: float = 3e-6
    """AdamW's from then on: at the usual 1e-8 rare tokens are driven together again"""
    more_steps: int = 500
    """steps with plainer talk"""
    more_share: float = 0.5
    """of the full rates, where they begin"""
    own_steps: int = 700
    """steps with indirect questions, and with the model's own best replies and lines (`own_best`)"""
    own_share: float = 0.5
    """of the full rates, where they begin"""
    own_again_steps: int = 800
    """steps of the same with utterances drawn anew, in other talks"""
    own_again_share: float = 0.4
    """of the full rates, where they begin"""
    last_steps: int = 4000
    """steps of much the same from the mean of the weights so far, utterances drawn once more"""
    last_share: float = 0.5
    """of the full rates, where they begin"""
    settling_steps: int = 600
    """steps of the same with more of people's talk"""
    settling_share: float = 0.3
    """of the full rates, where they begin"""
    near_steps: int = 4500
    """steps from the mean of the weights at the ends of those two, in which the fact asked for is found among any others
    (`corpora.pieced`), utterances drawn a fourth time"""
    near_share: float = 0.5
    """of the full rates, where they begin"""
    told_steps: int = 500
    """steps of the same with more of the grammar's answers"""
    told_share: float = 0.25
    """of the full rates, where they begin"""
    oblique_steps: int = 6000
    """steps from the mean of the weights at the ends of the last four, with more roundabout questions and lines for goals
    out of the blue, utterances drawn a fifth time"""
    oblique_share: float = 0.5
    """of the full rates, where they begin"""
    oblique_told_steps: int = 600
    """steps of the same with more of the grammar's answers"""
    oblique_told_share: float = 0.25
    """of the full rates, where they begin"""
    last_dropout: float = 0.05
    """from `last_steps` on, in which the dialogues that were written come back most often"""
    own_draws: tuple[int, int, int, int, int] = (6, 8, 8, 8, 8)
    """utterances drawn for each of those, each of the times"""
    own_talks: float = 1.0
    """of the dialogues in `REPLIED_TO` and `STEERED`, how many get them"""
    answer_pointing: float = 1.0
    """weight, in all steps from those of answers on, of the loss that teaches a head to look at the fact asked for
    (`training.pointing_nll`)"""
    rates: tuple[float, float] = (8e-3, 2e-2)
    """Muon's and AdamW's full rates; at Muon 2e-2 attention saturates and no goal is ever followed (experiments/LOG.md)"""
    temperature: float = 0.7
    """at which the model speaks unless told otherwise, as TransferTransfo's; at PersonaGPT's 1.0 it rambles"""


RECIPE = Recipe()
JOINING = {"more": ("more",), "own": ("asked",), "near": ("near", "plain"), "oblique": ("oblique", "turned")}
"""by phase, splits of steered-talk that are read from there on; the vocabulary and the earlier phases know nothing of them"""
OWN_PHASES = ("own", "own again", "own at last", "near", "oblique")
AVERAGED: Mapping[str, Mapping[str, float]] = {
    "own at last": {"more": 1 / 3, "own": 1 / 3, "own again": 1 / 3},
    "near": {"own at last": 0.5, "settling": 0.5},
    "oblique": {"own at last": 0.1, "settling": 0.1, "near": 0.4, "told": 0.4},
}
"""by phase, those from the mean of whose weights at the end it goes on, and how much of each"""
RELEASED = {"near": 0.1, "told": 0.1, "oblique": 0.4, "oblique told": 0.4}
"""phases whose weights at the end make the released ones, and how much of each"""
WATCH_EVERY = 200  # steps
TOLD_APART_BY = 100  # examples whose states say what a direction means


def phases(recipe: Recipe, seed: int = 0) -> tuple[tuple[str, Mix, TrainingConfig, int], ...]:
    """The phases of a recipe: name, mix, how the steps go, and the step the phase ends at."""
    talked = recipe.fact_steps + recipe.talk_steps
    answered = talked + recipe.answer_steps
    more = answered + recipe.more_answer_steps
    lined = more + recipe.line_steps
    named = lined + recipe.name_steps
    named_more = named + recipe.more_name_steps
    heard = named_more + recipe.more_steps
    own = heard + recipe.own_steps
    again = own + recipe.own_again_steps
    last = again + recipe.last_steps
    settled = last + recipe.settling_steps
    near = settled + recipe.near_steps
    told = near + recipe.told_steps
    oblique = told + recipe.oblique_steps
    ended = oblique + recipe.oblique_told_steps
    bf16 = has_bfloat16("cpu")

    def config(until: int, fall_from: int, share: float, epsilon: float = 1e-8, dropout: float = 0.0) -> TrainingConfig:
        return TrainingConfig(
            steps=until,
            batch_tokens=2048,
            accumulate=3,
            matrix_lr=recipe.rates[0] * share,
            other_lr=recipe.rates[1] * share,
            epsilon=epsilon,
            weight_decay=0.05,
            decay_from=fall_from,
            dropout=dropout,
            bf16=bf16,
            seed=seed,
        )

    def late(phase: str, mix: Mix, begin: int, until: int, share: float) -> tuple[str, Mix, TrainingConfig, int]:
        return phase, mix.times(recipe.epoch), config(until, begin, share, recipe.name_epsilon, recipe.last_dropout), until

    answers, names = ANSWERS.times(recipe.epoch), NAMES.times(recipe.epoch)
    first = config(talked, talked * 2 // 5, 1.0)
    return (
        ("facts", FACTS.times(recipe.epoch), first, recipe.fact_steps),
        ("talk", TALK.times(recipe.epoch), first, talked),
        ("answers", answers, config(answered, talked, recipe.answer_share), answered),
        ("answers", answers, config(more, answered, recipe.answer_share), more),
        ("lines", LINES.times(recipe.epoch), config(lined, more, recipe.line_share), lined),
        ("names", names, config(named, lined, recipe.name_share, recipe.name_epsilon), named),
        ("names", names, config(named_more, named, recipe.name_share, recipe.name_epsilon), named_more),
        ("more", MORE.times(recipe.epoch), config(heard, named_more, recipe.more_share, recipe.name_epsilon), heard),
        ("own", OWN.times(recipe.epoch), config(own, heard, recipe.own_share, recipe.name_epsilon), own),
        ("own again", OWN_AGAIN.times(recipe.epoch), config(again, own, recipe.own_again_share, recipe.name_epsilon), again),
        late("own at last", OWN_AT_LAST, again, last, recipe.last_share),
        late("settling", SETTLING, last, settled, recipe.settling_share),
        late("near", NEAR, settled, near, recipe.near_share),
        late("told", TOLD, near, told, recipe.told_share),
        late("oblique", OBLIQUE, told, oblique, recipe.oblique_share),
        late("oblique told", OBLIQUE_TOLD, oblique, ended, recipe.oblique_told_share),
    )


def pretrain(
    data: Path,
    out: Path,
    recipe: Recipe = RECIPE,
    seed: int = 0,
    resume: bool = False,
    checkpoint_minutes: float = 5.0,
    until: int | None = None,
    progress_bar: bool = False,
    report: Callable[[str, Progress, Mapping[str, float]], None] = lambda phase, progress, watch: None,
) -> LanguageModel:
    """Runs the recipe.

    Args:
        data: folder of corpora.
        out: gets tokenizer, checkpoints, logs and, at the end, `model/`.
        recipe: sizes, steps and rates.
        seed: of everything.
        resume: go on from `out`'s checkpoint.
        checkpoint_minutes: time between checkpoints.
        until: stop after this many steps in all (a later `resume` goes on).
        progress_bar: show a bar on stderr while the model draws its own best utterances.
        report: called after every step with phase, progress and, every `WATCH_EVERY` steps, the watched losses.

    Returns:
        The trained model.

    Raises:
        InputError: `out` holds another run and `resume` was not asked for, or there are no corpora.
    """
    out.mkdir(parents=True, exist_ok=True)
    if not resume and (out / "checkpoint.pt").exists():
        raise InputError(f"{out} holds a run already: pass --resume to go on with it, or choose another --out.")
    found = {**corpora_module.read_folder(data), **corpora_module.own_corpora("train")}
    train, watched = corpora_module.kept_apart(found)
    tokenizer_folder = out / "tokenizer"
    if not (resume and (tokenizer_folder / "tokenizer.json").is_file()):
        with replaced(tokenizer_folder) as scratch:
            BPETokenizer.learn(corpora_module.texts(train), recipe.vocabulary).save(scratch)
    tokenizer = BPETokenizer.load(tokenizer_folder, lower=True)
    shape = GPT2Shape(len(tokenizer), recipe.n_positions, recipe.n_embd, recipe.n_layer, recipe.n_head)
    model = _fresh(shape, tokenizer, recipe, train, seed)
    watch = corpora_module.watch_examples(watched, tokenizer, recipe.max_tokens)
    lined = next(end for phase, _, _, end in phases(recipe, seed) if phase == "lines")
    from torch.utils.tensorboard import SummaryWriter

    board: Any = SummaryWriter(str(out / "board"))
    begin = 0
    for phase, mix, config, end in phases(recipe, seed):
        if until is not None and until <= begin:
            break  # what a phase begins with is done by the run that takes its first step
        train = {**train, **corpora_module.own_corpora(*JOINING.get(phase, ()))}
        if phase in AVERAGED:
            _average(model, out, AVERAGED[phase])
        if phase in OWN_PHASES:
            train = {
                **train,
                **_own_best(model, train, recipe, out, seed, OWN_PHASES.index(phase), progress_bar),
            }
        trainer = _trainer(model, mix, train, recipe, config, out, phase)
        if trainer.resume():
            cut_log(out / "log.jsonl", trainer.step)
        if phase in AVERAGED and trainer.step == begin:
            _average(model, out, AVERAGED[phase])  # resuming has brought the end of the phase before
        begin = end
        if trainer.step >= end:
            _keep_end(model, out, phase, trainer.step == end)
            continue
        stop = end if until is None else min(end, until)
        if phase == "answers" and trainer.step == recipe.fact_steps + recipe.talk_steps:
            start_able_to_point(model.network, torch.Generator().manual_seed(seed))
        if phase == "names" and trainer.step == lined:
            tell_rare_tokens_apart(model.network, *_talk_of(model, trainer.epoch(0)))
        for progress in trainer.run(stop, checkpoint_minutes):
            progress = progress._replace(loss=progress.terms["loss"])  # what the phases have in common
            watch_losses: dict[str, float] = {}
            if progress.step % WATCH_EVERY == 0 or progress.step == end:
                model.network.eval()
                watch_losses = {name: mean_nll(model.network, examples) for name, examples in watch.items() if examples}
                model.network.train()
            if progress.step % 10 == 0 or watch_losses:
                write_log(out / "log.jsonl", {"phase": phase, **progress._asdict(), "watch": watch_losses})
                for name, value in (("loss", progress.loss), ("rate", progress.rate), *watch_losses.items()):
                    board.add_scalar(name, value, progress.step)
            report(phase, progress, watch_losses)
        _keep_end(model, out, phase, trainer.step == end)
    if trainer.step == begin == phases(recipe, seed)[-1][-1]:
        _average(model, out, RELEASED)
        watch_losses = {name: mean_nll(model.network, examples) for name, examples in watch.items() if examples}
        (out / "mean.json").write_text(json.dumps({"step": trainer.step, "watch": watch_losses}) + "\n", "utf-8")
    board.close()
    model.sampling = Sampling(temperature=recipe.temperature)
    model.save(out / "model", torch.float16)
    return model


def _end_of(out: Path, phase: str) -> Path:
    return out / f"end_of_{phase.replace(' ', '_')}.safetensors"


def _keep_end(model: LanguageModel, out: Path, phase: str, is_end: bool) -> None:
    """Writes the weights at the end of a phase that will be averaged, unless they are there."""
    path = _end_of(out, phase)
    averaged = {name for names in AVERAGED.values() for name in names}
    if phase in averaged.union(RELEASED) and is_end and not path.exists():
        scratch = path.with_suffix(".partial")
        save_file({name: weight.contiguous() for name, weight in model.network.state_dict().items()}, scratch)
        scratch.replace(path)


def _average(model: LanguageModel, out: Path, shares: Mapping[str, float]) -> None:
    """Gives the model a mean of the weights at the ends of some phases (Izmailov et al. 2018, "SWA")."""
    ends = [(share, load_file(_end_of(out, phase))) for phase, share in shares.items()]
    model.network.load_state_dict({name: sum(share * end[name] for share, end in ends) for name in ends[0][1]})


def _fresh(
    shape: GPT2Shape, tokenizer: BPETokenizer, recipe: Recipe, train: Mapping[str, Sequence[Dialogue]], seed: int
) -> LanguageModel:
    """An untrained model that knows how often each token occurs in an early epoch of talk with personas."""
    mix = TALK.times(recipe.epoch)
    examples = corpora_module.epoch_maker(mix, train, tokenizer, recipe.layout, recipe.max_tokens, seed)(0)
    ids = np.concatenate([np.array(example.ids)[np.array(example.learnt)] for example in examples])
    counts = torch.from_numpy(np.bincount(ids, minlength=len(tokenizer)))
    return LanguageModel.fresh("persona-mini", shape, tokenizer, recipe.layout, seed, counts)


def _own_best(
    model: LanguageModel,
    train: Mapping[str, Sequence[Dialogue]],
    recipe: Recipe,
    out: Path,
    seed: int,
    time: int,
    progress_bar: bool,
) -> dict[str, list[Dialogue]]:
    """Training dialogues with the model's own best replies and lines; drawn once a run and time, then read from `out`."""
    from convogym.agents.reader import load_reader

    def some(parts: Mapping[str, tuple[int, int]]) -> list[Dialogue]:
        kept = {name: [round(place * recipe.own_talks) for place in part] for name, part in parts.items()}
        found = (train.get(name, ())[first:last] for name, (first, last) in kept.items())
        return [weak_labels.label(dialogue) for dialogues in found for dialogue in dialogues]

    replied, steered = (out / f"own_{what}{time + 1 if time else ''}.jsonl" for what in ("replies", "lines"))
    draws = recipe.own_draws[time]
    model.sampling = Sampling(temperature=recipe.temperature)
    model.network.eval()
    if not replied.is_file():
        talks = [dialogue for dialogue in some(REPLIED_TO[time]) if dialogue.persona]
        with tqdm(total=len(talks), desc="own replies", unit="dialogue", disable=not progress_bar) as bar:
            write_dialogues(replied, own_best.with_own_replies(model, talks, draws, seed + time, bar.update))
    if not steered.is_file():
        with tqdm(desc="own lines", unit="line", disable=not progress_bar) as bar:
            told = own_best.with_own_lines(model, load_reader(), some(STEERED[time]), draws, seed + time, bar.update)
        write_dialogues(steered, told)
    found = {"own_replies": replied, "own_lines": steered}
    return {name: read_dialogues(path) if path.stat().st_size else [] for name, path in found.items()}


def _talk_of(model: LanguageModel, examples: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    """How often each token occurs in some examples, and the model's last states in some of them."""
    counts = np.bincount(np.concatenate([np.array(example.ids) for example in examples]), minlength=len(model.tokenizer))
    some = examples[:: max(1, len(examples) // TOLD_APART_BY)]
    states = []
    model.network.eval()
    with torch.no_grad():
        for example in some:
            states.append(model.network.hidden(padded([example]).to(model.network).ids)[0])
    return torch.from_numpy(counts), torch.cat(states)


def _trainer(
    model: LanguageModel,
    mix: Mix,
    train: Mapping[str, Sequence[Dialogue]],
    recipe: Recipe,
    config: TrainingConfig,
    out: Path,
    phase: str,
) -> Trainer[Example]:
    made = corpora_module.epoch_maker(mix, train, model.tokenizer, recipe.layout, recipe.max_tokens, config.seed)

    def epoch(number: int) -> Sequence[Example]:
        return made(number)

    objective = NextToken(model.network, 0.0 if phase in ("facts", "talk") else recipe.answer_pointing)
    return Trainer(objective, epoch, config, out, stream=phase)

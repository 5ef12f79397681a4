"""Teaches a model a new goal from a few corrected lines: what to ask, how to learn, what came of it. Asks nobody itself.

Whoever answers (a person at a terminal, a page, a simulated annotator) gets `Question`s and gives `Lesson`s. Following of a
new goal cannot be judged by persona-reader, which knows the published ones: `judge_of` fits a head to labelled lines, of
steered-talk where it has the goal, else of the person's own, and the report says which and what that judge is worth.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convogym import steered_talk
from convogym.dialogue import Dialogue
from convogym.errors import UnknownNameError
from convogym.experiments.console import ignore_ticks
from convogym.experiments.corpora import own_corpora, spelled
from convogym.experiments.taught_set import Lesson
from convogym.goals import DEFAULT_GOALS
from convogym.layouts import Example, line_examples

if TYPE_CHECKING:
    from convogym.agents.finetuning import Pair
    from convogym.agents.goal_head import GoalHead
    from convogym.agents.gpt2 import GPT2
    from convogym.agents.model import LanguageModel
    from convogym.agents.reader import Reader
    from convogym.agents.scoring import Context

ORDERS = ("random", "informative")
PROCEDURES = ("rehearsed", "original")
POOL = 120  # contexts that questions are chosen from
STEPS = 40  # optimiser steps of one teaching, some 28 seconds of one core
STEP_TOKENS = 1600  # of the talks read in a step, padding included; of as many more for every two goals taught before
TALKS = 64  # made anew for every round of learning
SHARE = 0.4  # of their lines that give way to lessons'
RATE = 1e-3  # AdamW's, falling linearly to 0
HELD_OUT = 60  # contexts in which it is measured in the end
HELD_OUT_OLD = 60  # the same for the old goals, times their number

Tick = Callable[[int], object]


def _unstaged(what: str) -> None:
    """Shows no stage."""


@dataclass(frozen=True)
class Question:
    """A moment in a talk and what the model would say there for the new goal."""

    context: Context
    """the moment"""
    proposed: str
    """the model's line"""

    def answered(self, goal: str, line: str | None) -> Lesson:
        """The lesson; `line` None accepts the model's."""
        moment = self.context
        return Lesson(
            goal, moment.partner_persona, moment.history, moment.goals, self.proposed, self.proposed if line is None else line
        )


def questions(
    model: LanguageModel, goal: str, contexts: Sequence[Context], count: int, seed: int, order: str = "random"
) -> list[tuple[int, Question]]:
    """What to ask a person about a new goal, in the order of asking.

    Args:
        model: proposes the lines.
        goal: what is taught.
        contexts: where lines could be said.
        count: how many questions, at most as many as there are contexts.
        seed: of the proposals and of a random order.
        order: one of `ORDERS`: any moments, or unsure and unlike ones first (`agents.informative`), which saves no corrections
            (docs/people.md).

    Returns:
        (index of the context, question) pairs.

    Raises:
        UnknownNameError: there is no such order.
    """
    from convogym.agents.informative import most_informative
    from convogym.agents.scoring import said_lines

    if order not in ORDERS:
        raise UnknownNameError("order", order, ORDERS)
    said = said_lines(model, contexts, [goal], seed)
    count = min(count, len(said))
    if order == "informative":
        chosen = most_informative([line.surprisal for line in said], np.stack([line.features for line in said]), count)
    else:
        chosen = [int(i) for i in np.random.default_rng([seed, 8]).permutation(len(said))[:count]]
    return [(i, Question(contexts[i], said[i].text)) for i in chosen]


def teaching_contexts(seed: int) -> list[Context]:
    """Moments in steered-talk's train dialogues at which a person is asked for lines."""
    from convogym.agents.scoring import contexts_of

    return contexts_of(spelled_split("train"), POOL, np.random.default_rng([seed, 12]))


def held_out_contexts(count: int, seed: int) -> list[Context]:
    """Moments in steered-talk's dev dialogues, which nothing learns from."""
    from convogym.agents.scoring import contexts_of

    return contexts_of(spelled_split("dev"), count, np.random.default_rng([seed, 13]))


def spelled_split(split: str) -> list[Dialogue]:
    """A split of steered-talk, extra goals and all, in the project's spelling."""
    return [spelled(dialogue) for dialogue in steered_talk.load(split)]


# --- judging a goal the reader does not know --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judge:
    """A goal's judge and what it is worth."""

    head: GoalHead
    fitted_on: str
    """where its lines came from, in words"""
    recall: float | None
    """share of lines with the goal that it recognises, of those it did not see; None = there was none"""
    false_alarms: float | None
    """share of lines without the goal that it takes for some with it, likewise"""
    tested_on: str
    """where those came from"""


def judge_of(reader: Reader, goal: str, lessons: Sequence[Lesson]) -> Judge:
    """Fits a judge for a new goal.

    Where steered-talk labels the goal: fitted to the lines of its train dialogues, tested on those of dev, of which neither
    judge nor model ever learns. Otherwise to all lessons but every fourth, against the lines of steered-talk train; tested on
    every fourth and on dev.

    Args:
        reader: whose features it uses.
        goal: the new goal.
        lessons: the person's answers for it.
    """
    from convogym.agents.goal_head import fit_goal_head

    train = [row for dialogue in spelled_split("train") for row in _lines(dialogue)]
    dev = [row for dialogue in spelled_split("dev") for row in _lines(dialogue)]
    labelled = [row.line for row in train if goal in row.goals]
    others = [row.line for row in train if goal not in row.goals]
    if labelled:
        seen, unseen = labelled, [row.line for row in dev if goal in row.goals]
        fitted = f"{len(seen)} steered-talk lines with this goal and {len(others)} without"
        tested = f"steered-talk dev, {len(unseen)} lines with this goal and {len(dev) - len(unseen)} without"
    else:
        own = [(lesson.before, lesson.line) for lesson in lessons]
        seen, unseen = [row for i, row in enumerate(own) if i % 4 != 3], own[3::4]
        fitted = f"{len(seen)} of your own lines, which the model learns too, and {len(others)} steered-talk lines"
        tested = f"{len(unseen)} of your own lines and the {len(dev)} of steered-talk dev"
    head = fit_goal_head(reader, seen, others)
    quality = head.quality(unseen, [row.line for row in dev if goal not in row.goals])
    return Judge(head, fitted, quality.recall, quality.false_alarms, tested)


@dataclass(frozen=True)
class _Row:
    """A labelled line in its place."""

    line: tuple[str, str]
    """what was said before, and the line"""
    goals: tuple[str, ...]


def _lines(dialogue: Dialogue) -> list[_Row]:
    rows, said = [], list[str]()
    for turn in dialogue.turns:
        rows.append(_Row((said[-1] if said else "", turn.line), turn.goals or ()))
        said += [turn.line, turn.reply or "..."]
    return rows


# --- learning ---------------------------------------------------------------------------------------------------------------


def following(
    model: LanguageModel,
    reader: Reader,
    heads: Mapping[str, GoalHead],
    goals: Sequence[str],
    contexts: Sequence[Context],
    seed: int,
    tick: Tick = ignore_ticks,
) -> dict[str, float]:
    """The share of sampled lines that follow their goal, by goal: one line for each goal in each context.

    Args:
        model: says the lines.
        reader: judges the published goals.
        heads: judge the others.
        goals: which are tried.
        contexts: where.
        seed: of the lines.
        tick: told of progress.
    """
    from convogym.agents.reader import FOLLOWS
    from convogym.agents.scoring import said_lines

    said = said_lines(model, contexts, goals, seed, tick=tick)
    pairs = [(contexts[line.context].before, line.text) for line in said]
    published = reader.probabilities([before for before, _ in pairs], [text for _, text in pairs])
    found: dict[str, float] = {}
    for action, goal in enumerate(goals):
        mine = [i for i, line in enumerate(said) if line.action == action]
        if goal in DEFAULT_GOALS:
            chances = published[mine, DEFAULT_GOALS.code(goal)]
        else:
            chances = heads[goal].probabilities([pairs[i] for i in mine])
        found[goal] = float((chances >= FOLLOWS).mean())
    return found


@dataclass(frozen=True)
class Measured:
    """How a model does."""

    new: float
    """following of the new goal, a share in 0..1"""
    old: float
    """mean following of all goals it had before"""
    worst: float
    """the lowest of those"""
    copied: float
    """share of the lines said for the new goal that are lessons' lines, word for word"""
    goals: Mapping[str, float]
    """all of those that were known before, by goal"""
    ppl_word: float
    """of steered-talk dev's replies"""


def measure(
    model: LanguageModel,
    reader: Reader,
    heads: Mapping[str, GoalHead],
    goal: str,
    old: Sequence[str],
    lessons: Sequence[Lesson],
    seed: int,
) -> Measured:
    """Measures a model on steered-talk dev: the new goal, all the old ones, and how likely it finds the replies."""
    from convogym.agents.scoring import likelihood, said_lines

    moments = held_out_contexts(HELD_OUT, seed)
    new = following(model, reader, heads, [goal], moments, seed)
    taught = {lesson.line for lesson in lessons}
    copied = float(np.mean([line.text in taught for line in said_lines(model, moments, [goal], seed)]))
    before = following(model, reader, heads, old, held_out_contexts(HELD_OUT_OLD, seed), seed)
    replies = likelihood(model, spelled_split("dev"))
    return Measured(new[goal], float(np.mean(list(before.values()))), min(before.values()), copied, before, replies.ppl_word)


@dataclass(frozen=True)
class Report:
    """What a teaching came to, on contexts that nothing learnt from."""

    goal: str
    lessons: int
    corrections: int
    """how many of the lessons were corrected rather than accepted"""
    before: Measured
    after: Measured
    seconds: float
    """of learning"""
    judge: str
    """what the new goal was judged by"""
    judge_recall: float | None
    judge_false_alarms: float | None
    judge_tested_on: str


def learn(
    model: LanguageModel,
    reader: Reader,
    judges: Mapping[str, Judge],
    goal: str,
    lessons: Sequence[Lesson],
    earlier: Sequence[Lesson],
    seed: int,
    steps: int,
    tick: Tick = ignore_ticks,
    stage: Callable[[str], object] = _unstaged,
    procedure: str = "rehearsed",
    lora: int = 0,
    last: Report | None = None,
) -> Report:
    """Teaches a model a goal, in place, and measures it before and after.

    What is learnt goes into a network of its own, `taught_network`, which says the lines of taught goals and no others: the
    published goals and the replies stay as they were, to the letter. It begins as the model's own and learns lines alone, in
    talks of steered-talk in which some lines gave way to lessons'. So a lesson is learnt at many moments, and what a goal
    brings about there depends on the goal, for the lines between are people's, with their own goals or none.

    Args:
        model: has `taught` goals already or none; has one more afterwards.
        reader: judges published goals.
        judges: of the new goal and of all taught before.
        goal: what is taught.
        lessons: for it; at least one.
        earlier: lessons of the goals taught before, rehearsed.
        seed: of everything.
        steps: optimiser steps.
        tick: told of steps done.
        stage: told what is being done, in a few words.
        procedure: one of `PROCEDURES`: ours, or the original's (`agents.original_learning`), which knows no steps.
        lora: rank of low-rank adapters, which alone learn, with the control tokens; 0 = the whole network does. Ours only.
        last: of the teaching just before, by the same seed, which measured the old goals already; None = they are measured.
    """
    from convogym.agents.original_learning import learn_as_the_original

    heads = {name: judge.head for name, judge in judges.items()}
    old = (*DEFAULT_GOALS.goals, *model.taught)
    stage("measuring before")
    if last is None:
        before = measure(model, reader, heads, goal, old, lessons, seed)
    else:
        known = {**last.after.goals, last.goal: last.after.new}
        [new] = following(model, reader, heads, [goal], held_out_contexts(HELD_OUT, seed), seed).values()
        before = Measured(new, float(np.mean(list(known.values()))), min(known.values()), 0.0, known, last.after.ppl_word)
    stage("learning")
    began = time.monotonic()
    if procedure == "original":
        learn_as_the_original(model, [_pair(lesson) for lesson in lessons], own_corpora("train")["steered_talk"], seed, tick)
    else:
        model.taught_network = _taught_network(model, lessons, earlier, seed, steps, tick, lora)
    model.taught = (*model.taught, goal)
    seconds = time.monotonic() - began
    judge = judges[goal]
    stage("measuring after")
    return Report(
        goal=goal,
        lessons=len(lessons),
        corrections=sum(lesson.is_correction for lesson in lessons),
        before=before,
        after=measure(model, reader, heads, goal, old, lessons, seed),
        seconds=seconds,
        judge=f"a head on persona-reader, fitted on {judge.fitted_on}",
        judge_recall=judge.recall,
        judge_false_alarms=judge.false_alarms,
        judge_tested_on=judge.tested_on,
    )


def _pair(lesson: Lesson) -> Pair:
    from convogym.agents.finetuning import Pair

    goals = (*lesson.goals, lesson.goal)
    return Pair(lesson.persona, lesson.history, goals, lesson.line, is_correction=True)


def _taught_network(
    model: LanguageModel, lessons: Sequence[Lesson], earlier: Sequence[Lesson], seed: int, steps: int, tick: Tick, lora: int
) -> GPT2:
    """A network that learnt lessons, and the earlier ones with them, from the one that spoke for taught goals until now."""
    from convogym.agents.finetuning import pair_example
    from convogym.agents.lora import add_adapters, merge_adapters
    from convogym.agents.optimisers import CONTROL_ONLY, GroupedAdamW
    from convogym.agents.training import NextToken, Trainer, TrainingConfig

    network = copy.deepcopy(model.network if model.taught_network is None else model.taught_network)
    if lora:
        add_adapters(network, lora, seed)
    talks, own = own_corpora("train")["steered_talk"], [pair_example(model, _pair(lesson)) for lesson in lessons]

    def made(number: int) -> list[Example]:
        rng = np.random.default_rng([seed, 3, number])
        chosen = [talks[int(i)] for i in rng.integers(len(talks), size=TALKS)]
        return [*own, *(example for talk in chosen for example in lesson_examples(model, talk, lessons, earlier, rng))]

    accumulate = 1 + (len({lesson.goal for lesson in earlier}) + 1) // 2  # the more there is to keep, the more is read
    config = TrainingConfig(steps=steps, batch_tokens=STEP_TOKENS, accumulate=accumulate, warmup=min(5, steps), seed=seed)
    optimiser = GroupedAdamW(network, RATE, model.tokenizer.control_ids, CONTROL_ONLY if lora else None)
    network.train()
    for _ in Trainer(NextToken(network), made, config, optimiser=optimiser).run():
        tick(1)
    if lora:
        merge_adapters(network)
    return network.eval()


def lesson_examples(
    model: LanguageModel, talk: Dialogue, lessons: Sequence[Lesson], earlier: Sequence[Lesson], rng: np.random.Generator
) -> list[Example]:
    """A talk of whose lines a share of `SHARE` gave way to lessons', as examples whose targets are the lines.

    Args:
        model: reads them; in a layout that has goals.
        talk: labelled.
        lessons: of the goal that is taught, at least one; they are put in twice as often as those of any other goal.
        earlier: of goals taught before.
        rng: draws.
    """
    before = [[lesson for lesson in earlier if lesson.goal == goal] for goal in dict.fromkeys(x.goal for x in earlier)]
    known = [lessons, lessons, *before]
    turns = []
    for turn in talk.turns:
        if rng.random() < SHARE:
            chosen_from = known[int(rng.integers(len(known)))]
            lesson = chosen_from[int(rng.integers(len(chosen_from)))]
            turn = replace(turn, line=lesson.line, goals=(lesson.goal,))
        turns.append(turn)
    limit = min(448, model.network.shape.n_positions)

    def chosen(goals: tuple[str, ...]) -> str:
        return goals[int(rng.integers(len(goals)))]

    return line_examples(model.layout, model.tokenizer, replace(talk, turns=tuple(turns)), limit, chosen)


def told(report: Report) -> dict[str, Any]:
    """The report as plain values."""
    return asdict(report)

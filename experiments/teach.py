"""The terminal's front end to teaching: shows moments and proposed lines, takes corrections, reports, keeps or undoes.

What is asked and learnt is in `teaching`, where it is kept in `taught_set`. Every answer is on disk before the next question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from convogym.errors import InputError
from convogym.experiments import teaching
from convogym.experiments.chat import Read, Say
from convogym.experiments.session import check_typed
from convogym.experiments.taught_set import Lesson, TaughtSet
from convogym.text import printable

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel
    from convogym.agents.reader import Reader

FEWEST, MOST = 5, 20  # answers to learn a goal from
SHOWN = 3  # utterances of a moment that are shown at once


class Left(Exception):
    """The person left before there were enough answers."""


def ask(
    questions: Iterable[teaching.Question],
    count: int,
    goal: str,
    known: Sequence[Lesson],
    keep: Callable[[Lesson], None],
    read: Read,
    say: Say,
) -> list[Lesson]:
    """Asks for lines, one moment after the other.

    Args:
        questions: in the order of asking; one that is passed over is replaced by a later one.
        count: how many answers are wanted.
        goal: what is taught.
        known: answers of an earlier time; what they answer is not asked again.
        keep: puts an answer on disk.
        read: gets the person's answers; raises `EOFError` when there are no more.
        say: shows.

    Returns:
        At most `count` answers, the known ones among them.
    """
    answers = {(lesson.history, lesson.proposed): lesson for lesson in known}
    lessons: list[Lesson] = []
    say("Enter accepts a line; type a better one to correct it; + passes over it; ? shows the whole talk before it.")
    for question in questions:
        if len(lessons) == count:
            break
        given = answers.get((question.context.history, question.proposed))
        if given is None:
            try:
                given = _answer(f"{len(lessons) + 1}/{count}", question, goal, read, say)
            except EOFError:
                break
            if given is None:
                continue
            keep(given)
        lessons.append(given)
    return lessons


def _answer(place: str, question: teaching.Question, goal: str, read: Read, say: Say) -> Lesson | None:
    """One answer; None = passed over."""
    history = question.context.history
    say(f"[{place}] {goal}")
    _show(history[-SHOWN:], len(history), say)
    say(f"a? {printable(question.proposed)}")
    while True:
        answer = read("line> ").strip()
        if answer == "?":
            _show(history, len(history), say)
        elif answer == "+":
            return None
        elif not answer:
            return question.answered(goal, None)
        else:
            try:
                check_typed(answer, "a line")
            except InputError as error:
                say(f"{printable(str(error))} Type another line.")
            else:
                return question.answered(goal, answer)


def _show(utterances: tuple[str, ...], end: int, say: Say) -> None:
    """Shows utterances that end at the `end`-th of the talk; the goal speaker's stand at even places."""
    if not utterances:
        say("(the talk begins here)")
    for place, text in enumerate(utterances, end - len(utterances)):
        say(f"{'b' if place % 2 else 'a'}: {printable(text)}")


def teach(
    goal: str,
    taught: TaughtSet,
    model: LanguageModel,
    reader: Reader,
    read: Read,
    say: Say,
    *,
    count: int,
    seed: int,
    steps: int,
    bar: Callable[[int], AbstractContextManager[Any]],
) -> tuple[teaching.Report, bool]:
    """Asks, learns, reports, and keeps the new version if the person wants it.

    Args:
        goal: what is taught; not a goal of the model's yet.
        taught: where versions and answers are kept.
        model: the version in use; changed in place.
        reader: judges.
        read: gets the person's answers; at its end the new version is not kept.
        say: shows.
        count: how many answers to ask for, `FEWEST`..`MOST`.
        seed: of everything.
        steps: optimiser steps.
        bar: makes the progress bar of so many steps.

    Returns:
        What the teaching came to, and whether it was kept.

    Raises:
        InputError: the goal or the count cannot be used.
        Left: the person left before `FEWEST` answers; those given are kept.
    """
    taught.check_new(goal)
    if not FEWEST <= count <= MOST:
        raise InputError(f"the number of answers must be in {FEWEST}..{MOST}, got {count}.")
    asked = teaching.questions(model, goal, teaching.teaching_contexts(seed), teaching.POOL, seed)
    lessons = ask([question for _, question in asked], count, goal, taught.lessons(goal), taught.add, read, say)
    if len(lessons) < FEWEST:
        raise Left(f"{len(lessons)} of at least {FEWEST} answers are kept in {taught.folder}; run the command again to go on.")
    say(f"learning from {len(lessons)} lines ...")
    judges = {name: teaching.judge_of(reader, name, taught.lessons(name)) for name in taught.goals}
    judges[goal] = teaching.judge_of(reader, goal, lessons)
    earlier = taught.lessons(*taught.goals) if taught.goals else []
    with bar(steps) as progress:
        report = teaching.learn(model, reader, judges, goal, lessons, earlier, seed, steps, tick=progress.update)
    for line in summary(report):
        say(line)
    kept = _wants_it(read, say)
    if kept:
        version = taught.keep(model, goal, teaching.told(report))
        say(f"kept as version {version.number}: {taught.model}")
    return report, kept


def _wants_it(read: Read, say: Say) -> bool:
    while True:
        try:
            answer = read("keep it? y or n> ").strip().lower()
        except EOFError:
            say("not kept.")
            return False
        if answer in ("y", "yes", "n", "no"):
            return answer.startswith("y")
        say("type y or n.")


def summary(report: teaching.Report) -> list[str]:
    """What a teaching came to, for people."""
    before, after = report.before, report.after
    recall, alarms = (
        "unknown" if value is None else f"{value:.0%}" for value in (report.judge_recall, report.judge_false_alarms)
    )
    return [
        f"{report.goal!r} is followed in {after.new:.0%} of {teaching.HELD_OUT} held-out moments, {before.new:.0%} before.",
        f"goals known before: {after.old:.1%}, {before.old:.1%} before; worst {after.worst:.0%}, {before.worst:.0%} before.",
        f"perplexity of replies a word: {after.ppl_word:.1f}, {before.ppl_word:.1f} before.",
        f"learning took {report.seconds:.0f} s.",
        f"judged by {report.judge}; it recognises {recall} of lines with the goal and takes {alarms} of others for such, on "
        f"{report.judge_tested_on}.",
    ]

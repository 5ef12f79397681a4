"""The terminal's front end to teaching: shows moments and proposed lines, takes corrections, reports, keeps or undoes.

What is asked, learnt and kept is a `Course`'s business. Every answer is on disk before the next question.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from convogym.errors import InputError
from convogym.experiments import teaching
from convogym.experiments.chat import Read, Say
from convogym.experiments.course import FEWEST, Asking, Course
from convogym.text import printable

SHOWN = 3  # utterances of a moment that are shown at once


class Left(Exception):
    """The person left before there were enough answers."""


def ask(asking: Asking, read: Read, say: Say) -> None:
    """Asks for lines, one moment after the other, until there are enough or the person leaves.

    Args:
        asking: has the questions, and takes the answers.
        read: gets the person's answers; raises `EOFError` when there are no more.
        say: shows.
    """
    say("Enter accepts a line; type a better one to correct it; + passes over it; ? shows the whole talk before it.")
    with contextlib.suppress(EOFError):
        while asking.question is not None:
            _ask_one(asking, asking.question, read, say)


def _ask_one(asking: Asking, question: teaching.Question, read: Read, say: Say) -> None:
    history = question.context.history
    say(f"[{len(asking.lessons) + 1}/{asking.count}] {asking.goal}")
    _show(history[-SHOWN:], len(history), say)
    say(f"a? {printable(question.proposed)}")
    while asking.question is question:
        answer = read("line> ").strip()
        if answer == "?":
            _show(history, len(history), say)
        elif answer == "+":
            asking.pass_over()
        else:
            try:
                asking.answer(answer or None)
            except InputError as error:
                say(f"{printable(str(error))} Type another line.")


def _show(utterances: tuple[str, ...], end: int, say: Say) -> None:
    """Shows utterances that end at the `end`-th of the talk; the goal speaker's stand at even places."""
    if not utterances:
        say("(the talk begins here)")
    for place, text in enumerate(utterances, end - len(utterances)):
        say(f"{'b' if place % 2 else 'a'}: {printable(text)}")


def teach(
    course: Course, read: Read, say: Say, *, steps: int, bar: Callable[[int], AbstractContextManager[Any]]
) -> tuple[teaching.Report, bool]:
    """Asks, learns, reports, and keeps the new version if the person wants it.

    Args:
        course: what is taught.
        read: gets the person's answers; at its end the new version is not kept.
        say: shows.
        steps: optimiser steps.
        bar: makes the progress bar of so many steps.

    Returns:
        What the teaching came to, and whether it was kept.

    Raises:
        Left: the person left before `FEWEST` answers; those given are kept.
    """
    ask(course.asking, read, say)
    lessons = len(course.asking.lessons)
    if lessons < FEWEST:
        raise Left(f"{lessons} of at least {FEWEST} answers are kept; run the command again to go on.")
    say(f"learning from {lessons} lines ...")
    with bar(steps) as progress:
        report = course.learn(steps, progress.update, lambda what: None)
    for line in summary(report):
        say(line)
    kept = _wants_it(read, say)
    if kept:
        version, _ = course.keep()
        say(f"kept as version {version.number}.")
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

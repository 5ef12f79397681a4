"""Teaching one goal, from the first question to keeping what was learnt: the one way, whoever asks, terminal or web.

Knows lessons, versions and learning; knows nothing of keyboards, pages or threads. An answer is on disk when `answer` returns,
so a course that was left, or killed, goes on where it stopped when it is begun again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from convogym.errors import InputError
from convogym.experiments import teaching
from convogym.experiments.session import check_typed
from convogym.experiments.taught_set import Lesson, TaughtSet, Version

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel
    from convogym.agents.reader import Reader

FEWEST, MOST = 5, 20  # answers to learn a goal from


class Asking:
    """Which question comes next, and what was answered."""

    def __init__(
        self,
        questions: Iterable[teaching.Question],
        count: int,
        goal: str,
        known: Sequence[Lesson],
        keep: Callable[[Lesson], None],
        person: str | None = None,
    ) -> None:
        """Begins to ask.

        Args:
            questions: in the order of asking; one that is passed over is replaced by a later one.
            count: how many answers are wanted.
            goal: what is taught.
            known: answers of an earlier time; what they answer is not asked again.
            keep: puts an answer on disk.
            person: who answers, a pseudonym; None = whoever sits at the terminal.
        """
        self._questions, self._known = iter(questions), {(each.history, each.proposed): each for each in known}
        self._keep, self._person = keep, person
        self.goal, self.count = goal, count
        self.lessons: list[Lesson] = []
        """at most `count` answers, the known ones among them"""
        self.question: teaching.Question | None = None
        """what is asked now; None = there are answers enough, or no more questions"""
        self.number = 0
        """the question's, which grows by one with every question asked, passed over or not"""
        self._next()

    def answer(self, line: str | None) -> None:
        """Takes the person's line for the question, or with None the model's.

        Raises:
            InputError: nothing is asked, or the text cannot be a line.
            OSError: it could not be written; the question stands.
        """
        lesson = replace(self._asked().answered(self.goal, line), person=self._person)
        check_typed(lesson.line, "a line")
        self._keep(lesson)
        self.lessons.append(lesson)
        self._next()

    def pass_over(self) -> None:
        """Goes on to another question; `InputError` where nothing is asked."""
        self._asked()
        self._next()

    def _asked(self) -> teaching.Question:
        if self.question is None:
            raise InputError("there are answers enough, or no more questions; nothing is asked.")
        return self.question

    def _next(self) -> None:
        self.question = None
        for question in self._questions:
            if len(self.lessons) == self.count:
                return
            known = self._known.get((question.context.history, question.proposed))
            if known is None:
                self.question, self.number = question, self.number + 1
                return
            self.lessons.append(known)


class Course:
    """One goal taught to one model."""

    def __init__(
        self,
        goal: str,
        taught: TaughtSet,
        model: LanguageModel,
        reader: Reader,
        *,
        count: int,
        seed: int,
        person: str | None = None,
        lora: int = 0,
        order: str = "random",
    ) -> None:
        """Chooses what to ask, which takes seconds.

        Args:
            goal: what is taught; not a goal of the model's yet.
            taught: where versions and answers are kept.
            model: the version in use, for this course alone: learning changes it.
            reader: judges.
            count: how many answers to ask for, `FEWEST`..`MOST`.
            seed: of everything.
            person: whose answers they are, see `Asking`.
            lora: rank of low-rank adapters, see `teaching.learn`.
            order: in which moments are asked, see `teaching.questions`.

        Raises:
            InputError: the goal, the count or the order cannot be used.
        """
        taught.check_new(goal)
        if not FEWEST <= count <= MOST:
            raise InputError(f"the number of answers must be in {FEWEST}..{MOST}, got {count}.")
        self._taught, self._model, self._reader, self._seed = taught, model, reader, seed
        self._parent, self._lora = taught.current, lora
        known = [lesson for lesson in taught.lessons(goal) if lesson.person == person]
        asked = teaching.questions(model, goal, teaching.teaching_contexts(seed), teaching.POOL, seed, order)
        self.asking = Asking([question for _, question in asked], count, goal, known, taught.add, person)
        self.report: teaching.Report | None = None
        """what learning came to; None before"""

    @property
    def goal(self) -> str:
        """What is taught."""
        return self.asking.goal

    def check_enough(self) -> None:
        """Raises `InputError` where there are fewer than `FEWEST` answers to learn from."""
        if len(self.asking.lessons) < FEWEST:
            raise InputError(f"a goal is learnt from at least {FEWEST} answers, there are {len(self.asking.lessons)}.")

    def learn(self, steps: int, tick: teaching.Tick, stage: Callable[[str], object]) -> teaching.Report:
        """Learns from the answers, and measures before and after; a minute or so.

        Args:
            steps: optimiser steps.
            tick: told of steps done.
            stage: told what is being done, in a few words.

        Raises:
            InputError: there are too few answers, or it has learnt already.
            TrainingError: a loss is not a number.
        """
        self.check_enough()
        if self.report is not None:
            raise InputError("this course has learnt already; keep what it learnt, or begin another.")
        taught, lessons = self._taught, list(self.asking.lessons)
        stage("making ready to judge")
        judges = {name: teaching.judge_of(self._reader, name, taught.lessons(name)) for name in self._model.taught}
        judges[self.goal] = teaching.judge_of(self._reader, self.goal, lessons)
        earlier = taught.lessons(*self._model.taught) if self._model.taught else []
        self.report = teaching.learn(
            self._model,
            self._reader,
            judges,
            self.goal,
            lessons,
            earlier,
            self._seed,
            steps,
            tick=tick,
            stage=stage,
            lora=self._lora,
        )
        return self.report

    def keep(self) -> tuple[Version, LanguageModel]:
        """Makes what was learnt the next version, the one in use.

        Returns:
            The version and its model.

        Raises:
            InputError: it has not learnt, or another version came into use meanwhile, on which this one does not build.
            OSError: it could not be written; the version in use stays.
        """
        if self.report is None:
            raise InputError("there is nothing to keep before the goal was learnt.")
        if self._taught.current != self._parent:
            raise InputError("another version came into use meanwhile; begin again, your answers are kept.")
        return self._taught.keep(self._model, self.goal, teaching.told(self.report)), self._model

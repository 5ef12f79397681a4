"""Teaching on a server: everybody's courses, learning in the background, and the versions. Knows courses; knows no HTTP.

Everybody who may come in may teach, and the model is everybody's: what one keeps speaks in all talks begun from then on. One
course learns at a time. All methods may be called from many threads.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from convogym.errors import InputError
from convogym.experiments import teaching
from convogym.experiments.console import as_json_value
from convogym.experiments.course import FEWEST, Course
from convogym.experiments.taught_set import TaughtSet

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel
    from convogym.agents.reader import Reader


@dataclass
class _Desk:
    """A person's course, and how far it is."""

    course: Course
    state: str = "asking"
    """asking, waiting (for another's to be learnt), learning, learnt, failed"""
    stage: str = ""
    done: int = 0
    error: str = ""


class School:
    """Courses of many people about one taught set."""

    def __init__(
        self,
        taught: TaughtSet,
        load: Callable[[str], LanguageModel],
        reader: Callable[[], Reader],
        use: Callable[[LanguageModel], None],
        seed: int,
    ) -> None:
        """Opens, with nobody there.

        Args:
            taught: the versions and answers.
            load: loads a model by `TaughtSet.model`.
            reader: loads the judge.
            use: called with the model that is to speak, when a version is kept or restored.
            seed: of everything.
        """
        self._taught, self._load, self._reader, self._use, self._seed = taught, load, reader, use, seed
        self._desks: dict[str, _Desk] = {}
        self._lock = threading.RLock()  # of the taught set and the desks
        self._learning = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._is_closing = False

    def view(self, person: str) -> dict[str, Any]:
        """How a person's course stands, and which versions there are."""
        with self._lock:
            desk = self._desks.get(person)
            return {
                "offered": True,
                "in_use": self._taught.current,
                "versions": [
                    {"version": each.number, "goal": each.goal, "from": each.parent, "created": each.created}
                    for each in self._taught.versions
                ],
                "course": None if desk is None else _view(desk),
            }

    def begin(self, person: str, goal: str, count: int) -> dict[str, Any]:
        """Begins a course, in place of the one the person had; chooses its questions.

        Raises:
            InputError: the goal or the count cannot be used, or the person's last course is being learnt.
        """
        self._check_idle(person)
        with self._lock:
            self._taught.check_new(goal)
            version = self._taught.current
            model = self._load(self._taught.model)
        course = Course(goal, self._taught, model, self._reader(), count=count, seed=self._seed, person=person)
        with self._lock:
            if self._taught.current != version:
                raise InputError("another version came into use meanwhile; begin again.")
            self._check_idle(person)
            self._desks[person] = _Desk(course)
        return self.view(person)

    def answer(self, person: str, number: int, line: str | None) -> dict[str, Any]:
        """Takes the line for question `number`, None = the model's own; raises `InputError` where that is not asked now."""
        with self._lock:
            self._asked(person, number).course.asking.answer(line)
        return self.view(person)

    def pass_over(self, person: str, number: int) -> dict[str, Any]:
        """Goes on to another question; raises `InputError` where question `number` is not asked now."""
        with self._lock:
            self._asked(person, number).course.asking.pass_over()
        return self.view(person)

    def learn(self, person: str) -> dict[str, Any]:
        """Lets a person's course learn, in the background.

        Raises:
            InputError: there are too few answers, or it is learning or has learnt.
        """
        with self._lock:
            desk = self._desk(person)
            if desk.state not in ("asking", "failed"):
                raise InputError(f"this course is {desk.state} already.")
            desk.course.check_enough()
            desk.state, desk.done = "waiting", 0
            thread = threading.Thread(target=self._learn, args=(desk,))
            self._threads = [*(each for each in self._threads if each.is_alive()), thread]
        thread.start()
        return self.view(person)

    def keep(self, person: str) -> dict[str, Any]:
        """Makes what a person's course learnt the version in use, in all talks that begin from now on.

        Raises:
            InputError: it has not learnt, or another version came into use meanwhile.
        """
        with self._lock:
            desk = self._desk(person)
            if desk.state != "learnt":
                raise InputError("there is nothing to keep before the goal was learnt.")
            self._use(desk.course.keep()[1])
            del self._desks[person]
        return self.view(person)

    def leave(self, person: str) -> dict[str, Any]:
        """Ends a person's course without keeping what it learnt; the answers stay on disk."""
        self._check_idle(person)
        with self._lock:
            self._desks.pop(person, None)
        return self.view(person)

    def restore(self, person: str, version: int) -> dict[str, Any]:
        """Puts a version in use, 0 = the untaught model.

        Raises:
            InputError: there is no such version.
            CheckpointError: it cannot be loaded; the version in use stays.
        """
        with self._lock:
            before = self._taught.current
            self._taught.restore(version)
            try:
                self._use(self._load(self._taught.model))
            except (InputError, OSError):
                self._taught.restore(before)
                raise
        return self.view(person)

    def data(self, person: str) -> Iterator[str]:
        """A person's answers, one JSON object a line."""
        with self._lock:
            lessons = self._taught.lessons()
        for lesson in lessons:
            if lesson.person == person:
                yield json.dumps({"lesson": asdict(lesson)}) + "\n"

    def forget(self, person: str) -> int:
        """Deletes a person's course and answers, and tells how many answers they were; what was kept stays learnt."""
        with self._lock:
            self._desks.pop(person, None)  # one that is learning ends unseen
            return self._taught.forget(person)

    def close(self) -> None:
        """Breaks learning off, and waits until it has ended: at its next step, or when what is being measured is."""
        self._is_closing = True
        for thread in self._threads:
            thread.join()

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _desk(self, person: str) -> _Desk:
        if person not in self._desks:
            raise InputError("you are teaching nothing; begin a course.")
        return self._desks[person]

    def _asked(self, person: str, number: int) -> _Desk:
        desk = self._desk(person)
        if desk.state not in ("asking", "failed") or desk.course.asking.number != number:
            raise InputError(f"question {number} is not asked now; look at the course again.")
        return desk

    def _check_idle(self, person: str) -> None:
        with self._lock:
            if person in self._desks and self._desks[person].state in ("waiting", "learning"):
                raise InputError("your course is being learnt; wait until it is done.")

    def _learn(self, desk: _Desk) -> None:
        def tick(done: int) -> None:
            desk.done += done
            if self._is_closing:
                raise InputError("the server was stopped; the answers are kept.")

        def stage(what: str) -> None:
            desk.stage = what
            tick(0)

        with self._learning:
            desk.state = "learning"
            try:
                desk.course.learn(teaching.STEPS, tick, stage)
            except (InputError, OSError, MemoryError) as error:
                desk.state, desk.error = "failed", str(error)
            except BaseException:
                desk.state, desk.error = "failed", "learning failed; the answers are kept."
                raise
            else:
                desk.state = "learnt"


def _view(desk: _Desk) -> dict[str, Any]:
    asking = desk.course.asking
    question = asking.question
    return {
        "goal": asking.goal,
        "state": desk.state,
        "stage": desk.stage,
        "done": desk.done,
        "steps": teaching.STEPS,
        "error": desk.error,
        "answers": len(asking.lessons),
        "wanted": asking.count,
        "fewest": FEWEST,
        "question": None
        if question is None
        else {"number": asking.number, "history": list(question.context.history), "proposed": question.proposed},
        "report": as_json_value(desk.course.report),
    }

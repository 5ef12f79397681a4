"""What a model was taught: a folder with every version of it, the lessons each was taught by, and which one is in use.

`<folder>/taught.json` names the versions, `<folder>/v1`, `v2`, ... are model folders, `<folder>/lessons.jsonl` has every
answer a person gave, in the order given, on disk as soon as it was given. Version 0 is the untaught model. Knows files; knows
nothing of teaching.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convogym.dialogue import MAX_UTTERANCE_CHARS, check_text
from convogym.episodes import utc_now
from convogym.errors import CheckpointError, InputError
from convogym.goals import DEFAULT_GOALS

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel

FORMAT = 1  # of taught.json


@dataclass(frozen=True)
class Lesson:
    """A moment in a talk, what the model would have said for the goal, and what a person says it should say."""

    goal: str
    """what the line is to do"""
    persona: tuple[str, ...]
    """facts of the goal speaker; () = none known"""
    history: tuple[str, ...]
    """what was said before, goal speaker first; even length"""
    goals: tuple[str | None, ...]
    """goal of every line in it"""
    proposed: str
    """the model's own line"""
    line: str
    """the person's; equal to `proposed` where it was accepted"""
    person: str | None = None
    """the person's pseudonym; None = whoever sat at the terminal"""

    def __post_init__(self) -> None:
        """Checks that there is a line, and a goal for every line before it."""
        check_text(self.line, "a line", MAX_UTTERANCE_CHARS)
        if len(self.history) != 2 * len(self.goals):
            raise InputError(f"`goals` must have one entry a line, got {len(self.goals)} for {len(self.history)} utterances.")

    @property
    def is_correction(self) -> bool:
        """Whether the person changed the line."""
        return self.line != self.proposed

    @property
    def before(self) -> str:
        """What was said last, "" at the opening of a talk."""
        return self.history[-1] if self.history else ""


@dataclass(frozen=True)
class Version:
    """One state of the model."""

    number: int
    """1, 2, ...; its folder is `v<number>`"""
    goal: str
    """what was taught last"""
    parent: int
    """the version it was taught from; 0 = the untaught model"""
    created: str
    """when: ISO 8601 in UTC"""
    report: Mapping[str, Any]
    """what the teaching came to"""


class TaughtSet:
    """The versions in a folder."""

    def __init__(self, folder: Path, base: str) -> None:
        """Opens a folder, or begins one.

        Args:
            folder: made if it is missing.
            base: the untaught model: a name, folder or hub id. An existing folder must have been begun with the same.

        Raises:
            CheckpointError: what is there is no taught set, is damaged, or of a newer format.
            InputError: it was begun with another model.
            OSError: the folder cannot be written.
        """
        self.folder = folder
        self.base, self.current, self.versions = base, 0, list[Version]()
        path = folder / "taught.json"
        if path.is_file():
            self._read(path)
            if self.base != base:
                raise InputError(
                    f"{folder} holds what {self.base!r} was taught, got the model {base!r}; choose another folder."
                )
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise CheckpointError(f"{folder}: expected a folder of taught versions, or a new one; found something else.")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            self._write()

    @property
    def model(self) -> str:
        """What the version in use is loaded by."""
        return str(self.folder / f"v{self.current}") if self.current else self.base

    @property
    def goals(self) -> tuple[str, ...]:
        """What the version in use was taught, in the order of the codes."""
        return tuple(dict.fromkeys(version.goal for version in self.line_of(self.current)))

    def line_of(self, number: int) -> list[Version]:
        """A version and those it was taught from, the oldest first; [] for version 0."""
        by_number = {version.number: version for version in self.versions}
        line: list[Version] = []
        while number:
            line.append(by_number[number])
            number = line[-1].parent
        return line[::-1]

    def check_new(self, goal: str) -> None:
        """Refuses what cannot become a goal of the version in use: no goal's text, or one that it has already."""
        for known in DEFAULT_GOALS.extended(*self.goals).goals:
            if goal.strip().lower().rstrip(".") == known.lower().rstrip("."):
                raise InputError(f"{known!r} is a goal already; undo with --restore, or teach another.")
        DEFAULT_GOALS.extended(*self.goals, goal)

    def lessons(self, *goals: str) -> list[Lesson]:
        """The answers given for some goals, or for all; a line that a kill cut off is left out."""
        path = self.folder / "lessons.jsonl"
        out: list[Lesson] = []
        if not path.is_file():
            return out
        rows = path.read_text("utf-8").split("\n")
        for number, row in enumerate(rows, 1):
            if not row.strip():
                continue
            try:
                values = json.loads(row)
                for name in ("persona", "history", "goals"):
                    values[name] = tuple(values[name])
                lesson = Lesson(**values)
            except (ValueError, TypeError, KeyError) as error:
                if number == len(rows):
                    break
                raise CheckpointError(f"{path}:{number}: expected a lesson, {error}.") from error
            if not goals or lesson.goal in goals:
                out.append(lesson)
        return out

    def add(self, lesson: Lesson) -> None:
        """Writes an answer; it is on disk when this returns."""
        path = self.folder / "lessons.jsonl"
        whole = not path.is_file() or path.read_bytes()[-1:] in (b"", b"\n")
        with path.open("a", encoding="utf-8") as file:
            file.write(("" if whole else "\n") + json.dumps(asdict(lesson)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def forget(self, person: str) -> int:
        """Deletes the answers of a person, and tells how many they were; versions that learnt from them stay."""
        lessons = self.lessons()
        kept = [lesson for lesson in lessons if lesson.person != person]
        if len(kept) < len(lessons):
            _write_whole(self.folder / "lessons.jsonl", "".join(json.dumps(asdict(lesson)) + "\n" for lesson in kept))
        return len(lessons) - len(kept)

    def keep(self, model: LanguageModel, goal: str, report: Mapping[str, Any]) -> Version:
        """Makes a model that learnt a goal the next version, and the one in use.

        Raises:
            OSError: it could not be written; the version in use stays.
        """
        import torch

        number = max((version.number for version in self.versions), default=0) + 1
        model.taught = (*self.goals, goal)
        model.save(self.folder / f"v{number}", torch.float16, {"tuned_from": self.model})
        version = Version(number, goal, self.current, utc_now(), report)
        self.versions.append(version)
        self.current = number
        self._write()
        return version

    def restore(self, number: int) -> None:
        """Puts an earlier (or later) version in use; 0 = the untaught model.

        Raises:
            InputError: there is no such version.
        """
        known = [0, *(version.number for version in self.versions)]
        if number not in known:
            raise InputError(f"there is no version {number} in {self.folder}; there are {', '.join(map(str, known))}.")
        self.current = number
        self._write()

    def _read(self, path: Path) -> None:
        try:
            values = json.loads(path.read_text("utf-8"))
            if values["format"] != FORMAT:
                raise CheckpointError(f"{path}: written in format {values['format']!r}, this version reads {FORMAT}.")
            self.base, self.current = str(values["base"]), int(values["current"])
            self.versions = [Version(**version) for version in values["versions"]]
            self.line_of(self.current)
        except CheckpointError:
            raise
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{path}: expected a taught set ({type(error).__name__}: {error}).") from error

    def _write(self) -> None:
        values = {
            "format": FORMAT,
            "base": self.base,
            "current": self.current,
            "versions": [asdict(version) for version in self.versions],
        }
        _write_whole(self.folder / "taught.json", json.dumps(values, indent=2) + "\n")


def _write_whole(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    scratch = path.with_name(f".{path.name}.partial")
    with scratch.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(scratch, path)

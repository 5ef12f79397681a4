"""The errors convogym raises for input it cannot use, all of them `ValueError`s; knows nothing else of the project.

The command line prints their message and exits with code 2. Messages say what was expected, what came, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class InputError(ValueError):
    """Something a caller handed in cannot be used."""


class UnknownNameError(InputError):
    """A name (model, policy, reward, goal, ...) that nothing here answers to."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        """Builds the message, with the nearest known names first.

        Args:
            kind: what the name should name, e.g. `"policy"`.
            name: the name that came.
            known: every name that would have been accepted.
        """
        names = list(known)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "there is nothing near it."
        super().__init__(f"unknown {kind} {name!r}: {hint} Known: {', '.join(names)}.")


class CorpusError(InputError):
    """A corpus file that does not say what its format promises."""

    def __init__(self, path: Path | str, line: int | None, expected: str, got: str) -> None:
        """Builds the message.

        Args:
            path: the file.
            line: its 1-based line number, None where the whole file is meant.
            expected: what the format wants there.
            got: what stood there (cut to 120 characters).
        """
        where = f"{path}:{line}" if line is not None else f"{path}"
        super().__init__(f"{where}: expected {expected}, got {got[:120]!r}.")


class TrainingError(InputError):
    """A training run that cannot go on: its numbers stopped being numbers, mostly for too high a rate."""


class CheckpointError(InputError):
    """A model or policy folder that is missing, damaged, or of a foreign kind."""

"""Reward terms that come from people: `manual`, a number typed at each turn, and `learned`, fitted to their preferences."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from convogym.errors import CheckpointError, InputError
from convogym.text import printable

if TYPE_CHECKING:
    from convogym.envs.rewards import Facts, Scene

REWARD_FILE = "reward.json"
FORMAT = 1
MAX_BYTES = 10_000_000


def ask_on_terminal(scene: Scene) -> float:
    """Shows a turn on standard error and reads its number from standard input, again after what is no number.

    Raises:
        InputError: the input ended.
    """
    print(f"> {printable(scene.line)}\n< {printable(scene.reply)}", file=sys.stderr)
    while True:
        print("reward> ", end="", file=sys.stderr, flush=True)
        said = sys.stdin.readline()
        if not said:
            raise InputError("`manual` needs a person who types a number after every turn; the input ended.")
        try:
            value = float(said)
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            return value
        print("type a number, such as 1 or -0.5.", file=sys.stderr)


class Manual:
    """A human's number for each turn, any finite one; the original's `ManualReward`."""

    name = "manual"

    def __init__(self, ask: Callable[[Scene], float] = ask_on_terminal) -> None:
        """Takes who is asked."""
        self._ask = ask

    def begin(self, persona: Facts, rng: np.random.Generator) -> None:
        """Remembers nothing."""

    def score(self, scenes: Sequence[Scene], memories: Sequence[Any]) -> list[float]:
        """Asks for one turn after the other."""
        return [float(self._ask(scene)) for scene in scenes]


class TurnReader(Protocol):
    """Turns a line and its reply into numbers that say what they are about."""

    def features(self, turns: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        """Shape (len(turns), F), entries of about unit size."""


@dataclass(frozen=True)
class PreferenceHead:
    """A linear score of turns, fitted so that `P(a is preferred to b) = 1 / (1 + exp(score(b) - score(a)))`."""

    weights: tuple[float, ...]
    """F of them, one a feature"""
    mean: tuple[float, ...]
    """F of them: taken off the features first, so that a usual turn is worth 0"""
    reader: str
    """name of the reader that gives the features"""
    fitted: Mapping[str, Any]
    """how it was fitted, in JSON values"""

    def __post_init__(self) -> None:
        """Checks sizes and numbers."""
        if not self.weights or len(self.weights) != len(self.mean):
            raise InputError(f"`weights` and `mean` must be alike in number, got {len(self.weights)} and {len(self.mean)}.")
        if not np.isfinite([*self.weights, *self.mean]).all():
            raise InputError("`weights` and `mean` must be finite.")

    def scores(self, features: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The score of each row of features (n, F), shape (n,)."""
        return np.asarray((features - np.array(self.mean)) @ np.array(self.weights), dtype=np.float64)

    def save(self, folder: Path) -> Path:
        """Writes `reward.json` to a folder, whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{REWARD_FILE}.draft"
        draft.write_text(json.dumps({"format": FORMAT, "kind": "convogym reward", **asdict(self)}) + "\n", "utf-8")
        return draft.replace(folder / REWARD_FILE)

    @staticmethod
    def load(folder: Path) -> PreferenceHead:
        """Reads what `save` wrote.

        Raises:
            CheckpointError: there is nothing, or something else, or it is damaged.
        """
        path = folder / REWARD_FILE
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError("it is too large")
            said = json.loads(path.read_text("utf-8"))
            if (said["kind"], said["format"]) != ("convogym reward", FORMAT):
                raise ValueError(f"kind {said['kind']!r}, format {said['format']!r}")
            weights, mean = (tuple(float(number) for number in said[name]) for name in ("weights", "mean"))
            return PreferenceHead(weights, mean, str(said["reader"]), dict(said["fitted"]))
        except FileNotFoundError:
            raise CheckpointError(
                f"{folder}: expected a folder written by `convogym fit-reward`, found no {REWARD_FILE}."
            ) from None
        except (OSError, KeyError, TypeError, ValueError, RecursionError) as problem:
            raise CheckpointError(
                f"{path}: expected a reward of format {FORMAT}, got something else ({problem})."
            ) from problem


class Learned:
    """The score that a head fitted to people's preferences gives the line and the reply; 0 for a usual turn."""

    name = "learned"

    def __init__(self, head: PreferenceHead, reader: TurnReader) -> None:
        """Takes the head and the reader it was fitted on."""
        self._head, self._reader = head, reader

    def begin(self, persona: Facts, rng: np.random.Generator) -> None:
        """Remembers nothing."""

    def score(self, scenes: Sequence[Scene], memories: Sequence[Any]) -> list[float]:
        """Reads all turns in one call.

        Raises:
            InputError: the reader gives another number of features than the head was fitted on.
        """
        features = self._reader.features([(scene.line, scene.reply) for scene in scenes])
        if features.shape[1] != len(self._head.weights):
            raise InputError(
                f"`learned` was fitted on {len(self._head.weights)} features of {self._head.reader}, this reader gives "
                f"{features.shape[1]}; fit the reward again."
            )
        return [float(value) for value in self._head.scores(features)]

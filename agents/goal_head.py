"""Judges one goal that persona-reader was not trained on: a small head fitted on top of its frozen layers.

Knows labelled lines; knows nothing of where they come from. How far such a head is to be trusted depends on its lines, so
`quality` says what it is worth on others.

Letters: N lines, F features (three times the reader's hidden size).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from convogym.agents.reader import FOLLOWS, Reader
from convogym.errors import InputError

DECAY = 1.0  # of the squared weights against the sum of the lines' losses; features have unit variance

Line = tuple[str, str]
"""what was said before ("" where nothing was), and the line itself"""


@dataclass(frozen=True)
class Quality:
    """What a head is worth on lines it was not fitted on; None where there is nothing to tell it from."""

    recall: float | None
    """share of the lines that carry out the goal that it accepts"""
    false_alarms: float | None
    """share of the other lines that it accepts"""
    positives: int
    """how many lines carried out the goal"""
    negatives: int
    """how many did not"""


class GoalHead:
    """Says how likely lines carry out one goal."""

    def __init__(
        self,
        reader: Reader,
        mean: npt.NDArray[np.float64],
        scale: npt.NDArray[np.float64],
        weight: npt.NDArray[np.float64],
        bias: float,
    ) -> None:
        """Takes a fitted logistic regression on `(features - mean) / scale`, each of shape (F,)."""
        self._reader, self._mean, self._scale, self._weight, self._bias = reader, mean, scale, weight, bias

    def probabilities(self, lines: Sequence[Line]) -> npt.NDArray[np.float64]:
        """The chance of each line, shape (N,), in 0..1."""
        if not lines:
            return np.zeros(0)
        features = self._reader.pooled([before for before, _ in lines], [text for _, text in lines])
        logits = ((features - self._mean) / self._scale) @ self._weight + self._bias
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))

    def quality(self, positives: Sequence[Line], negatives: Sequence[Line]) -> Quality:
        """How it does on labelled lines at the threshold `FOLLOWS`."""
        recall, alarms = (
            float((self.probabilities(lines) >= FOLLOWS).mean()) if lines else None for lines in (positives, negatives)
        )
        return Quality(recall, alarms, len(positives), len(negatives))


def fit_goal_head(reader: Reader, positives: Sequence[Line], negatives: Sequence[Line]) -> GoalHead:
    """Fits a logistic regression with squared decay on the reader's pooled features, by L-BFGS.

    Both kinds have the same weight in all: the lines to be judged were asked for the goal, so most carry it out, unlike those
    of a corpus.

    Args:
        reader: its layers are not changed.
        positives: lines that carry out the goal.
        negatives: lines that do not.

    Raises:
        InputError: there are none of either kind.
    """
    if not positives or not negatives:
        raise InputError(f"a goal's judge needs lines that follow it and lines that do not, got {len(positives)} and "
                         f"{len(negatives)}.")  # fmt: skip
    lines = [*positives, *negatives]
    features = reader.pooled([before for before, _ in lines], [text for _, text in lines])  # (N, F)
    mean, scale = features.mean(0), features.std(0) + 1e-6
    x = torch.from_numpy((features - mean) / scale)
    y = torch.zeros(len(lines), dtype=torch.double)
    y[: len(positives)] = 1.0
    weights = torch.ones(len(lines), dtype=torch.double)
    weights[: len(positives)] = len(negatives) / len(positives)
    weight = torch.zeros(x.size(1), dtype=torch.double, requires_grad=True)
    bias = torch.zeros(1, dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        each = torch.nn.functional.binary_cross_entropy_with_logits(x @ weight + bias, y, reduction="none")
        total = (each * weights).sum() + DECAY * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return GoalHead(reader, mean, scale, weight.detach().numpy(), float(bias.detach()))

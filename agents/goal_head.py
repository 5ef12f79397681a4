"""Judges one goal that persona-reader was not trained on: a small head fitted on top of its frozen layers.

Knows labelled lines; knows nothing of where they come from. How far such a head is to be trusted depends on its lines, so
`quality` says what it is worth on others.

Letters: N lines, F features (three times the reader's hidden size).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from convogym.agents.reader import FOLLOWS, Reader
from convogym.errors import InputError

DECAY = 30.0  # of the squared weights against the sum of the lines' losses; features have unit variance
FOLDS = 4  # parts that are left out of a fit in turn

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
        rarity: Mapping[str, float],
        weight: npt.NDArray[np.float64],
        bias: float,
    ) -> None:
        """Takes a fitted logistic regression.

        Args:
            reader: gives the features.
            mean: shape (F,), of the features; subtracted.
            scale: shape (F,); divided by.
            rarity: by word, what its entry is in a line that has it, else 0; W words.
            weight: shape (F + W,).
            bias: added.
        """
        self._reader, self._mean, self._scale, self._weight, self._bias = reader, mean, scale, weight, bias
        self._rarity = rarity

    def probabilities(self, lines: Sequence[Line]) -> npt.NDArray[np.float64]:
        """The chance of each line, shape (N,), in 0..1."""
        if not lines:
            return np.zeros(0)
        features = (_pooled(self._reader, lines) - self._mean) / self._scale
        logits = np.concatenate([features, _word_entries(lines, self._rarity)], 1) @ self._weight + self._bias
        return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))

    def quality(self, positives: Sequence[Line], negatives: Sequence[Line]) -> Quality:
        """How it does on labelled lines at the threshold `FOLLOWS`."""
        recall, alarms = (
            float((self.probabilities(lines) >= FOLLOWS).mean()) if lines else None for lines in (positives, negatives)
        )
        return Quality(recall, alarms, len(positives), len(negatives))


def fit_goal_head(reader: Reader, positives: Sequence[Line], negatives: Sequence[Line]) -> GoalHead:
    """Fits a logistic regression with squared decay, by L-BFGS, to the reader's pooled features and to the words themselves.

    Both kinds have the same weight in all: the lines to be judged were asked for the goal, so most carry it out, unlike those
    of a corpus. A head fitted to few lines is surer of them than of others; so where it says 1/2 is moved to where, on lines
    left out of the fit, recall less false alarms is largest (Youden 1950, "Index for rating diagnostic tests").

    Args:
        reader: its layers are not changed.
        positives: lines that carry out the goal; neighbours may be of one talk.
        negatives: lines that do not; likewise.

    Raises:
        InputError: there are none of either kind.
    """
    if not positives or not negatives:
        raise InputError(f"a goal's judge needs lines that follow it and lines that do not, got {len(positives)} and "
                         f"{len(negatives)}.")  # fmt: skip
    lines = [*positives, *negatives]
    features = _pooled(reader, lines)  # (N, F)
    mean, scale = features.mean(0), features.std(0) + 1e-6
    rarity = _rarity_of(lines)
    x = torch.from_numpy(np.concatenate([(features - mean) / scale, _word_entries(lines, rarity)], 1)).float()
    y = torch.zeros(len(lines))
    y[: len(positives)] = 1.0
    fold = torch.cat([torch.arange(n) * FOLDS // n for n in (len(positives), len(negatives))])
    unseen = torch.full((len(lines),), torch.nan)
    for number in range(FOLDS):
        out = fold == number
        if out.any() and y[~out].any() and not y[~out].all():
            weight, bias = _fitted(x[~out], y[~out])
            unseen[out] = x[out] @ weight + bias
    weight, bias = _fitted(x, y)
    known = ~unseen.isnan()
    threshold = _threshold(unseen[known].numpy(), y[known].numpy() > 0)
    return GoalHead(reader, mean, scale, rarity, weight.double().numpy(), float(bias) - threshold)


def _fitted(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights (F + W,) and bias of a balanced logistic regression."""
    each = torch.where(y > 0, (1 - y).sum() / y.sum(), 1.0)
    weight = torch.zeros(x.size(1), requires_grad=True)
    bias = torch.zeros((), requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        losses = torch.nn.functional.binary_cross_entropy_with_logits(x @ weight + bias, y, reduction="none")
        total = (losses * each).sum() + DECAY * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return weight.detach(), bias.detach()


def _threshold(logits: npt.NDArray[np.float32], follows: npt.NDArray[np.bool_]) -> float:
    """The logit, 0 or below, at which recall less false alarms is largest; 0 where there are not lines of both kinds."""
    if follows.all() or not follows.any():
        return 0.0
    tried = [0.0, *(float(value) for value in logits[follows] if value < 0)]
    gains = [float((logits[follows] >= t).mean() - (logits[~follows] >= t).mean()) for t in tried]
    return tried[int(np.argmax(gains))]


def _pooled(reader: Reader, lines: Sequence[Line]) -> npt.NDArray[np.float64]:
    return reader.pooled([before for before, _ in lines], [text for _, text in lines])


def _words(line: Line) -> set[str]:
    return set(re.findall(r"[a-z0-9']+", line[1].lower()))


def _rarity_of(lines: Sequence[Line]) -> dict[str, float]:
    """Words that two lines or more have, with their inverse document frequency log(N / lines) (Sparck Jones 1972)."""
    counts = Counter(word for line in lines for word in _words(line))
    return {word: math.log(len(lines) / count) for word, count in sorted(counts.items()) if count > 1}


def _word_entries(lines: Sequence[Line], rarity: Mapping[str, float]) -> npt.NDArray[np.float64]:
    """Shape (N, W): a word's rarity where the line has it, 0 elsewhere."""
    place = {word: i for i, word in enumerate(rarity)}
    entries = np.zeros((len(lines), len(rarity)))
    for i, line in enumerate(lines):
        for word in _words(line) & rarity.keys():
            entries[i, place[word]] = rarity[word]
    return entries

"""How text and labels are scored: formulas over words, log-probabilities, ranks and 0/1 arrays. Knows nothing of models.

Word F1 and the normalisation before it are those of ParlAI (`core/metrics.py`), so that figures stand beside published ConvAI2
ones. Every interval is a percentile bootstrap from the caller's generator.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = re.compile(f"[{re.escape(string.punctuation)}]")
_BOOTSTRAP_CELLS = 2_000_000  # resampled indices held at once: 16 MB, however many values there are


@dataclass(frozen=True)
class Interval:
    """A mean and the interval that the bootstrap puts around it."""

    mean: float
    """the plain mean of the values"""
    low: float
    """lower bound"""
    high: float
    """upper bound, at least `low`"""
    n: int
    """how many values it was made from"""


@dataclass(frozen=True)
class Scores:
    """How predicted labels agree with true ones."""

    precision: float
    """right among the predicted, 0..1; 0 where nothing was predicted"""
    recall: float
    """found among the true, 0..1; 0 where nothing was true"""
    f1: float
    """harmonic mean of the two; 0 where both are 0"""
    support: int
    """how many are true"""


def normalise_answer(text: str) -> str:
    """Lower case, punctuation to blanks, the words a, an and the removed, white space squeezed (ParlAI `normalize_answer`)."""
    return " ".join(_ARTICLES.sub(" ", _PUNCTUATION.sub(" ", text.lower())).split())


def word_f1(prediction: str, golds: Sequence[str]) -> float:
    """Word-overlap F1 against the nearest of several right answers, 0..1 (ParlAI `F1Metric.compute`).

    Over multisets of normalised words: with `same` the size of their intersection, P = same / predicted words, R = same / gold
    words, F1 = 2 P R / (P + R), and 0 where `same` is 0. The corpus figure is the mean over examples.

    Args:
        prediction: the generated reply; may be blank.
        golds: one right answer or more.
    """
    if not golds:
        raise InputError("`golds` must hold at least one answer, got none.")
    guess = Counter(normalise_answer(prediction).split())
    best = 0.0
    for gold in golds:
        truth = Counter(normalise_answer(gold).split())
        same = (guess & truth).total()
        if same:
            precision, recall = same / guess.total(), same / truth.total()
            best = max(best, 2 * precision * recall / (precision + recall))
    return best


def word_perplexity(total_nll: float, raw_replies: Iterable[str]) -> float:
    """exp(total NLL / words): a perplexity that does not depend on how a tokenizer cuts words.

    The words are those between white space in the replies as released, and one end of utterance for each reply. (ConvAI2's
    own word perplexity instead renormalises each word's probability over a dictionary of 19,304 words: the two differ.)

    Args:
        total_nll: sum of the negative natural log-probabilities of all tokens of all replies, the end tokens included.
        raw_replies: the replies, before any normalising.

    Returns:
        The perplexity; infinity where it is too large for a float.
    """
    return _perplexity(total_nll, sum(len(reply.split()) + 1 for reply in raw_replies))


def token_perplexity(total_nll: float, tokens: int) -> float:
    """exp(total NLL / tokens); comparable only between models with one tokenizer."""
    return _perplexity(total_nll, tokens)


def _perplexity(total_nll: float, units: int) -> float:
    if units < 1:
        raise InputError(f"perplexity needs at least one word or token, got {units}.")
    try:
        return math.exp(total_nll / units)
    except OverflowError:
        return math.inf


def hits_at_1(scores: Sequence[Sequence[float]], right: Sequence[int]) -> float:
    """Share of examples whose right candidate has the highest score, 0..1 (Hits@1 of ConvAI2, with 20 candidates).

    A right candidate that ties with k others at the top counts 1 / (k + 1), so that a constant scorer gets chance and no more.

    Args:
        scores: for each example a score for each of its candidates; examples may have different numbers of them.
        right: for each example the position of the right candidate.
    """
    if len(scores) != len(right) or not scores:
        raise InputError(f"`scores` and `right` must be equally long and not empty, got {len(scores)} and {len(right)}.")
    hits = 0.0
    for row, position in zip(scores, right, strict=True):
        if not 0 <= position < len(row):
            raise InputError(f"`right` must be in 0..{len(row) - 1}, got {position}.")
        values = np.asarray(row, dtype=np.float64)
        if np.isnan(values).any():
            raise InputError("`scores` must not hold NaN.")
        top = values == values.max()
        hits += float(top[position]) / int(top.sum())
    return hits / len(scores)


def distinct_n(texts: Iterable[str], n: int) -> float:
    """Different n-grams over all n-grams of all texts, 0..1 (Li et al. 2016, "distinct-n"); 0 where there is no n-gram.

    Args:
        texts: replies; words are what is left between blanks after lower-casing. Compare samples of one size only: the figure
            falls as a sample grows.
        n: words in a gram, at least 1.
    """
    if n < 1:
        raise InputError(f"`n` must be at least 1, got {n}.")
    grams: set[tuple[str, ...]] = set()
    total = 0
    for text in texts:
        words = text.lower().split()
        for start in range(len(words) - n + 1):
            grams.add(tuple(words[start : start + n]))
            total += 1
    return len(grams) / total if total else 0.0


def repetition_rate(dialogues: Iterable[Sequence[str]]) -> float:
    """Share of a speaker's utterances that this speaker has said before in the same dialogue, 0..1.

    Compared after `normalise_answer`; a first utterance cannot repeat anything and is not counted. 0 where nothing is counted.

    Args:
        dialogues: for each dialogue one speaker's utterances, in order.
    """
    repeated = counted = 0
    for utterances in dialogues:
        said: set[str] = set()
        for position, utterance in enumerate(utterances):
            plain = normalise_answer(utterance)
            if position:
                counted += 1
                repeated += plain in said
            said.add(plain)
    return repeated / counted if counted else 0.0


def bootstrap_interval(values: npt.ArrayLike, rng: np.random.Generator, level: float = 0.95, samples: int = 2000) -> Interval:
    """The mean of values and its percentile bootstrap interval (Efron 1979).

    `samples` times, as many values as there are get drawn with replacement; the bounds are the (1 - level) / 2 and
    (1 + level) / 2 quantiles of the means drawn. Give independent values: one for each dialogue, not one for each turn.

    Args:
        values: shape (n,), n >= 1, finite.
        rng: the only source of randomness.
        level: the interval's coverage, in (0, 1).
        samples: how many resampled means.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise InputError(f"`values` must be a non-empty row of finite numbers, got shape {array.shape}.")
    if not 0 < level < 1 or samples < 1:
        raise InputError(f"`level` must be in (0, 1) and `samples` at least 1, got {level} and {samples}.")
    n = array.size
    rows = max(1, _BOOTSTRAP_CELLS // n)
    means = np.concatenate(
        [array[rng.integers(0, n, size=(min(rows, samples - done), n))].mean(axis=1) for done in range(0, samples, rows)]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(array.mean()), float(low), float(high), n)


def paired_difference(
    a: npt.ArrayLike, b: npt.ArrayLike, rng: np.random.Generator, level: float = 0.95, samples: int = 2000
) -> Interval:
    """`bootstrap_interval` of a - b, value by value: the two were measured on the same examples, in the same order."""
    first, second = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if first.shape != second.shape:
        raise InputError(f"`a` and `b` must have the same shape, got {first.shape} and {second.shape}.")
    return bootstrap_interval(first - second, rng, level, samples)


def precision_recall_f1(truth: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[tuple[Scores, ...], Scores]:
    """Agreement of multi-label predictions with the truth, for each label and over all of them (micro: from summed counts).

    Args:
        truth: boolean, shape (examples, labels).
        predicted: boolean, the same shape.

    Returns:
        One `Scores` for each label, and the micro-averaged one.
    """
    true, guess = np.asarray(truth, dtype=bool), np.asarray(predicted, dtype=bool)
    if true.ndim != 2 or true.shape != guess.shape:
        raise InputError(
            f"`truth` and `predicted` must be (examples, labels) arrays alike, got {true.shape} and {guess.shape}."
        )
    right = (true & guess).sum(axis=0)
    labels = zip(right, guess.sum(axis=0), true.sum(axis=0), strict=True)
    each = tuple(_scores(int(hit), int(said), int(real)) for hit, said, real in labels)
    return each, _scores(int(right.sum()), int(guess.sum()), int(true.sum()))


def _scores(right: int, predicted: int, true: int) -> Scores:
    precision = right / predicted if predicted else 0.0
    recall = right / true if true else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return Scores(precision, recall, f1, true)

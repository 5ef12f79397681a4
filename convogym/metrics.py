"""How text and labels are scored: formulas over words, numbers and 0/1 arrays. Knows nothing of models.

Word F1 and the normalisation before it are those of ParlAI (`core/metrics.py`), so that figures stand beside published ConvAI2
ones. Every interval is a percentile bootstrap from the caller's generator.
"""

from __future__ import annotations

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


def consensus(texts: Sequence[str], said: Iterable[str] = ()) -> int:
    """Position of the text with the highest mean `word_f1` against the others; the first of several, 0 where it is alone.

    Minimum Bayes risk decoding with the score as the gain (Kumar & Byrne 2004): over samples of one model the mean estimates
    the score to be expected if the truth is what that model says (Eikema & Aziz 2020).

    Args:
        texts: at least one.
        said: what was said before: a text that says it again (`normalise_answer`) is taken only if all do.
    """
    before = {normalise_answer(text) for text in said}
    new = np.array([normalise_answer(text) not in before for text in texts])
    gains = np.zeros(len(texts))
    for i in range(len(texts)):
        for j in range(i):
            gain = word_f1(texts[i], [texts[j]])  # the same both ways
            gains[i] += gain
            gains[j] += gain
    return int(np.where(new if new.any() else ~new, gains, -1.0).argmax())


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


def crossed_interval(values: npt.ArrayLike, rng: np.random.Generator, level: float = 0.95, samples: int = 2000) -> Interval:
    """The mean of a table and an interval that counts the chance in its rows and in its columns.

    `samples` times, rows and columns are drawn with replacement, each for themselves (Owen 2007, "The pigeonhole bootstrap").
    For training runs by episodes. With one row it is `bootstrap_interval` of the columns; with few rows it is somewhat narrow.

    Args:
        values: shape (rows, columns), each at least 1, finite.
        rng: the only source of randomness.
        level: the interval's coverage, in (0, 1).
        samples: how many resampled means.

    Returns:
        The interval; its `n` is the number of columns.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise InputError(f"`values` must be a table of finite numbers, got shape {table.shape}.")
    rows, columns = table.shape
    means = np.zeros(samples)
    for sample in range(samples):
        by_row = np.bincount(rng.integers(rows, size=rows), minlength=rows) / rows
        by_column = np.bincount(rng.integers(columns, size=columns), minlength=columns) / columns
        means[sample] = by_row @ table @ by_column
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(table.mean()), float(low), float(high), columns)


def detectable_difference(differences: npt.ArrayLike) -> float:
    """The smallest true mean difference that so many paired ones would show in four of five repetitions.

    `(1.96 + 0.84) s / sqrt(n)`: two-sided at 5 %, power 80 %, by the normal approximation (Lehr 1992, "Sixteen
    s-squared over d-squared").

    Args:
        differences: shape (n,), n >= 2, finite: one for each example measured both ways.
    """
    array = np.asarray(differences, dtype=np.float64)
    if array.ndim != 1 or array.size < 2 or not np.isfinite(array).all():
        raise InputError(f"`differences` must be a row of two or more finite numbers, got shape {array.shape}.")
    return float((1.959964 + 0.841621) * array.std(ddof=1) / np.sqrt(array.size))


def calibration_error(confidence: npt.ArrayLike, correct: npt.ArrayLike, bins: int = 10) -> float:
    """Expected calibration error, 0..1: sum over bins of their share times |mean confidence - share correct|.

    Guo et al. 2017, "On Calibration of Modern Neural Networks", eq. 3, with bins of equal width over 0..1.

    Args:
        confidence: shape (n,), n >= 1: how sure each prediction was, 0..1.
        correct: boolean, shape (n,): whether it was right.
        bins: how many.
    """
    sure, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=bool)
    if sure.ndim != 1 or sure.size == 0 or sure.shape != right.shape or not ((sure >= 0) & (sure <= 1)).all():
        raise InputError(f"`confidence` must be a row of numbers in 0..1, one for each of `correct`, got shape {sure.shape}.")
    place = np.minimum((sure * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(place, weights=sure - right, minlength=bins)
    return float(np.abs(gaps).sum() / sure.size)


def ratio_interval(
    over: npt.ArrayLike, under: npt.ArrayLike, rng: np.random.Generator, level: float = 0.95, samples: int = 1000
) -> Interval:
    """sum(over) / sum(under) and its percentile bootstrap interval, whole groups drawn with replacement.

    With sums and counts of the replies of each dialogue it is the mean over replies. A ratio to 0 is 0.

    Args:
        over: shape (groups,), at least one group, finite.
        under: shape (groups,), not negative.
        rng: the only source of randomness.
        level: the interval's coverage, in (0, 1).
        samples: how many resampled ratios.
    """
    above, below = np.asarray(over, dtype=np.float64), np.asarray(under, dtype=np.float64)
    if above.ndim != 1 or above.size == 0 or above.shape != below.shape or not np.isfinite([above, below]).all():
        raise InputError(
            f"`over` and `under` must be rows alike of finite numbers, not empty, got shapes {above.shape} and {below.shape}."
        )
    drawn = rng.integers(above.size, size=(samples, above.size))
    sums, counts = above[drawn].sum(1), below[drawn].sum(1)
    ratios = np.divide(sums, counts, out=np.zeros(samples), where=counts > 0)
    low, high = np.quantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    total = below.sum()
    return Interval(float(above.sum() / total) if total else 0.0, float(low), float(high), above.size)


def distinct_interval(
    groups: Sequence[Sequence[str]], n: int, rng: np.random.Generator, level: float = 0.95, samples: int = 1000
) -> Interval:
    """`distinct_n` of all texts, and a bootstrap interval for it, whole groups (dialogues) drawn with replacement.

    A group drawn twice brings no new n-gram the second time, so resampled figures lie below the true one, all of them by about
    as much. Their quantiles are therefore moved by the value minus their mean: the interval is their spread, around the value.

    Args:
        groups: the texts of each dialogue; at least one dialogue.
        n: words in a gram, at least 1.
        rng: the only source of randomness.
        level: the interval's coverage, in (0, 1).
        samples: how many resampled figures.
    """
    if not groups:
        raise InputError("`groups` must hold at least one dialogue, got none.")
    value = distinct_n([text for group in groups for text in group], n)
    number: dict[tuple[str, ...], int] = {}
    grams, owners = [], []
    for owner, group in enumerate(groups):
        for text in group:
            words = text.lower().split()
            for start in range(len(words) - n + 1):
                grams.append(number.setdefault(tuple(words[start : start + n]), len(number)))
                owners.append(owner)
    kinds, owned = np.array(grams, np.int64), np.array(owners, np.int64)
    sizes = np.bincount(owned, minlength=len(groups))
    figures = np.zeros(samples)
    for sample in range(samples):
        times = np.bincount(rng.integers(len(groups), size=len(groups)), minlength=len(groups))
        seen = np.zeros(len(number), bool)
        seen[kinds[times[owned] > 0]] = True
        figures[sample] = seen.sum() / max(1, int(times @ sizes))
    low, high = np.quantile(figures, [(1 - level) / 2, (1 + level) / 2]) + (value - figures.mean())
    return Interval(value, float(low), float(high), len(groups))


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

"""Which questions to ask first: those the model is least sure of, and no two alike. Knows numbers; knows nothing of lines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError


def most_informative(uncertainty: npt.ArrayLike, features: npt.ArrayLike, count: int) -> list[int]:
    """Picks questions one after the other, each the one whose uncertainty times distance from those picked is largest.

    The distances are those of k-center coresets (Sener & Savarese 2018, "Active Learning for Convolutional Neural Networks: A
    Core-Set Approach", algorithm 1); the factor keeps what the model knows already from being asked for being odd.

    Args:
        uncertainty: shape (N,), positive; how unsure the model is of its own answer.
        features: shape (N, C); questions with like features are alike.
        count: how many to pick, at most N.

    Returns:
        Distinct indices, the most informative first. Ties go to the lower index.

    Raises:
        InputError: the shapes do not fit, or there are not so many questions.
    """
    unsure, points = np.asarray(uncertainty, dtype=np.float64), np.asarray(features, dtype=np.float64)
    if unsure.ndim != 1 or points.ndim != 2 or len(points) != len(unsure):
        raise InputError(f"expected shapes (N,) and (N, C), got {unsure.shape} and {points.shape}.")
    if not 0 <= count <= len(unsure):
        raise InputError(f"`count` must be in 0..{len(unsure)}, got {count}.")
    units = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)  # (N, C)
    distance = np.ones(len(unsure))
    picked: list[int] = []
    for _ in range(count):
        score = unsure * distance
        score[picked] = -np.inf
        best = int(score.argmax())
        picked.append(best)
        distance = np.minimum(distance, 1.0 - units @ units[best])  # cosine distance, 0..2
    return picked

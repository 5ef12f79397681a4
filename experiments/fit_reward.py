"""A reward fitted to what people preferred: a Bradley-Terry score of turns. Prints nothing; gives a dict.

Preferences are read from episodes: where a person corrected a line or reply, the correction is preferred to it; of two turns
of one talk the better rated is preferred; and, where episodes hold comparisons, what was chosen to what was rejected.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from convogym.envs.human_rewards import PreferenceHead, TurnReader
from convogym.episodes import Episode
from convogym.errors import InputError
from convogym.metrics import bootstrap_interval

Floats = npt.NDArray[np.float64]
PENALTIES = (1.0, 10.0, 100.0, 1000.0)  # tried; features are many and preferences few
FOLDS = 5
LEAST = 10  # preferences


class Preference(NamedTuple):
    """Two turns, (line, reply) each, of which a person preferred one."""

    chosen: tuple[str, str]
    rejected: tuple[str, str]
    talk: int
    """which talk it comes from, so that no talk is on both sides of a split"""


def preferences_of(episodes: Iterable[Episode]) -> list[Preference]:
    """All preferences that episodes tell of."""
    found = []
    for talk, episode in enumerate(episodes):
        rated = [turn for turn in episode.turns if turn.rating is not None]
        for a, b in itertools.combinations(rated, 2):
            if a.rating != b.rating:
                better, worse = (a, b) if (a.rating or 0.0) > (b.rating or 0.0) else (b, a)
                found.append(Preference((better.line, better.reply), (worse.line, worse.reply), talk))
        for turn in episode.turns:
            pairs = {
                (turn.corrected_line or turn.line, turn.reply, turn.line, turn.reply),
                (turn.line, turn.corrected_reply or turn.reply, turn.line, turn.reply),
            }
            for each in turn.comparisons:
                texts = (each.chosen, each.rejected)
                new, old = ((text, turn.reply) if each.side == "line" else (turn.line, text) for text in texts)
                pairs.add((*new, *old))
            found += [Preference(pair[:2], pair[2:], talk) for pair in sorted(pairs) if pair[:2] != pair[2:]]
    return found


def fit_weights(differences: Floats, penalty: float) -> Floats:
    """Bradley-Terry weights: minimises `sum log(1 + exp(-x w)) + penalty / 2 |w|^2`.

    Args:
        differences: features of what was preferred minus those of the other, shape (P, F).
        penalty: above 0.

    Returns:
        Shape (F,).
    """
    x = torch.from_numpy(differences)
    weights = torch.zeros(x.size(1), dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([weights], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Any:
        solver.zero_grad()
        value = torch.nn.functional.softplus(-x @ weights).sum() + penalty / 2 * weights.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    return np.asarray(weights.detach().numpy(), dtype=np.float64)


def fit_reward(preferences: Sequence[Preference], reader: TurnReader, name: str, out: Path, seed: int = 0) -> dict[str, Any]:
    """Fits a head on a reader's features, the penalty chosen by cross-validation, and stores it.

    Args:
        preferences: at least `LEAST`, from two talks or more.
        reader: gives the features.
        name: of the reader.
        out: folder for the reward; `reward="learned:OUT"` uses it.
        seed: of the folds.

    Returns:
        `agreement`: the share of preferences that a head fitted on other talks agrees with, with its interval (0.5 is chance);
        and what was fitted.

    Raises:
        InputError: too few preferences or talks.
    """
    talks = sorted({each.talk for each in preferences})
    if len(preferences) < LEAST or len(talks) < 2:
        raise InputError(
            f"fitting a reward needs {LEAST} preferences from 2 talks or more, got {len(preferences)} from {len(talks)}; "
            "correct or rate more turns in `convogym chat`."
        )
    texts = list(dict.fromkeys(turn for each in preferences for turn in (each.chosen, each.rejected)))
    read = reader.features(texts)  # (texts, F)
    mean, spread = read.mean(axis=0), read.std(axis=0)
    scale = np.where(spread > 1e-9, 1 / np.maximum(spread, 1e-9), 0.0)
    place = {turn: i for i, turn in enumerate(texts)}
    scaled = (read - mean) * scale
    differences = np.stack([scaled[place[each.chosen]] - scaled[place[each.rejected]] for each in preferences])  # (P, F)
    fold_of = dict(zip(talks, np.random.default_rng(seed).permutation(len(talks)) % FOLDS, strict=True))
    folds = np.array([fold_of[each.talk] for each in preferences])
    margins = {penalty: _held_out_margins(differences, folds, penalty) for penalty in PENALTIES}
    best = min(PENALTIES, key=lambda penalty: float(np.logaddexp(0, -margins[penalty]).mean()))
    agreement = bootstrap_interval((margins[best] > 0).astype(float), np.random.default_rng(seed))
    told = {
        "preferences": len(preferences),
        "talks": len(talks),
        "agreement": agreement.mean,
        "agreement_interval": [agreement.low, agreement.high],
        "penalty": best,
        "seed": seed,
    }
    weights = fit_weights(differences, best) * scale
    PreferenceHead(tuple(weights.tolist()), tuple(mean.tolist()), name, told).save(out)
    return {"out": str(out), "reward": f"learned:{out}", "reader": name, **told}


def _held_out_margins(differences: Floats, folds: npt.NDArray[np.int64], penalty: float) -> Floats:
    """How far each preference is on the right side for a head fitted on the other folds, shape (P,)."""
    margins = np.zeros(len(folds))
    for fold in range(FOLDS):
        held = folds == fold
        if held.any() and not held.all():
            margins[held] = differences[held] @ fit_weights(differences[~held], penalty)
    return margins

"""What the infos of an environment say: one dialogue's out of the batched ones, and the turn it tells of as a record."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt

from convogym.episodes import TurnRecord


def split_info(infos: Mapping[str, Any], index: int) -> dict[str, Any]:
    """The info of one dialogue, out of Gymnasium's batched infos; what has no mask belongs to all.

    Numbers become Python's, arrays are copied.
    """
    info = {}
    for key, values in infos.items():
        is_mask = key.startswith("_") and key[1:] in infos
        if is_mask or not infos.get(f"_{key}", np.ones(index + 1))[index]:
            continue
        if isinstance(values, dict):
            info[key] = split_info(values, index)
        else:
            value = values[index] if isinstance(values, np.ndarray) else values
            info[key] = value.item() if isinstance(value, np.generic) else deepcopy(value)
    return info


def turn_record(
    info: Mapping[str, Any], reward: float, propensities: npt.ArrayLike = (), chosen_by: str | None = None
) -> TurnRecord:
    """The turn that one dialogue's step info tells of.

    Args:
        info: of a step.
        reward: of the step.
        propensities: probability that each action had, shape (n,); () or nan = not known.
        chosen_by: name of who chose the action, where the episode does not say.
    """
    chances = np.asarray(propensities, dtype=np.float64)
    known = () if np.isnan(chances).any() else tuple(chances.tolist())
    action = int(info["action"])
    return TurnRecord(
        turn=int(info["turn"]),
        action=action,
        goal=info["goal"],
        line=info["line"],
        reply=info["reply"],
        reward=reward,
        reward_terms={name: float(value) for name, value in info.get("reward_terms", {}).items()},
        faults={name: bool(value) for name, value in info.get("faults", {}).items()},
        line_log_prob=float(info["line_log_prob"]),
        reply_log_prob=float(info["reply_log_prob"]),
        propensity=known[action] if known else None,
        propensities=known,
        chosen_by=chosen_by,
    )

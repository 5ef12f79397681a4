"""The best fixed order of goals that a beam search finds on some personas. Prints nothing; gives a dict.

An order ignores what is answered, so what a policy gains over the best one is what it makes of the answers.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from convogym.errors import InputError
from convogym.experiments.collect import run_seeds
from convogym.experiments.console import Tick, ignore_ticks, stoppable

BEAM = 2  # orders kept from each length to the next


class _Order(NamedTuple):
    """A beginning of an order."""

    actions: tuple[int, ...]
    returns: npt.NDArray[np.float64]
    """shape (episodes,): what it brought in each episode"""

    @property
    def mean(self) -> float:
        return float(self.returns.mean())


def num_turns_played(turns: int, beam: int = BEAM, goals: int = 11) -> int:
    """Turns that a search takes in each episode, the previewed ones included."""
    return sum((min(beam, goals**length) if length else 1) * (length + goals) for length in range(turns))


def search_order(
    env: Any, turns: int, episodes: int, *, seed: int = 0, beam: int = BEAM, tick: Tick = ignore_ticks
) -> dict[str, Any]:
    """Builds orders goal by goal, keeping the best few of each length; all are tried on the same episodes.

    Args:
        env: a `PersonaChatVectorEnv` with DISABLED autoreset, with as many dialogues as are to run side by side.
        turns: length of the order, at most the environment's turns.
        episodes: episodes that every order is tried on; rounded up to whole batches.
        seed: of the episodes.
        beam: orders kept from each length to the next, at least 1.
        tick: told how many turns were taken or previewed.

    Returns:
        `order`, the best; `policy`, its name for `--policy`; `mean_return` on the episodes searched, which is too high, as the
        best of many is: measure it on others; `found`, the best orders with their means; and what was searched.

    Raises:
        InputError: a number makes no sense.
        Stopped: Ctrl-C.
    """
    limit = env.unwrapped.num_turns
    if not 1 <= turns <= limit:
        raise InputError(f"`turns` must be in 1..{limit}, the environment's turns, got {turns}.")
    if episodes < 1 or beam < 1:
        raise InputError(f"`episodes` and `beam` must be at least 1, got {episodes} and {beam}.")
    began = time.monotonic()
    size = env.num_envs
    batches = -(-episodes // size)
    seeds = np.array(run_seeds(seed, batches * size, "search")).reshape(batches, size)
    kept = [_Order((), np.zeros(batches * size))]
    with stoppable(lambda: "A search that is not complete tells nothing, so nothing was kept."):
        for _ in range(turns):
            extended: list[_Order] = []
            for order in kept:
                gains = np.concatenate([_gains(env, row, order.actions, tick) for row in seeds])  # (episodes, n)
                extended += [
                    _Order((*order.actions, action), order.returns + gains[:, action]) for action in range(gains.shape[1])
                ]
            kept = sorted(extended, key=lambda order: -order.mean)[:beam]
    best = kept[0]
    return {
        "order": list(best.actions),
        "goals": [env.unwrapped.goals.text(action) for action in best.actions],
        "policy": "cycle:" + ",".join(map(str, best.actions)),
        "mean_return": best.mean,
        "found": [{"order": list(order.actions), "mean_return": order.mean} for order in kept],
        "turns": turns,
        "episodes": batches * size,
        "beam": beam,
        "seed": seed,
        "seconds": round(time.monotonic() - began, 3),
    }


def _gains(env: Any, seeds: npt.NDArray[np.int64], actions: tuple[int, ...], tick: Tick) -> npt.NDArray[np.float64]:
    """What each goal would bring after the actions, in the episodes of these seeds, shape (len(seeds), n)."""
    env.reset(seed=[int(each) for each in seeds])
    for action in actions:
        env.step(np.full(len(seeds), action))
    gains = np.array([[preview.reward for preview in goals] for goals in env.unwrapped.step_all_actions()])
    tick(len(seeds) * (len(actions) + gains.shape[1]))
    return gains

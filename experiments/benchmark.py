"""How many turns per second the vector environment takes, for several numbers of dialogues. Prints nothing; gives a dict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from convogym.errors import InputError
from convogym.experiments.collect import run_seeds
from convogym.experiments.console import Tick, ignore_ticks, machine, stoppable

SIZES = (1, 16, 64, 256)


def parse_sizes(text: str) -> tuple[int, ...]:
    """The numbers of dialogues in a text like "1,16,64"; raises `InputError` for any other."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1 or len(set(sizes)) != len(sizes):
        raise InputError(f"`num_envs` must be different whole numbers of at least 1 with commas between, got {text[:60]!r}.")
    return sizes


def benchmark(
    make_env: Callable[[int], Any],
    layout: str,
    *,
    sizes: Sequence[int] = SIZES,
    turns: int = 8,
    repeats: int = 3,
    seed: int = 0,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Measures whole turns: line, reply, reward and observation.

    Each number of dialogues warms up for one turn after its environment was made. Then the repetitions are interleaved (all
    numbers once, then all numbers again, ...), each with episodes of its own, so that a slow moment of the machine does not
    fall on one number alone and nothing is found in a cache. Goals are uniformly random.

    Args:
        make_env: makes an environment of so many dialogues, with NextStep autoreset and episodes of at least `turns` turns.
        layout: of the model, under which the figures are given.
        sizes: the numbers of dialogues.
        turns: timed turns of each dialogue and repetition.
        repeats: repetitions, at least 1.
        seed: of the episodes and goals.
        tick: told how many turns were done, warm-up included (`planned_turns` in all).

    Returns:
        `engine`: {layout: {number of dialogues: median of turns per second, all dialogues together}}. `repetitions`: the same
        with the figure of each repetition. Besides `tokens_per_turn`, `responder`, `turns`, `repeats`, `seed`, `machine`.

    Raises:
        InputError: a number is below 1.
    """
    if turns < 1 or repeats < 1 or not sizes:
        raise InputError(f"`turns` and `repeats` must be at least 1, got {turns} and {repeats}.")
    rng = np.random.default_rng(seed)
    seeds = iter(run_seeds(seed, (repeats + 1) * sum(sizes), "benchmark"))
    speeds: dict[int, list[float]] = {size: [] for size in sizes}
    tokens: list[float] = []

    def run(env: Any, number: int) -> float:
        """Takes turns in new episodes; the seconds they took."""
        env.reset(seed=[next(seeds) for _ in range(env.num_envs)])
        began = time.perf_counter()
        for _ in range(number):
            *_, infos = env.step(rng.integers(env.single_action_space.n, size=env.num_envs))
            tokens.append(float(np.mean(infos["line_tokens"] + infos["reply_tokens"])))
            tick(env.num_envs)
        return time.perf_counter() - began

    with stoppable(lambda: "A benchmark that is not complete tells nothing, so nothing was kept."):
        envs = {size: make_env(size) for size in sizes}
        for env in envs.values():
            run(env, 1)
        tokens.clear()
        for _ in range(repeats):
            for size, env in envs.items():
                speeds[size].append(size * turns / run(env, turns))
    base = envs[sizes[0]].unwrapped
    return {
        "engine": {layout: {str(size): round(float(np.median(speeds[size])), 3) for size in sizes}},
        "repetitions": {layout: {str(size): [round(speed, 3) for speed in speeds[size]] for size in sizes}},
        "unit": "turns per second, all dialogues together",
        "tokens_per_turn": round(float(np.mean(tokens)), 2),
        "responder": base.responder_name,
        "turns": turns,
        "repeats": repeats,
        "seed": seed,
        "machine": machine(),
    }


def planned_turns(sizes: Sequence[int], turns: int, repeats: int) -> int:
    """How many turns a benchmark takes in all, warm-up included."""
    return sum(sizes) * (1 + turns * repeats)

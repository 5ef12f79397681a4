"""Runs a policy through a given list of episodes, many at a time, and gives back what happened in each.

Episode k has its own seed, persona and draws, so its result does not depend on how many run beside it, as far as the
speakers' answers do not. Knows nothing of commands, files or statistics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv

from convogym.dialogue import Persona
from convogym.envs.infos import split_info, turn_record
from convogym.envs.recorder import RecordVectorEpisodes
from convogym.episodes import TurnRecord
from convogym.errors import InputError
from convogym.policies.base import Actions, Attributing, Masks, Policy, Previewing, State, draw

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the episodes done and those wanted."""


@dataclass(frozen=True)
class EpisodeResult:
    """One episode that came to its end."""

    seed: int
    """what it was reset with"""
    persona: Persona
    """the responder's"""
    turns: tuple[TurnRecord, ...]
    """all that happened, turn by turn"""

    @property
    def total(self) -> float:
        """The return: the undiscounted sum of the rewards."""
        return float(sum(self.rewards))

    @property
    def actions(self) -> tuple[int, ...]:
        """The goals' codes."""
        return tuple(turn.action for turn in self.turns)

    @property
    def rewards(self) -> tuple[float, ...]:
        """The reward of each turn."""
        return tuple(turn.reward for turn in self.turns)

    @property
    def reward_terms(self) -> dict[str, float]:
        """Each named term of the reward, summed over the turns."""
        names = dict.fromkeys(name for turn in self.turns for name in turn.reward_terms)
        return {name: float(sum(turn.reward_terms.get(name, 0.0) for turn in self.turns)) for name in names}

    @property
    def faults(self) -> dict[str, int]:
        """In how many turns each named fault occurred."""
        counts = Counter({name: 0 for turn in self.turns for name in turn.faults})
        counts.update(name for turn in self.turns for name, occurred in turn.faults.items() if occurred)
        return dict(counts)

    @property
    def transcript(self) -> str:
        """The talk as text: each turn's goal in brackets, its line and its reply."""
        return "\n".join(f"[{turn.goal}]\n> {turn.line}\n< {turn.reply}" for turn in self.turns)


@dataclass
class _Running:
    """The episode that one row of the environment is in."""

    index: int
    persona: Persona
    rng: np.random.Generator
    turns: list[TurnRecord] = field(default_factory=list)


def run_episodes(
    envs: VectorEnv[Any, Any, Any],
    policy: Policy,
    seeds: Sequence[int],
    personas: Sequence[Persona] | None = None,
    *,
    deterministic: bool = True,
    policy_seed: int = 0,
    progress: Progress | None = None,
    on_episode: Callable[[int, EpisodeResult], None] | None = None,
) -> list[EpisodeResult]:
    """Runs one episode per seed and no turn more.

    Where the policy can tell its `probabilities`, actions are drawn from them with a generator per episode, and they are
    recorded as propensities; otherwise `predict` picks. Where it is made of several, who chose is recorded with every turn.

    Args:
        envs: a `PersonaChatVectorEnv` with `autoreset_mode="NextStep"`, bare or in wrappers; with `RecordVectorEpisodes`
            outermost every turn is recorded, with how it was chosen.
        policy: picks the goals; it is asked only for the rows that talk.
        seeds: of the episodes, each at least 0.
        personas: of the episodes' responders; None = each seed draws one from the environment's.
        deterministic: passed to the policy.
        policy_seed: of the draws from `probabilities`, together with the episode's own seed.
        progress: is told the episodes done and wanted.
        on_episode: gets each result and its place in `seeds` as soon as its episode ends.

    Returns:
        The results in the order of `seeds`.

    Raises:
        InputError: another autoreset mode, or another number of personas than of seeds.
        PolicyLeft: the person who picks the goals has left; the turns taken are recorded if `envs` records.
    """
    if envs.metadata.get("autoreset_mode") != AutoresetMode.NEXT_STEP:
        raise InputError(f"`envs` must have autoreset_mode='NextStep', got {envs.metadata.get('autoreset_mode')}.")
    if personas is not None and len(personas) != len(seeds):
        raise InputError(f"`personas` must name one persona for each of the {len(seeds)} seeds, got {len(personas)}.")
    recorder = envs if isinstance(envs, RecordVectorEpisodes) else None
    waiting = iter(range(len(seeds)))
    running: dict[int, _Running] = {}
    results: dict[int, EpisodeResult] = {}
    observations: Any = None
    states: State = None

    def begin(row: int, index: int) -> None:
        nonlocal observations
        options: dict[str, Any] = {"reset_mask": np.arange(envs.num_envs) == row}
        if personas is not None:
            options["persona"] = personas[index]
        observations, infos = envs.reset(seed=[seeds[index]] * envs.num_envs, options=options)  # type: ignore[arg-type]
        rng = np.random.default_rng([policy_seed, seeds[index]])
        running[row] = _Running(index, Persona(tuple(infos["persona"][row])), rng)

    for row, index in zip(range(envs.num_envs), waiting):  # noqa: B905  # the shorter one decides
        begin(row, index)
    idle = np.arange(envs.num_envs) >= len(running)
    if running and idle.any():
        envs.reset(seed=0, options={"reset_mask": idle})  # a row never begun could not even rest
    while running:
        rows = sorted(running)
        starts = np.array([not running[row].turns for row in rows])
        masks = np.asarray(envs.unwrapped.action_masks())[rows]  # type: ignore[attr-defined]  # (len(rows), n)
        if isinstance(policy, Previewing):
            policy.preview(_previews(envs, rows))
        chosen, states, chances = _choose(
            policy, observations, states, starts, masks, rows, running, deterministic, envs.num_envs
        )
        names = list(policy.choosers) if isinstance(policy, Attributing) else [None] * len(rows)
        _rest(envs, running)
        if recorder is not None:
            told = dict(zip(rows, names, strict=True))
            recorder.set_choices(
                _spread(chances, rows, envs.num_envs, np.nan), [told.get(row) for row in range(envs.num_envs)]
            )
        observations, rewards, terminated, truncated, infos = envs.step(_spread(chosen, rows, envs.num_envs, 0))
        for place, row in enumerate(rows):
            talk = running[row]
            talk.turns.append(turn_record(split_info(infos, row), float(rewards[row]), chances[place], names[place]))
            if not (terminated[row] or truncated[row]):
                continue
            result = EpisodeResult(seeds[talk.index], talk.persona, tuple(talk.turns))
            results[talk.index] = result
            del running[row]
            if on_episode is not None:
                on_episode(talk.index, result)
            if progress is not None:
                progress(len(results), len(seeds))
        for row in [row for row in rows if row not in running]:
            following = next(waiting, None)
            if following is not None:
                begin(row, following)
    return [results[index] for index in range(len(seeds))]


def _choose(
    policy: Policy,
    observations: Any,
    states: State,
    starts: npt.NDArray[np.bool_],
    masks: Masks,
    rows: Sequence[int],
    running: Mapping[int, _Running],
    deterministic: bool,
    num_envs: int,
) -> tuple[Actions, State, npt.NDArray[np.float64]]:
    """The rows' actions, the policy's states of all rows, and the chances of all actions, (len(rows), n); nan = not known."""
    seen = observations[rows]  # (len(rows), d)
    before = None if states is None else states[rows]  # a copy
    if before is not None:
        before[starts] = None if before.dtype == object else 0
    actions, after = policy.predict(seen, before, starts, deterministic, masks)
    chances = policy.probabilities(seen, masks, before, deterministic)
    if chances is None:
        chances = np.full(masks.shape, np.nan)
    else:
        known = np.asarray(np.isfinite(chances).all(axis=1))
        drawn = draw(np.where(known[:, None], chances, 0.0), np.array([running[row].rng.random() for row in rows]))
        actions = np.where(known, drawn, actions)
    if after is not None:
        if states is None:
            states = np.empty((num_envs, *after.shape[1:]), dtype=after.dtype)
        states[rows] = after
    return actions, states, chances


def _previews(envs: VectorEnv[Any, Any, Any], rows: Sequence[int]) -> npt.NDArray[np.float64]:
    """The reward of every goal in the rows, shape (len(rows), n)."""
    found = envs.unwrapped.step_all_actions(rows)  # type: ignore[attr-defined]
    return np.array([[preview.reward for preview in goals] for goals in found])


def _rest(envs: VectorEnv[Any, Any, Any], running: Mapping[int, _Running]) -> None:
    """Marks the rows without an episode as over: with NEXT_STEP autoreset they restart in the next step and say nothing."""
    if len(running) == envs.num_envs:
        return
    over = [row not in running or bool(talk.is_over) for row, talk in enumerate(envs.unwrapped.talks)]  # type: ignore[attr-defined]
    envs.unwrapped.set_attr("is_over", over)  # type: ignore[attr-defined]


def _spread(values: npt.NDArray[Any], rows: Sequence[int], number: int, filler: float) -> npt.NDArray[Any]:
    """An array of `number` rows with the values at some of them and the filler elsewhere."""
    spread = np.full((number, *values.shape[1:]), filler, dtype=values.dtype)
    spread[list(rows)] = values
    return spread

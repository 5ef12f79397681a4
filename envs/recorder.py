"""Wrappers that write every turn to an `EpisodeStore` before `step` returns; nobody else knows that they are recorded.

`RecordEpisodes` is for the single environment, `RecordVectorEpisodes` for the vector one. They read `info` and nothing else of
what happens inside: a reset's info has `persona`, `history` and `episode_seed`; a step's info has `turn`, `action`, `goal`,
`line`, `reply`, `reward_terms`, `faults`, `line_log_prob` and `reply_log_prob`. The environment beneath has the attributes
`goals`, `responder_name` and `goal_speaker_name`.

An episode enters the store with its first turn; one that is reset before its end stays there unfinished. Should the store fail
(a full disk), `step` raises, nothing of that step is recorded, and `reset` is needed, so that no episode has a hole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded

from convogym.dialogue import Persona
from convogym.envs.infos import split_info, turn_record
from convogym.episodes import JSON, check_storable
from convogym.errors import InputError
from convogym.goals import GoalSet
from convogym.store import EpisodeStore

if TYPE_CHECKING:
    _Wrapper: TypeAlias = gym.Wrapper[Any, Any, Any, Any]
    _VectorWrapper: TypeAlias = gym.vector.VectorWrapper[Any, Any, Any, Any, Any]
else:  # how many type parameters they take differs between versions of Gymnasium
    _Wrapper, _VectorWrapper = gym.Wrapper, gym.vector.VectorWrapper

MAX_SPEC_CHARS = (
    2000  # of one argument in a recorded spec: every episode has its own copy, and thousands of personas may be given
)
_NOT_THE_EPISODES = ("num_envs", "vectorization_mode", "vector_kwargs", "wrappers")  # what `make_vec` adds to a spec's kwargs


@dataclass
class _Talk:
    """The episode that one place of the environment is in."""

    opening: Mapping[str, Any]
    """the reset info"""
    episode_id: str | None = None
    """None until its first turn is recorded"""


class _Recorder:
    """What the two wrappers share: one talk for each place of the environment, and how their turns are written."""

    def __init__(self, env: Any, store: EpisodeStore, policy: str, places: int) -> None:
        self.store = store
        self.talks: list[_Talk | None] = [None] * places
        self.propensities: list[float | None] = [None] * places
        self.is_ready = False
        missing = [name for name in ("goals", "responder_name", "goal_speaker_name") if not hasattr(env, name)]
        if missing:
            raise InputError(
                f"`env` must be a PersonaChat environment, got {type(env).__name__} without {', '.join(missing)}."
            )
        self.fixed: dict[str, Any] = {
            "policy": check_storable(policy, "policy"),
            "responder": env.responder_name,
            "goal_speaker": env.goal_speaker_name,
            "goals": tuple(env.goals.goals),
            "spec": spec_of(env),
        }

    def open(self, place: int, opening: Mapping[str, Any]) -> None:
        """An episode begins at a place, with this reset info."""
        self.talks[place] = _Talk(opening)
        self.is_ready = True

    def offer(self, propensities: npt.ArrayLike) -> None:
        values = np.asarray(propensities, dtype=np.float64)
        if values.shape != (len(self.talks),):
            raise InputError(f"`propensities` must have shape ({len(self.talks)},), got {values.shape}.")
        known = values[~np.isnan(values)]
        if not ((known > 0) & (known <= 1)).all():
            raise InputError(f"`propensities` must be in (0, 1], or nan where not known, got {values.tolist()}.")
        self.propensities = [None if np.isnan(value) else float(value) for value in values]

    def ready(self) -> list[float | None]:
        """The propensities of the step about to be made, which hold for one step; `ResetNeeded` where it may not be made."""
        if not self.is_ready:
            raise ResetNeeded("call `reset` before `step`: at the beginning, and after a step that could not be recorded.")
        offered, self.propensities = self.propensities, [None] * len(self.talks)
        return offered

    def write(self, turns: Sequence[tuple[int, Mapping[str, Any], float, bool, float | None]]) -> None:
        """Puts turns on disk, all or none.

        Args:
            turns: (place, step info, reward, whether it was the episode's last, propensity) of each.
        """
        ids: dict[int, str] = {}
        try:
            with self.store.transaction():
                records = []
                for place, info, reward, _, propensity in turns:
                    ids[place] = self._episode(place)
                    records.append((ids[place], turn_record(info, reward, propensity)))
                self.store.append_many(records)
                for place, _, _, is_over, _ in turns:
                    if is_over:
                        self.store.finish(ids[place])
        except BaseException:
            self.talks = [None] * len(self.talks)
            self.is_ready = False
            raise
        for place, _, _, is_over, _ in turns:
            talk = self.talks[place]
            assert talk is not None
            talk.episode_id = ids[place]
            if is_over:
                self.talks[place] = None

    def _episode(self, place: int) -> str:
        talk = self.talks[place]
        if talk is None:
            raise ResetNeeded("call `reset` before `step`: the recorder has seen no beginning of this episode.")
        if talk.episode_id is not None:
            return talk.episode_id
        seed = talk.opening.get("episode_seed")
        return self.store.begin(
            **self.fixed,
            persona=tuple(talk.opening["persona"]),
            history=tuple(talk.opening.get("history", ())),
            seed=None if seed is None else int(seed),
        )


class RecordEpisodes(_Wrapper):
    """Records every turn of the single environment.

    Args:
        env: the environment; its own reward is recorded, and that of wrappers beneath this one.
        store: where to; it stays open when the environment is closed.
        policy: the name under which the episodes are recorded.
    """

    def __init__(self, env: gym.Env[Any, Any], store: EpisodeStore, policy: str) -> None:
        super().__init__(env)
        self._recorder = _Recorder(env.unwrapped, store, policy, 1)

    @property
    def episode_id(self) -> str | None:
        """The id of the episode that goes on; None before its first turn and after its last."""
        talk = self._recorder.talks[0]
        return talk.episode_id if talk else None

    def set_propensities(self, propensities: npt.ArrayLike) -> None:
        """Tells with which probability the policy chose the action of the next step.

        Args:
            propensities: one number in (0, 1], or nan where it is not known; a scalar or shape (1,).
        """
        self._recorder.offer(np.atleast_1d(np.asarray(propensities, dtype=np.float64)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environment; an episode that was going on stays unfinished in the store."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._recorder.open(0, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes a turn; it is on disk when this returns."""
        offered = self._recorder.ready()
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._recorder.write([(0, info, float(reward), terminated or truncated, offered[0])])
        return observation, reward, terminated, truncated, info


class RecordVectorEpisodes(_VectorWrapper):
    """Records every turn of all talks of a vector environment, those of one step in one transaction.

    Args:
        env: the vector environment, of any autoreset mode; where it resets in the same step, the last turn is in `final_info`.
        store: where to; it stays open when the environment is closed.
        policy: the name under which the episodes are recorded.
    """

    def __init__(self, env: gym.vector.VectorEnv[Any, Any, Any], store: EpisodeStore, policy: str) -> None:
        super().__init__(env)
        self._recorder = _Recorder(env.unwrapped, store, policy, env.num_envs)

    @property
    def episode_ids(self) -> tuple[str | None, ...]:
        """For each talk the id of the episode that goes on; None before its first turn."""
        return tuple(talk.episode_id if talk else None for talk in self._recorder.talks)

    def set_propensities(self, propensities: npt.ArrayLike) -> None:
        """Tells with which probability the policy chose each action of the next step.

        Args:
            propensities: shape (num_envs,), in (0, 1], or nan where it is not known.
        """
        self._recorder.offer(propensities)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the talks (with a `reset_mask` among the options: some); episodes that were going on stay unfinished."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._open(self._split(infos))
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Takes a turn in every talk; all of them are on disk when this returns."""
        recorder = self._recorder
        offered = recorder.ready()
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        over = np.logical_or(terminated, truncated)
        split = self._split(infos)
        last = [info.get("final_info", info) for info in split]  # of the step itself, not of a reset that came after it
        recorder.write(
            [
                (place, info, float(rewards[place]), bool(over[place]), offered[place])
                for place, info in enumerate(last)
                if "turn" in info
            ]
        )
        self._open(split)
        return observations, rewards, terminated, truncated, infos

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which goals each talk may choose next, shape (num_envs, number of goals), where the environment tells."""
        return self.env.unwrapped.action_masks()  # type: ignore[attr-defined, no-any-return]

    def _split(self, infos: dict[str, Any]) -> list[dict[str, Any]]:
        return [split_info(infos, place) for place in range(self.num_envs)]

    def _open(self, infos: Sequence[Mapping[str, Any]]) -> None:
        """Begins a talk wherever there is a reset's info."""
        for place, info in enumerate(infos):
            if "episode_seed" in info:
                self._recorder.open(place, info)


def spec_of(env: Any) -> dict[str, JSON]:
    """What `gym.make(**spec)` makes the environment again from, objects named and long lists counted; {} if not made by id."""
    spec = env.unwrapped.spec
    if spec is None:
        return {}
    kwargs = {name: _described(value) for name, value in spec.kwargs.items() if name not in _NOT_THE_EPISODES}
    for name, value in kwargs.items():
        if isinstance(value, list | dict) and len(json.dumps(value)) > MAX_SPEC_CHARS:
            kwargs[name] = f"{len(value)} items"
    return {**kwargs, "id": spec.id}


def _described(value: Any) -> JSON:
    """The value in JSON; objects that JSON cannot hold (a speaker handed in) are named."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, GoalSet | Persona):
        value = value.goals if isinstance(value, GoalSet) else value.facts
    if isinstance(value, Mapping):
        return {str(key): _described(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_described(inner) for inner in value]
    return str(getattr(value, "name", None) or type(value).__name__)

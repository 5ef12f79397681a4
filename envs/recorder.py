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
from convogym.episodes import JSON, SUM_TOLERANCE, check_storable
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


_Choice: TypeAlias = tuple[npt.ArrayLike, str | None]
"""The chance of each action, () or nan where not known, and the name of who chose, where the episode does not say."""
_Choices: TypeAlias = list[tuple[Any, str | None]]


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
        self.choices: _Choices = [((), None)] * places
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
        self.num_actions = len(env.goals.goals)

    def open(self, place: int, opening: Mapping[str, Any]) -> None:
        """An episode begins at a place, with this reset info."""
        self.talks[place] = _Talk(opening)
        self.is_ready = True

    def offer(self, propensities: npt.NDArray[np.float64], chosen_by: Sequence[str | None] | None) -> None:
        shape = (len(self.talks), self.num_actions)
        if propensities.shape != shape:
            raise InputError(f"`propensities` must have shape {shape}, got {propensities.shape}.")
        known = propensities[~np.isnan(propensities).any(axis=1)]
        if not ((known >= 0).all() and (np.abs(known.sum(axis=1) - 1) <= SUM_TOLERANCE).all()):
            raise InputError(f"`propensities` must be at least 0 and sum to 1, or nan where not known, got {known.tolist()}.")
        names = [None] * len(self.talks) if chosen_by is None else list(chosen_by)
        if len(names) != len(self.talks):
            raise InputError(f"`chosen_by` must name who chose in each of {len(self.talks)} talks, got {len(names)} names.")
        for name in names:
            if name is not None:
                check_storable(name, "chosen_by")
        self.choices = list(zip(propensities, names, strict=True))

    def ready(self, actions: Sequence[Any]) -> _Choices:
        """How the actions of the step about to be made were chosen; `ResetNeeded` where it may not be made."""
        if not self.is_ready:
            raise ResetNeeded("call `reset` before `step`: at the beginning, and after a step that could not be recorded.")
        for action, (chances, _) in zip(actions, self.choices, strict=True):
            if len(chances) and not np.isnan(chances).any() and not 0 <= action < len(chances):
                continue  # the environment refuses it
            if len(chances) and chances[action] == 0:
                raise InputError(f"`propensities` gave action {action} no chance, and it was taken.")
        offered, self.choices = self.choices, [((), None)] * len(self.talks)
        return offered

    def write(self, turns: Sequence[tuple[int, Mapping[str, Any], float, bool, _Choice]]) -> None:
        """Puts turns on disk, all or none.

        Args:
            turns: (place, step info, reward, whether it was the episode's last, how its action was chosen) of each.
        """
        ids: dict[int, str] = {}
        try:
            with self.store.transaction():
                records = []
                for place, info, reward, _, choice in turns:
                    ids[place] = self._episode(place)
                    records.append((ids[place], turn_record(info, reward, *choice)))
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

    def set_choice(self, propensities: npt.ArrayLike, chosen_by: str | None = None) -> None:
        """Tells how the action of the next step was chosen.

        Args:
            propensities: probability of each action, shape (n,), summing to 1; nan where not known.
            chosen_by: name of who chose it, where that is not the policy the recorder was told of.
        """
        self._recorder.offer(np.asarray(propensities, dtype=np.float64)[None], [chosen_by])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the environment; an episode that was going on stays unfinished in the store."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._recorder.open(0, info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Takes a turn; it is on disk when this returns."""
        offered = self._recorder.ready([action])
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

    def set_choices(self, propensities: npt.ArrayLike, chosen_by: Sequence[str | None] | None = None) -> None:
        """Tells how the actions of the next step were chosen.

        Args:
            propensities: probability of each action in each talk, shape (num_envs, n), rows summing to 1; a row of nan where
                they are not known.
            chosen_by: for each talk the name of who chose, None where that is the policy the recorder was told of.
        """
        self._recorder.offer(np.asarray(propensities, dtype=np.float64), chosen_by)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Resets the talks (with a `reset_mask` among the options: some); episodes that were going on stay unfinished."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._open(self._split(infos))
        return observations, infos

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Takes a turn in every talk; all of them are on disk when this returns."""
        recorder = self._recorder
        offered = recorder.ready(list(actions))
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

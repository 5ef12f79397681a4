"""`PersonaChatVectorEnv`: many dialogues of one environment, advanced in one batch per speaker.

A shell over `convogym.envs.talks` that adds what `gymnasium.vector.SyncVectorEnv` of the single form would do: seeds,
autoreset and batched infos, in its layout. Dialogue i of a vector env reset with seed s is that of the single env reset with
seed s + i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from convogym.envs.make import Goals, Personas, check_positive, make_parts
from convogym.envs.observations import Observation
from convogym.envs.persona_chat import RENDER_MODES, check_render_mode
from convogym.envs.rendering import TerminalView, render_image, render_text
from convogym.envs.rewards import NUM_DISTRACTORS, Reader, Reward
from convogym.envs.talks import Opening, Preview, Talk, Talks, read_options
from convogym.errors import InputError, UnknownNameError
from convogym.goals import GoalSet
from convogym.speakers import Speaker

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Batch = Any  # (num_envs, ...) float32 for "embedding", a tuple of texts for "text"


def check_autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """The mode of a name like "SameStep"; raises `UnknownNameError` for any other."""
    if isinstance(mode, AutoresetMode):
        return mode
    names = [known.value for known in AutoresetMode]
    if mode not in names:
        raise UnknownNameError("autoreset mode", str(mode), names)
    return AutoresetMode(mode)


class PersonaChatVectorEnv(VectorEnv[Batch, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """Many dialogues of `PersonaChatEnv` at once; see there for spaces, rewards and infos.

    Batched infos have the layout of `gymnasium.vector.SyncVectorEnv`: `infos[key][i]` where `infos["_" + key][i]`. With
    SAME_STEP autoreset, the default, a dialogue that ends starts anew in the same `step`: its last observation and info are in
    `infos["final_obs"][i]` and `infos["final_info"]`, and its reset info is merged into the infos.
    """

    metadata = {  # noqa: RUF012  # gymnasium.vector.VectorEnv declares it an instance variable
        "render_modes": list(RENDER_MODES),
        "render_fps": 1,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        responder: str | Speaker = "persona-mini",
        goal_speaker: str | Speaker | None = None,
        personas: Personas = "train",
        goals: Goals = "published",
        reward: str | Reward = "identification",
        observation: str = "embedding",
        num_turns: int = 8,
        num_distractors: int = NUM_DISTRACTORS,
        hard_distractors: bool = False,
        mask_repeats: bool = False,
        render_mode: str | None = None,
        reader: Reader | None = None,
        autoreset_mode: str | AutoresetMode = "SameStep",
        max_episode_steps: int | None = None,
        device: str = "cpu",
    ) -> None:
        """Loads what is named and puts the environment together.

        Args:
            num_envs: the number of dialogues, at least 1.
            responder: as in `PersonaChatEnv`, like all up to `reader`.
            goal_speaker: see there.
            personas: see there.
            goals: see there.
            reward: see there.
            observation: see there.
            num_turns: see there.
            num_distractors: see there.
            hard_distractors: see there.
            mask_repeats: see there.
            render_mode: see there; each dialogue is rendered by itself.
            reader: see there.
            autoreset_mode: "SameStep", "NextStep" or "Disabled" (reset with `options={"reset_mask": ...}`).
            max_episode_steps: truncates a dialogue after so many turns, as `TimeLimit` would; None = never.
            device: as in `PersonaChatEnv`.

        Raises:
            InputError: a value cannot be used; `UnknownNameError`, one of its kind, if it is an unknown name.
        """
        check_positive(num_envs, "num_envs")
        if max_episode_steps is not None:
            check_positive(max_episode_steps, "max_episode_steps")
        self.autoreset_mode = check_autoreset_mode(autoreset_mode)
        self.metadata = {**type(self).metadata, "autoreset_mode": self.autoreset_mode}
        self.render_mode = check_render_mode(render_mode)
        self.num_envs = num_envs
        self._max_episode_steps = max_episode_steps
        parts = make_parts(
            responder=responder,
            goal_speaker=goal_speaker,
            personas=personas,
            goals=goals,
            reward=reward,
            observation=observation,
            num_turns=num_turns,
            num_distractors=num_distractors,
            hard_distractors=hard_distractors,
            mask_repeats=mask_repeats,
            reader=reader,
            device=device,
        )
        self._talks = Talks(parts, num_envs)
        self._view = TerminalView()
        self._observations: list[Observation | None] = [None] * num_envs
        self.single_action_space = spaces.Discrete(len(parts.goals))
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.single_observation_space = parts.observer.space
        self.observation_space = batch_space(self.single_observation_space, num_envs)

    @property
    def goals(self) -> GoalSet:
        """What the actions mean."""
        return self._talks.parts.goals

    @property
    def num_turns(self) -> int:
        """Turns until an episode terminates."""
        return self._talks.parts.num_turns

    @property
    def responder_name(self) -> str:
        """What the responder is called in records."""
        return self._talks.parts.responder.name

    @property
    def goal_speaker_name(self) -> str:
        """What the goal speaker is called in records."""
        return self._talks.parts.goal_speaker.name

    @property
    def talks(self) -> list[Talk]:
        """The dialogues as they stand, for reading."""
        return self._talks.talks

    @property  # type: ignore[misc]  # the base class has setters
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]  # as SyncVectorEnv does
        """Each dialogue's generator."""
        return tuple(self._seeded(talk).np_random for talk in self.talks)  # type: ignore[misc]

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]  # as SyncVectorEnv does
        """What each dialogue's generator was made from."""
        return tuple(self._seeded(talk).np_random_seed for talk in self.talks)  # type: ignore[misc]

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Batch, dict[str, Any]]:
        """Starts new dialogues.

        Args:
            seed: s gives dialogue i the seed s + i; a sequence gives one each; None = go on with the generators there are.
            options: those of `PersonaChatEnv.reset`, for every dialogue; and `reset_mask`, a bool array (num_envs,) that says
                which dialogues to reset.
        """
        if seed is None or isinstance(seed, (int, np.integer)):
            seeds: list[int | None] = [None if seed is None else int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise InputError(f"`seed` must be one number or one for each of the {self.num_envs} dialogues, got {len(seeds)}.")
        options = dict(options or {})
        mask = self._check_mask(options.pop("reset_mask", None))
        opening = read_options(options)
        infos: dict[str, Any] = {}
        for i in np.flatnonzero(mask).tolist():
            if seeds[i] is not None:
                self.talks[i].np_random, self.talks[i].np_random_seed = seeding.np_random(seeds[i])
            infos = self._add_info(infos, self._begin(i, opening), i)
        return self._batch(), infos

    def step(self, actions: npt.NDArray[np.int64]) -> tuple[Batch, Floats, Flags, Flags, dict[str, Any]]:
        """Takes one turn in every dialogue.

        Args:
            actions: goal codes, shape (num_envs,); those of dialogues that only restart (NEXT_STEP) count for nothing.

        Raises:
            InputError: there are too many or too few actions, or one is not a goal's code; nothing was said.
            gymnasium.error.ResetNeeded: a dialogue was never begun or, with DISABLED autoreset, is over.
        """
        if len(actions) != self.num_envs:
            raise InputError(
                f"`actions` must have one goal code for each of the {self.num_envs} dialogues, got {len(actions)}."
            )
        codes = [self._talks.check_action(action) for action in actions]
        if any(observation is None for observation in self._observations):
            raise ResetNeeded("cannot step before the first `reset`.")
        going = [i for i in range(self.num_envs) if not (self._is_next_step and self.talks[i].is_over)]
        outcomes = dict(zip(going, self._talks.advance(going, [codes[i] for i in going]), strict=True))
        rewards = np.zeros(self.num_envs, dtype=np.float64)
        terminations = np.zeros(self.num_envs, dtype=np.bool_)
        truncations = np.zeros(self.num_envs, dtype=np.bool_)
        infos: dict[str, Any] = {}
        for i in range(self.num_envs):
            outcome = outcomes.get(i)
            if outcome is None:  # ended in the step before
                infos = self._add_info(infos, self._begin(i, Opening(None, (), None)), i)
                continue
            info = outcome.info
            self._observations[i], rewards[i], terminations[i] = outcome.observation, outcome.reward, outcome.terminated
            truncations[i] = not outcome.terminated and info["turn"] == self._max_episode_steps
            self.talks[i].is_over = bool(terminations[i] or truncations[i])
            self._show(i)
            if self.talks[i].is_over and self.autoreset_mode == AutoresetMode.SAME_STEP:
                infos = self._add_info(infos, {"final_obs": outcome.observation, "final_info": info}, i)
                info = self._begin(i, Opening(None, (), None))
            infos = self._add_info(infos, info, i)
        return self._batch(), rewards, terminations, truncations, infos

    def step_all_actions(self, places: Sequence[int] | None = None) -> list[list[Preview]]:
        """What each goal would bring now, with the draws that `step` would have; changes nothing.

        Args:
            places: which dialogues; None = all.

        Returns:
            For each of these dialogues a preview of every goal, in the goals' order.

        Raises:
            gymnasium.error.ResetNeeded: one of the dialogues is over, or was never begun.
        """
        return self._talks.preview(range(self.num_envs) if places is None else places)

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which goals may be chosen next, shape (num_envs, n)."""
        return np.stack([talk.action_masks() for talk in self.talks])

    def render(self) -> tuple[Any, ...] | None:
        """Each dialogue in the render mode; None for "human", which writes what is new to the terminal."""
        if self.render_mode == "ansi":
            return tuple(render_text(talk) for talk in self.talks)
        if self.render_mode == "rgb_array":
            return tuple(render_image(talk) for talk in self.talks)
        for i in range(self.num_envs):
            self._show(i)
        return None

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Calls a method of every dialogue, or reads its attribute.

        Args:
            name: an attribute of `Talk` ("action_masks", "persona", "utterances", ...), "render", or else one that all
            dialogues share
                ("num_turns", "render_mode", "action_space", ...).
            *args: passed on.
            **kwargs: passed on.
        """
        if name == "render":
            return self.render() or (None,) * self.num_envs
        found = [self._member(talk, name) for talk in self.talks]
        return tuple(each(*args, **kwargs) if callable(each) else each for each in found)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """Reads an attribute of every dialogue; see `call`."""
        return tuple(self._member(talk, name) for talk in self.talks)

    def set_attr(self, name: str, values: Any) -> None:
        """Sets an attribute of the dialogues (of `Talk`).

        Args:
            name: the attribute's name.
            values: a list or tuple with one value for each dialogue, or one value for all.

        Raises:
            InputError: the number of values is wrong, or the dialogues share the attribute.
        """
        if not isinstance(values, (list, tuple)):
            values = [values] * self.num_envs
        if len(values) != self.num_envs:
            raise InputError(f"`values` must hold one value for each of the {self.num_envs} dialogues, got {len(values)}.")
        if not hasattr(self.talks[0], name) and (hasattr(self, name) or hasattr(self, f"single_{name}")):
            raise InputError(f"`{name}` is shared by all dialogues; make the environment with another value instead.")
        for talk, value in zip(self.talks, values, strict=True):
            setattr(talk, name, value)

    @property
    def _is_next_step(self) -> bool:
        return self.autoreset_mode == AutoresetMode.NEXT_STEP

    def _member(self, talk: Talk, name: str) -> Any:
        """What the single environment would have under a name."""
        if name in ("np_random", "np_random_seed"):
            self._seeded(talk)
        if hasattr(talk, name):
            return getattr(talk, name)
        if name == "talk":
            return talk
        return getattr(self, f"single_{name}" if name in ("action_space", "observation_space") else name)

    def _seeded(self, talk: Talk) -> Talk:
        if talk.np_random is None:
            talk.np_random, talk.np_random_seed = seeding.np_random()
        return talk

    def _begin(self, i: int, opening: Opening) -> dict[str, Any]:
        self._seeded(self.talks[i])
        self._observations[i], info = self._talks.begin(i, opening)
        self._show(i)
        return info

    def _check_mask(self, mask: Any) -> Flags:
        if mask is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        shape = (self.num_envs,)
        if not (isinstance(mask, np.ndarray) and mask.dtype == np.bool_ and mask.shape == shape and mask.any()):
            raise InputError(
                f"`options['reset_mask']` must be a bool array of shape {shape} with at least one True, got {mask!r}."
            )
        return mask

    def _batch(self) -> Batch:
        """The dialogues' observations as one new batch; those never begun are zeros."""
        empty = self._empty_batch()
        rows = [empty[i] if each is None else each for i, each in enumerate(self._observations)]
        return concatenate(self.single_observation_space, rows, self._empty_batch())

    def _empty_batch(self) -> Any:
        return create_empty_array(self.single_observation_space, n=self.num_envs, fn=np.zeros)

    def _show(self, i: int) -> None:
        if self.render_mode == "human":
            self._view.show(self.talks[i], f"dialogue {i}\n" if self.num_envs > 1 else "")

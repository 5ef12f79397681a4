"""Talks side by side: how they start, and how a turn is taken in many of them at once. Knows nothing of spaces or autoreset.

Both environments are thin shells over `Talks`: one talk, or many with autoreset. All randomness of an episode comes from its
`episode_seed`: each draw has its own generator, keyed by what it is for and by the turn. So an episode can be repeated from
that number, a talk does not depend on those beside it, and a turn that failed (a served model that did not answer) can be
tried again.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium.error import ResetNeeded

from convogym.dialogue import MAX_UTTERANCE_CHARS, Persona, check_text
from convogym.envs.observations import Observation, Observer, Seen
from convogym.envs.rewards import Facts, Reward, Scene, same_text
from convogym.errors import InputError, UnknownNameError
from convogym.goals import GoalSet
from convogym.speakers import Request, Speaker, Utterance, exchange

RESET_OPTIONS = ("persona", "history", "episode_seed")
RESET_INFO = ("persona", "history", "episode_seed", "action_mask")
PREVIEW_ROWS = 64  # turns previewed in one batch, where there are not more talks; each needs a cache of its own
MAX_EPISODE_SEED = 2**63 - 1  # fits int64, which is what a vector env and SQLite store

# First numbers of the keys of an episode's generators; never 0, which a numpy SeedSequence does not tell from nothing.
_PERSONA, _LINE, _REPLY = 1, 2, 3


@dataclass(frozen=True)
class Parts:
    """What an environment is put together from."""

    goal_speaker: Speaker
    """says the lines"""
    responder: Speaker
    """says the replies; may be the same object"""
    personas: tuple[Persona, ...]
    """where the responder's persona is drawn from"""
    goals: GoalSet
    """what the actions mean"""
    reward: Reward
    """scores the turns"""
    observer: Observer
    """makes the observations"""
    num_turns: int
    """turns until a talk terminates, >= 1"""
    mask_repeats: bool = False
    """whether the action mask leaves out goals already taken, as long as others are left"""

    def __post_init__(self) -> None:
        """Checks what the strings above say."""
        if self.num_turns < 1:
            raise InputError(f"`num_turns` must be at least 1, got {self.num_turns}.")
        if not self.personas:
            raise InputError("`personas` must hold at least one persona, got none.")


class TakenTurn(NamedTuple):
    """A turn that was taken, as renderers show it."""

    goal: str
    line: str
    reply: str
    reward: float


@dataclass
class Talk:
    """One talk and all that belongs to it; starts empty, unfit to be continued until it is begun."""

    slot: int
    """which place it has among the talks beside it, 0.."""
    num_goals: int
    """how many goals there are to choose from"""
    feature_size: int
    """length of the responder's features"""
    mask_repeats: bool
    """whether taken goals are masked"""
    np_random: np.random.Generator | None = None
    """draws the `episode_seed` of the next episode; set by the environment"""
    np_random_seed: int | None = None
    """what `np_random` was made from; -1 = unknown"""
    episode_seed: int = 0
    """all the randomness of this episode"""
    persona: Facts = ()
    """the responder's facts"""
    history: tuple[str, ...] = ()
    """what was said before the first turn, given at reset"""
    utterances: tuple[str, ...] = ()
    """all that was said, `history` included"""
    line_goals: tuple[str | None, ...] = ()
    """goal of every line in `utterances`; None for the lines of `history`"""
    turns: tuple[TakenTurn, ...] = ()
    """the turns taken"""
    goal_counts: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """shape (num_goals,): how often each goal was taken"""
    state: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """shape (feature_size,): mean features of the replies so far, zeros before the first"""
    memories: list[Any] = field(default_factory=list)
    """what the reward terms remember"""
    is_over: bool = True
    """whether it must be begun anew before its next turn"""

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which goals may be chosen next, shape (num_goals,); never none of them."""
        if self.mask_repeats and (self.goal_counts == 0).any():
            return np.asarray(self.goal_counts == 0)
        return np.ones(self.num_goals, dtype=np.bool_)

    def int_mask(self) -> npt.NDArray[np.int8]:
        """The same as int8, which `Discrete.sample(mask=...)` takes."""
        return self.action_masks().astype(np.int8)


class Outcome(NamedTuple):
    """What one turn of one talk came to."""

    observation: Observation
    reward: float
    terminated: bool
    info: dict[str, Any]


class Preview(NamedTuple):
    """What a turn would come to if it were taken now."""

    line: str
    reply: str
    reward: float
    reward_terms: dict[str, float]
    """each term without its weight"""
    state: npt.NDArray[np.float32]
    """shape (feature_size,): mean features of the replies, this one included"""


class Opening(NamedTuple):
    """The checked options of a reset."""

    persona: Facts | None
    history: tuple[str, ...]
    episode_seed: int | None


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise InputError(f"`options[{name!r}]` must be a list of texts, got {type(value).__name__}.")
    return tuple(value)


def read_options(options: Mapping[str, Any] | None) -> Opening:
    """Checks the `options` of a reset.

    Args:
        options: `persona` (facts, or a `Persona`), `history` (utterances, the goal speaker's first, even in number) and
            `episode_seed` (repeats the episode whose reset info had it); None = none.

    Raises:
        UnknownNameError: there is another option.
        InputError: one of them cannot be used.
    """
    options = options or {}
    for name in options:
        if name not in RESET_OPTIONS:
            raise UnknownNameError("reset option", str(name), RESET_OPTIONS)
    persona, history, seed = (options.get(name) for name in RESET_OPTIONS)
    facts = None
    if persona is not None:
        facts = persona.facts if isinstance(persona, Persona) else Persona(_texts(persona, "persona")).facts
    said = () if history is None else _texts(history, "history")
    for text in said:
        check_text(text, "an utterance of the history", MAX_UTTERANCE_CHARS)
    if len(said) % 2:
        raise InputError(f"`options['history']` must end with a reply, so be even in number, got {len(said)} utterances.")
    if seed is not None and not (isinstance(seed, (int, np.integer)) and 0 <= seed <= MAX_EPISODE_SEED):
        raise InputError(f"`options['episode_seed']` must be a whole number in 0..{MAX_EPISODE_SEED}, got {seed!r}.")
    return Opening(facts, said, None if seed is None else int(seed))


class Talks:
    """Any number of talks that share speakers, personas and reward."""

    def __init__(self, parts: Parts, number: int) -> None:
        """Makes `number` talks, none of them begun."""
        self.parts = parts
        self.talks = [Talk(slot, len(parts.goals), parts.responder.feature_size, parts.mask_repeats) for slot in range(number)]

    def begin(self, slot: int, opening: Opening) -> tuple[Observation, dict[str, Any]]:
        """Starts a talk; its `np_random` must be set.

        Returns:
            The first observation and the info, with the keys of `RESET_INFO`.
        """
        talk, parts = self.talks[slot], self.parts
        assert talk.np_random is not None, "the environment sets it"
        seed = int(talk.np_random.integers(MAX_EPISODE_SEED))  # drawn even if not used: the next episodes stay the same
        talk.episode_seed = seed if opening.episode_seed is None else opening.episode_seed
        drawn = parts.personas[np.random.default_rng([talk.episode_seed, _PERSONA]).integers(len(parts.personas))]
        talk.persona = drawn.facts if opening.persona is None else opening.persona
        talk.history = talk.utterances = opening.history
        talk.line_goals = (None,) * (len(opening.history) // 2)
        talk.turns = ()
        talk.goal_counts = np.zeros(talk.num_goals, dtype=np.int64)
        talk.state = np.zeros(talk.feature_size, dtype=np.float32)
        talk.memories = parts.reward.begin(talk.persona, talk.episode_seed)
        talk.is_over = False
        info = (talk.persona, talk.history, talk.episode_seed, talk.int_mask())
        return self.observe(slot), dict(zip(RESET_INFO, info, strict=True))

    def observe(self, slot: int) -> Observation:
        """A new observation of a talk."""
        return self._observed([self.talks[slot]])[0]

    def _observed(self, talks: Sequence[Talk]) -> list[Observation]:
        reward = self.parts.reward
        return self.parts.observer.observe(
            [
                Seen(
                    talk.state,
                    len(talk.turns),
                    talk.goal_counts,
                    talk.utterances,
                    reward.belief(talk.memories),
                    talk.line_goals,
                )
                for talk in talks
            ]
        )

    def check_action(self, action: Any) -> int:
        """The action as an int; raises `InputError` naming the range if it is none of it."""
        try:
            code = operator.index(action)
        except TypeError:
            code = -1
        if not 0 <= code < len(self.parts.goals):
            raise InputError(f"`action` must be a whole number in 0..{len(self.parts.goals) - 1}, got {action!r}.")
        return code

    def advance(self, slots: Sequence[int], actions: Sequence[int]) -> list[Outcome]:
        """Takes one turn in each of some talks: all lines are spoken, then all replies, then all turns are scored.

        Args:
            slots: which talks, all different.
            actions: the checked goal code for each of them.

        Returns:
            What each turn came to, in order. Should a speaker raise, no talk has changed.

        Raises:
            ResetNeeded: one of the talks is over or was never begun.
        """
        if not slots:
            return []
        talks = [self.talks[slot] for slot in slots]
        if any(talk.is_over for talk in talks):
            raise ResetNeeded("a talk that is over or has not begun cannot take a turn: call `reset` first.")
        goals = [self.parts.goals.text(action) for action in actions]
        taken = self._taken(talks, goals, [0] * len(talks), [talk.memories for talk in talks])
        return self._commit(talks, actions, taken)

    def preview(self, slots: Sequence[int]) -> list[list[Preview]]:
        """What each goal would bring in some talks, with the very draws that a turn taken now would have. No talk changes.

        Args:
            slots: which talks, all different.

        Returns:
            For each talk one preview a goal, in the goals' order.

        Raises:
            ResetNeeded: one of the talks is over or was never begun.
        """
        if not slots:
            return []
        talks = [self.talks[slot] for slot in slots]
        if any(talk.is_over for talk in talks):
            raise ResetNeeded("a talk that is over or has not begun has no next turn to preview: call `reset` first.")
        goals = self.parts.goals.goals
        found: list[list[Preview]] = [[] for _ in talks]
        together = max(1, PREVIEW_ROWS // len(talks))  # goals in one batch
        for first in range(0, len(goals), together):
            asked = [
                (place, goal, block)
                for block, goal in enumerate(goals[first : first + together])
                for place in range(len(talks))
            ]
            taken = self._taken(
                [talks[place] for place, _, _ in asked],
                [goal for _, goal, _ in asked],
                [block for _, _, block in asked],
                [deepcopy(talks[place].memories) for place, _, _ in asked],
            )
            for (place, _, _), (scene, line, reply, values) in zip(asked, taken, strict=True):
                found[place].append(Preview(line.text, reply.text, self.parts.reward.total(values), values, scene.state))
        return found

    def _taken(
        self, talks: Sequence[Talk], goals: Sequence[str], blocks: Sequence[int], memories: Sequence[list[Any]]
    ) -> list[tuple[Scene, Utterance, Utterance, dict[str, float]]]:
        """Lets the speakers take a turn in each talk and scores it; changes the memories alone.

        Args:
            talks: may come more than once, in different blocks.
            goals: of each turn.
            blocks: which of a talk's slots among the speakers, 0..; a speaker keeps what it computed for a slot.
            memories: the reward terms', to be changed.

        Returns:
            Of each turn what it was, line, reply and the values of the reward terms.
        """
        parts = self.parts
        rows = list(zip(talks, goals, blocks, strict=True))
        lines, replies = exchange(
            parts.goal_speaker,
            parts.responder,
            [self._line_request(talk, goal, block) for talk, goal, block in rows],
            lambda place, line: self._reply_request(rows[place][0], line, rows[place][2]),
        )
        return self._scored(talks, goals, lines, replies, memories)

    def line_request(self, slot: int, action: int, attempt: int = 0) -> Request:
        """What the goal speaker is asked for next in a talk.

        Args:
            slot: which talk.
            action: the checked goal code.
            attempt: how many other lines were asked for at this turn before; attempts differ in their noise alone.
        """
        return self._line_request(self.talks[slot], self.parts.goals.text(action), 0, attempt)

    def reply_request(self, slot: int, line: str, attempt: int = 0) -> Request:
        """What the responder is asked for after a line; `attempt` as above."""
        return self._reply_request(self.talks[slot], line, 0, attempt)

    def take(
        self, slots: Sequence[int], actions: Sequence[int], lines: Sequence[Utterance], replies: Sequence[Utterance]
    ) -> list[Outcome]:
        """Takes one turn in each of some talks, whose line and reply are known; they are scored together.

        Args:
            slots: which talks, all different, none of them over.
            actions: the checked goal code for each of them.
            lines: what the goal speaker said in each.
            replies: what the responder answered.
        """
        talks = [self.talks[slot] for slot in slots]
        goals = [self.parts.goals.text(action) for action in actions]
        taken = self._scored(talks, goals, lines, replies, [talk.memories for talk in talks])
        return self._commit(talks, actions, taken)

    def _scored(
        self,
        talks: Sequence[Talk],
        goals: Sequence[str],
        lines: Sequence[Utterance],
        replies: Sequence[Utterance],
        memories: Sequence[list[Any]],
    ) -> list[tuple[Scene, Utterance, Utterance, dict[str, float]]]:
        """Scores what was said in each talk; changes the memories alone. Gives scene, line, reply and the terms' values."""
        scenes = [
            Scene(
                talk.persona,
                (talk.utterances or ("",))[-1],
                goal,
                line.text,
                reply.text,
                talk.utterances[1::2],
                np.asarray(talk.state + (reply.features - talk.state) / (len(talk.turns) + 1), dtype=np.float32),
                talk.utterances,
            )
            for talk, goal, line, reply in zip(talks, goals, lines, replies, strict=True)
        ]
        values = self.parts.reward.score(scenes, memories)
        return list(zip(scenes, lines, replies, values, strict=True))

    def _noise(self, talk: Talk, purpose: int, length: int, attempt: int) -> npt.NDArray[np.float64]:
        """All the noise of one utterance, so that what is drawn never depends on how long utterances are."""
        again = (attempt,) if attempt else ()
        return np.random.default_rng([talk.episode_seed, purpose, len(talk.turns) + 1, *again]).random(length)

    def _line_request(self, talk: Talk, goal: str, block: int, attempt: int = 0) -> Request:
        noise = self._noise(talk, _LINE, self.parts.goal_speaker.max_tokens, attempt)
        return Request(2 * (talk.slot + block * len(self.talks)), (), talk.utterances, (*talk.line_goals, goal), noise)

    def _reply_request(self, talk: Talk, line: str, block: int, attempt: int = 0) -> Request:
        noise = self._noise(talk, _REPLY, self.parts.responder.max_tokens, attempt)
        return Request(2 * (talk.slot + block * len(self.talks)) + 1, talk.persona, (*talk.utterances, line), (), noise)

    def _commit(
        self,
        talks: Sequence[Talk],
        actions: Sequence[int],
        taken: Sequence[tuple[Scene, Utterance, Utterance, dict[str, float]]],
    ) -> list[Outcome]:
        told = [self._enter(talk, action, *each) for talk, action, each in zip(talks, actions, taken, strict=True)]
        observations = self._observed(talks)
        return [
            Outcome(observation, reward, talk.is_over, info)
            for talk, observation, (reward, info) in zip(talks, observations, told, strict=True)
        ]

    def _enter(
        self, talk: Talk, action: int, scene: Scene, line: Utterance, reply: Utterance, values: dict[str, float]
    ) -> tuple[float, dict[str, Any]]:
        """Makes a turn part of a talk; gives its reward and info."""
        reward = self.parts.reward.total(values)
        talk.utterances = (*talk.utterances, line.text, reply.text)
        talk.line_goals = (*talk.line_goals, scene.goal)
        talk.turns = (*talk.turns, TakenTurn(scene.goal, line.text, reply.text, reward))
        talk.goal_counts[action] += 1
        talk.state = scene.state
        talk.is_over = len(talk.turns) >= self.parts.num_turns
        info = {
            "turn": len(talk.turns),
            "action": action,
            "goal": scene.goal,
            "line": line.text,
            "reply": reply.text,
            "reward_terms": values,
            "faults": {
                "line_empty": line.is_empty,
                "reply_empty": reply.is_empty,
                "cut_off": line.is_cut_off or reply.is_cut_off,
                "repeated": any(same_text(reply.text, earlier) for earlier in scene.earlier_replies),
                "context_dropped": line.is_context_dropped or reply.is_context_dropped,
            },
            "line_log_prob": float(line.log_prob),
            "reply_log_prob": float(reply.log_prob),
            "line_tokens": line.tokens,
            "reply_tokens": reply.tokens,
            "persona": talk.persona,
            "action_mask": talk.int_mask(),
        }
        return reward, info

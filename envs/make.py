"""Puts an environment together from names and plain values.

The only module of `convogym.envs` that reaches for `convogym.agents`: inside functions and only for names, so who passes
objects never loads a model here.
"""

from __future__ import annotations

import functools
import multiprocessing
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from convogym.dialogue import Persona
from convogym.envs.observations import OBSERVATIONS, Observer, make_observer
from convogym.envs.reply_states import Encode, EncodedObserver, TokensObserver
from convogym.envs.rewards import Identification, Reader, Reward, Scorer, build_reward, parse_reward
from convogym.envs.talks import Parts
from convogym.errors import InputError, UnknownNameError
from convogym.goals import DEFAULT_GOALS, GoalSet
from convogym.speakers import Speaker

SENTENCES = "sentence-transformers"
SENTENCE_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"  # the package's own usual choice

Personas = str | Sequence[Persona | Sequence[str]]
Goals = str | GoalSet | Sequence[str]


def check_positive(value: Any, name: str) -> None:
    """Refuses what is not a whole number of at least 1; `name` is for the message."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"`{name}` must be a whole number, at least 1, got {value!r}.")


def resolve_speakers(
    responder: str | Speaker, goal_speaker: str | Speaker | None, device: str = "cpu"
) -> tuple[Speaker, Speaker]:
    """The goal speaker and the responder.

    Args:
        responder: a model name, or a speaker.
        goal_speaker: the same; None = the responder for both sides, which begins replies before all lines are said.
        device: where what is named is computed.
    """
    answers = _load(responder, device).responder() if isinstance(responder, str) else responder
    if goal_speaker is None or goal_speaker == responder:
        return answers, answers
    return (_load(goal_speaker, device).goal_speaker() if isinstance(goal_speaker, str) else goal_speaker), answers


class _Model(Protocol):
    """What `convogym.agents.loading.load_to_speak` returns, as far as it matters here."""

    def goal_speaker(self) -> Speaker:
        """The model as speaker 1."""

    def responder(self) -> Speaker:
        """The model as speaker 2."""


def _load(name: str, device: str) -> _Model:
    from convogym.agents.loading import load_to_speak

    if multiprocessing.parent_process() is not None:
        warnings.warn(
            f"{name!r} is loaded in a child process: with AsyncVectorEnv or SubprocVecEnv every environment holds its own "
            "copy of the model. PersonaChatVectorEnv (vectorization_mode='vector_entry_point') runs all dialogues on one.",
            RuntimeWarning,
            stacklevel=4,
        )
    return cast(_Model, load_to_speak(name, device))


def resolve_personas(personas: Personas) -> tuple[Persona, ...]:
    """The personas of a split's name ("train", "held-out"), of a file's path, or those given."""
    if isinstance(personas, str):
        from convogym.personas import load_personas

        return tuple(load_personas(personas))
    return tuple(each if isinstance(each, Persona) else _persona(each) for each in personas)


def _persona(facts: Sequence[str]) -> Persona:
    if isinstance(facts, str):
        raise InputError(
            f"`personas` must be a name, or a list of personas that are lists of facts, got the fact {facts[:60]!r}."
        )
    return Persona(tuple(facts))


def resolve_goals(goals: Goals) -> GoalSet:
    """The goal set of a name ("published"), of a list of goal texts, or the one given; "taught" needs `taught_goals`."""
    if isinstance(goals, GoalSet):
        return goals
    if isinstance(goals, str):
        if goals != "published":
            raise UnknownNameError("goal set", goals, ("published", "taught"))
        return DEFAULT_GOALS
    return GoalSet(tuple(goals), {alias: goal for alias, goal in DEFAULT_GOALS.aliases.items() if goal in goals})


def taught_goals(goal_speaker: Speaker) -> GoalSet:
    """The published goals and those that a goal speaker was taught; their codes go on from the published ones'.

    Raises:
        InputError: it was taught none.
    """
    taught: Sequence[str] = getattr(goal_speaker, "taught", ())
    if not taught:
        raise InputError(
            f"`goals='taught'` needs a goal speaker that was taught goals, {goal_speaker.name} was not: `convogym teach`."
        )
    return DEFAULT_GOALS.extended(*taught)


def resolve_reader(reader: Reader | None) -> Reader:
    """The judge and matcher given, or those that come with the project."""
    if reader is not None:
        return reader
    from convogym.agents.reader import load_reader

    return cast(Reader, load_reader())


def check_observation(observation: str) -> None:
    """Refuses an observation that there is not; what comes after a colon is the encoder's name."""
    name, _, encoder = observation.partition(":")
    if name not in OBSERVATIONS or (encoder and name not in (SENTENCES, "ranking")):
        raise UnknownNameError("observation", observation, OBSERVATIONS)
    if name == "ranking" and not encoder:
        raise InputError("`observation='ranking:FOLDER'` needs the folder that `convogym fit-state` wrote.")


def resolve_observer(observation: str, responder: Speaker, goals: Sequence[str], num_turns: int) -> Observer:
    """The observer of a name; see `PersonaChatEnv`.

    Raises:
        UnknownNameError: there is no such observation.
        InputError: it needs a language model as responder, a folder, or a package that is not installed.
    """
    check_observation(observation)
    name, _, encoder = observation.partition(":")
    if name in ("last-token", "ranking", "tokens"):
        model = getattr(responder, "model", None)
        if model is None:
            raise InputError(f"`observation={name!r}` needs a language model as responder, got {responder.name!r}.")
        if name == "tokens":
            return TokensObserver(model.tokenizer.encode, model.tokenizer.eos, len(model.tokenizer))
        if name == "ranking":
            from convogym.agents.ranking_state import RankingHead, ranking_states

            head = RankingHead.load(Path(encoder), responder.feature_size)
            return EncodedObserver(ranking_states(responder.embed, head), responder.feature_size, len(goals), num_turns)
        from convogym.agents.last_state import last_states

        return EncodedObserver(last_states(model), responder.feature_size, len(goals), num_turns)
    if name == SENTENCES:
        encode, size = load_sentence_encoder(encoder or SENTENCE_ENCODER)
        return EncodedObserver(encode, size, len(goals), num_turns)
    return make_observer(name, responder.feature_size, goals, num_turns)


def load_sentence_encoder(name: str) -> tuple[Encode, int]:
    """An encoder of the sentence-transformers package, and the length of its vectors.

    Args:
        name: of the hub, or a folder.

    Raises:
        InputError: the package is not installed, or there is no such encoder.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as problem:
        raise InputError(
            "`observation='sentence-transformers'` needs the package of that name: pip install 'convogym[sentences]'."
        ) from problem
    try:
        encoder = SentenceTransformer(name, device="cpu")
    except (OSError, ValueError) as problem:
        raise InputError(f"expected a sentence encoder, a folder or a hub id, got {name!r}: {problem}.") from problem

    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.asarray(encoder.encode(list(texts), show_progress_bar=False), np.float32)

    return encode, int(encoder.get_sentence_embedding_dimension())


def load_scorer() -> Scorer:
    """The language model that comes with the project, as the judge of replies, whoever speaks."""
    from convogym.agents.reply_likelihood import load_scorer as load

    return load()


def make_parts(
    *,
    responder: str | Speaker,
    goal_speaker: str | Speaker | None,
    personas: Personas,
    goals: Goals,
    reward: str | Reward,
    observation: str,
    num_turns: int,
    num_distractors: int,
    hard_distractors: bool,
    mask_repeats: bool,
    reader: Reader | None,
    device: str = "cpu",
) -> Parts:
    """Resolves every name and checks every value; the arguments are those of `PersonaChatEnv`."""
    goal_set = None if goals == "taught" else resolve_goals(goals)
    check_positive(num_turns, "num_turns")
    check_positive(num_distractors, "num_distractors")
    check_observation(observation)  # names are checked before models are loaded
    if not isinstance(reward, Reward):
        parse_reward(reward)
    pool = resolve_personas(personas)
    asks, answers = resolve_speakers(responder, goal_speaker, device)
    goal_set = goal_set or taught_goals(asks)
    if not isinstance(reward, Reward):
        reward = build_reward(
            reward,
            personas=pool,
            goals=goal_set,
            embed=answers.embed,
            reader=functools.cache(lambda: resolve_reader(reader)),
            scorer=functools.cache(load_scorer),
            num_distractors=num_distractors,
            hard_distractors=hard_distractors,
        )
    if observation == "belief" and not any(isinstance(term, Identification) for _, term in reward.terms):
        raise InputError("`observation='belief'` shows what the judge of `identification` believes: have it in `reward`.")
    return Parts(
        goal_speaker=asks,
        responder=answers,
        personas=pool,
        goals=goal_set,
        reward=reward,
        observer=resolve_observer(observation, answers, goal_set.goals, num_turns),
        num_turns=num_turns,
        mask_repeats=mask_repeats,
    )

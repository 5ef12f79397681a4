"""A person talks with a persona bot, or steers an interview by picking goals; the two modes of the published PersonaGPT.

What a person types is text and nothing else. A turn is in the store, if there is one, before the next begins; who leaves (end
of input, Ctrl-C) loses nothing but the turn in progress.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from convogym.dialogue import MAX_FACT_CHARS, MAX_FACTS, MAX_UTTERANCE_CHARS, Persona, check_text
from convogym.envs.recorder import RecordEpisodes
from convogym.episodes import TurnRecord
from convogym.errors import InputError
from convogym.policies.base import PolicyLeft
from convogym.policies.human import HumanPolicy
from convogym.speakers import HUMAN, Request, Speaker
from convogym.text import printable

if TYPE_CHECKING:
    from convogym.store import EpisodeStore

MODES = ("talk", "steer")
FREE_TALK = "talk freely."  # the one goal of a recorded talk that nobody steered
_LONGEST_LINE = 65_536  # characters read of a typed line; what is beyond is thrown away, whatever its length
_MAX_PERSONA_BYTES = 4 * MAX_FACTS * (MAX_FACT_CHARS + 2)

Read = Callable[[str], str]
"""Shows a prompt and gives back one line; raises `EOFError` at the end of input."""
Say = Callable[[str], None]
"""Shows one or more lines."""


@dataclass
class Chat:
    """What was said."""

    persona: tuple[str, ...]
    """the bot's facts"""
    turns: list[dict[str, Any]] = field(default_factory=list)
    """`line` and `reply` of each turn, and where it was steered `goal` and `reward`"""
    left: bool = False
    """whether the person left before the last turn"""
    episode: str | None = None
    """its id in the store; None where nothing was stored"""


def read_persona(path: Path) -> Persona:
    """The persona in a text file with one fact in each line; blank lines do not count.

    Raises:
        InputError: it is not such a file, or not a persona.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        raw = file.read(_MAX_PERSONA_BYTES + 1)
    if len(raw) > _MAX_PERSONA_BYTES:
        raise InputError(f"{path}: expected a text file with one fact in each line, got more than {_MAX_PERSONA_BYTES} bytes.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8, {error}.") from error
    try:
        return Persona(tuple(line.strip() for line in text.splitlines() if line.strip()))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def reader_of(stream: IO[str], prompts: IO[str]) -> Read:
    """Reads what a person types.

    Args:
        stream: where they type.
        prompts: where they are asked; only if somebody sits there, not in a pipe.
    """
    is_terminal = stream.isatty()
    if is_terminal and (stream, prompts) == (sys.stdin, sys.stdout):
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # gives `input` its editing keys
        return input
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="replace")  # bytes that are no text

    def read(prompt: str) -> str:
        if is_terminal:
            prompts.write(prompt)
            prompts.flush()
        line = part = stream.readline(_LONGEST_LINE)
        if not line:
            raise EOFError
        while part and not part.endswith("\n"):
            part = stream.readline(_LONGEST_LINE)
        return line.rstrip("\r\n")

    return read


def talk(
    responder: Speaker,
    persona: Persona,
    read: Read,
    say: Say,
    *,
    turns: int = 8,
    seed: int = 0,
    store: EpisodeStore | None = None,
) -> Chat:
    """A person says the lines, a speaker in the character of a persona the replies.

    Args:
        responder: who replies.
        persona: its facts.
        read: gets the person's lines.
        say: shows the replies, and what is wrong with a line.
        turns: after how many it ends.
        seed: of the replies: the same seed and lines give the same talk.
        store: where the talk is recorded, as an episode with the one goal `FREE_TALK`; None = nowhere.

    Raises:
        OSError: the turn could not be stored; the ones before it are.
    """
    chat = Chat(persona.facts)
    said: list[str] = []
    for turn in range(1, turns + 1):
        noise = np.random.default_rng([seed, turn]).random(responder.max_tokens)
        try:
            line, reply = _answered(responder, persona, said, noise, read, say)
        except (EOFError, KeyboardInterrupt):
            chat.left = True
            break
        said += [line, reply.text]
        chat.turns.append({"line": line, "reply": reply.text})
        if store is not None:
            faults = {
                "line_empty": False,
                "reply_empty": reply.is_empty,
                "cut_off": reply.is_cut_off,
                "context_dropped": reply.is_context_dropped,
            }
            with store.transaction():
                if chat.episode is None:
                    chat.episode = store.begin(
                        policy=HUMAN,
                        responder=responder.name,
                        goal_speaker=HUMAN,
                        persona=persona.facts,
                        goals=(FREE_TALK,),
                        seed=seed,
                    )
                record = TurnRecord(
                    turn=turn,
                    action=0,
                    goal=FREE_TALK,
                    line=line,
                    reply=reply.text,
                    reward=0.0,
                    reward_terms={},
                    faults=faults,
                    line_log_prob=0.0,
                    reply_log_prob=reply.log_prob,
                )
                store.append(chat.episode, record)
                if turn == turns:
                    store.finish(chat.episode)
        say(f"b: {printable(reply.text)}")
    return chat


def _answered(responder: Speaker, persona: Persona, said: Sequence[str], noise: Any, read: Read, say: Say) -> tuple[str, Any]:
    """A line that can be answered, asked for until there is one, and the answer."""
    while True:
        line = read("a: ")
        if not line.strip():
            continue
        try:
            check_text(line, "a line", MAX_UTTERANCE_CHARS)
            line.encode()
            [reply] = responder.speak([Request(1, persona.facts, (*said, line), (), noise)])
        except InputError as error:
            say(f"{printable(str(error))} Type another line.")
        except UnicodeEncodeError:
            say("a line must be text that UTF-8 can hold. Type another line.")
        else:
            return line, reply


def steer(
    env: Any,
    persona: Persona | None,
    read: Read,
    say: Say,
    *,
    seed: int = 0,
    store: EpisodeStore | None = None,
) -> Chat:
    """A person picks the goal of every line; the models say lines and replies.

    Args:
        env: the single environment.
        persona: the responder's; None = one of the environment's, drawn by the seed.
        read: gets the person's choices: a goal's number, or the beginning of its text.
        say: shows goals, lines, replies and rewards.
        seed: of the episode.
        store: where it is recorded; None = nowhere.

    Raises:
        OSError: the turn could not be stored; the ones before it are.
    """
    recorder = None if store is None else RecordEpisodes(env, store, HUMAN)
    world = env if recorder is None else recorder
    options = {} if persona is None else {"persona": list(persona.facts)}
    observation, info = world.reset(seed=seed, options=options)
    chat = Chat(tuple(info["persona"]))
    say("persona: " + " ".join(map(printable, chat.persona)))
    policy = HumanPolicy(env.unwrapped.goals, read=read, write=say)
    is_over = False
    while not is_over:
        try:
            [action], _ = policy.predict(np.asarray(observation)[None], action_masks=info["action_mask"][None])
            observation, reward, terminated, truncated, info = world.step(int(action))
        except (PolicyLeft, KeyboardInterrupt):
            chat.left = True
            break
        is_over = terminated or truncated
        chat.turns.append({"goal": info["goal"], "line": info["line"], "reply": info["reply"], "reward": float(reward)})
        if recorder is not None and recorder.episode_id is not None:
            chat.episode = recorder.episode_id
        say(f"a: {printable(info['line'])}\nb: {printable(info['reply'])}\n   reward {float(reward):+.3f}")
    return chat

"""The terminal's front end to a `Session`: a person talks with a persona bot, or steers an interview by picking goals.

The two modes of the published PersonaGPT. Knows how to ask and show, and what is typed after a slash; what an act does to the
talk is the session's business. A turn is in the store, if there is one, before the next begins; who leaves (end of input,
Ctrl-C) loses nothing but the turn in progress.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from convogym.dialogue import MAX_FACT_CHARS, MAX_FACTS, Persona
from convogym.envs.recorder import spec_of
from convogym.episodes import TurnRecord
from convogym.errors import InputError, UnknownNameError
from convogym.experiments.session import Session, check_typed, free_talk
from convogym.policies.human import understand_goal
from convogym.speakers import Speaker
from convogym.text import printable

if TYPE_CHECKING:
    from convogym.policies.base import Policy
    from convogym.store import EpisodeStore

MODES = ("talk", "steer")
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


# What may be typed after a slash, and what for. A line that begins with two slashes is said with one.
COMMANDS = {
    "undo": "take the last turn back",
    "edit TEXT": "put your words in place of the last reply; the talk goes on from them",
    "other": "hear another reply and choose between the two",
    "rate NUMBER": "mark the last turn; higher is better",
    "rate-talk NUMBER": "mark the whole talk",
    "correct TURN TEXT": "say what the line of an earlier turn should have been; the talk stays as it is",
    "correct-reply TURN TEXT": "the same for its reply",
    "ahead": "what would be said for each goal (steering)",
    "two GOAL": "choose between two lines for a goal (steering)",
    "line GOAL = TEXT": "say your own line for a goal (steering)",
    "policy": "let the policy of --policy take a turn (steering)",
    "end": "end the talk",
    "help": "this list",
}


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
        read: gets the person's lines and commands.
        say: shows the replies, and what is wrong with a line.
        turns: after how many it ends.
        seed: of the replies: the same seed and lines give the same talk.
        store: where the talk is recorded, as an episode with the one goal `FREE_TALK`; None = nowhere.

    Raises:
        OSError: the turn could not be stored; the ones before it are.
    """
    session = Session(free_talk(responder, persona, turns), seed=seed, store=store)

    def turn() -> None:
        line = read("a: ")
        if not line.strip():
            return
        if command := _command(line):
            _obey(session, *command, read, say)
            return
        try:
            line.encode()
            session.say(line.removeprefix("/") if line.startswith("//") else line)
        except InputError as error:
            say(f"{printable(str(error))} Type another line.")
        except UnicodeEncodeError:
            say("a line must be text that UTF-8 can hold. Type another line.")
        else:
            say(f"b: {printable(session.turns[-1].reply)}")

    return _chat(session, turn)


def steer(
    env: Any,
    persona: Persona | None,
    read: Read,
    say: Say,
    *,
    seed: int = 0,
    store: EpisodeStore | None = None,
    approve: bool = False,
    policy: Policy | None = None,
) -> Chat:
    """A person picks the goal of every line; the models say lines and replies.

    Args:
        env: the single environment.
        persona: the responder's; None = one of the environment's, drawn by the seed.
        read: gets the person's choices: a goal's number, or the beginning of its text, or a command.
        say: shows goals, lines, replies and rewards.
        seed: of the episode.
        store: where it is recorded; None = nowhere.
        approve: show every line before it is said: it is accepted, rewritten, or rejected for another.
        policy: who may take turns.

    Raises:
        OSError: the turn could not be stored; the ones before it are.
    """
    options = {} if persona is None else {"persona": list(persona.facts)}
    _, info = env.reset(seed=seed, options=options)
    session = Session(
        env.unwrapped.parts,
        seed=info["episode_seed"],
        persona=Persona(tuple(info["persona"])),
        store=store,
        policy=policy,
        spec=spec_of(env),
    )
    say("persona: " + " ".join(map(printable, session.persona)))

    def turn() -> None:
        say("\n".join(f"{code:3d}  {session.goals.text(code)}" for code in session.allowed))
        before = len(session.turns)
        while len(session.turns) == before and not session.has_ended:
            answer = read("goal> ")
            if command := _command(answer):
                _obey(session, *command, read, say)
                if len(session.turns) != before:
                    return
                continue
            try:
                action = understand_goal(answer, session.goals, session.allowed)
            except InputError as misunderstanding:
                say(printable(str(misunderstanding)))
                continue
            line = _approved(session, action, read, say) if approve else session.propose(action)
            if line is not None:
                _show(session.say(line), say)

    return _chat(session, turn)


def _chat(session: Session, turn: Callable[[], None]) -> Chat:
    """Takes turns until the talk ends or the person leaves."""
    left = False
    try:
        while not session.has_ended:
            turn()
    except (EOFError, KeyboardInterrupt):
        left = True
    return Chat(session.persona, [_told(record, session.is_free) for record in session.turns], left, session.episode)


def _told(record: TurnRecord, is_free: bool) -> dict[str, Any]:
    said = {"line": record.line, "reply": record.reply}
    return said if is_free else {"goal": record.goal, **said, "reward": record.reward}


def _show(record: TurnRecord, say: Say) -> None:
    say(f"a: {printable(record.line)}\nb: {printable(record.reply)}\n   reward {record.reward:+.3f}")


def _approved(session: Session, action: int, read: Read, say: Say) -> str | None:
    """The line that the person lets pass for a goal, theirs or the model's; None = they chose another goal after all."""
    say("Enter says the line, + asks for another, - goes back to the goals; or type the line yourself.")
    while True:
        proposed = session.propose(action)
        say(f"a? {printable(proposed)}")
        answer = read("line> ")
        if answer.strip() in ("", "-"):
            return None if answer.strip() else proposed
        if answer.strip() == "+":
            continue
        try:
            check_typed(answer, "a line")
        except InputError as error:
            say(f"{printable(str(error))} Type another line.")
        else:
            return answer


def _command(typed: str) -> tuple[str, str] | None:
    """The command and its argument that were typed; None where it is plain text."""
    if not typed.startswith("/") or typed.startswith("//"):
        return None
    word, _, rest = typed[1:].strip().partition(" ")
    return word.lower(), rest.strip()


def _obey(session: Session, word: str, rest: str, read: Read, say: Say) -> None:
    """Does what was typed after a slash, and tells what is wrong with it."""
    try:
        _do(session, word, rest, read, say)
    except InputError as error:
        say(printable(str(error)))


def _do(session: Session, word: str, rest: str, read: Read, say: Say) -> None:
    if word == "undo":
        session.undo()
        say(f"taken back; {len(session.turns)} turns are left.")
    elif word == "edit":
        say(f"b: {printable(session.amend(rest).reply)}")
    elif word == "other":
        which = _which(session.other_reply(), read, say)
        say(f"b: {printable(session.prefer_reply(which).reply)}")
    elif word in ("rate", "rate-talk"):
        session.rate(_number(rest), len(session.turns) if word == "rate" else None)
        say("noted.")
    elif word in ("correct", "correct-reply"):
        number, _, text = rest.partition(" ")
        session.correct(int(_number(number)), **{"reply" if word.endswith("reply") else "line": text.strip()})
        say("noted.")
    elif word == "ahead":
        say("\n".join(f"{code:3d}  {printable(line)}" for code, line in session.look_ahead().items()))
    elif word == "two":
        action = understand_goal(rest, session.goals, session.allowed)
        session.prefer(_which(session.compare(action), read, say))
        _show(session.say(), say)
    elif word == "line":
        goal, _, text = rest.partition("=")
        action = understand_goal(goal, session.goals, session.allowed)
        _show(session.say(text.strip(), action), say)
    elif word == "policy":
        _show(session.let_policy(), say)
    elif word == "end":
        session.end()
    elif word == "help":
        say("\n".join(f"/{usage}: {what}" for usage, what in COMMANDS.items()))
    else:
        raise UnknownNameError("command", f"/{word[:40]}", [f"/{usage.split()[0]}" for usage in COMMANDS])


def _which(texts: tuple[str, str], read: Read, say: Say) -> int:
    """Which of two texts the person prefers, 0 or 1."""
    say("\n".join(f"{number}: {printable(text)}" for number, text in enumerate(texts, 1)))
    while (answer := read("1 or 2> ").strip()) not in ("1", "2"):
        say("type 1 or 2.")
    return int(answer) - 1


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"expected a number, got {text[:40]!r}.") from None

"""Many people at once: who they are, their talks, what each may see. Knows sessions and the store; knows nothing of HTTP.

A person is a pseudonym, made from the invite token and from nothing else. Everybody sees their own talks only. All methods may
be called from many threads: a talk does one thing at a time, and the model answers all talks at once: who asks while it speaks
joins before the next token, on CUDA before the next step of up to eight.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from convogym.dialogue import Persona
from convogym.envs.observations import make_observer
from convogym.envs.rewards import Repetition, Reward
from convogym.envs.talks import MAX_EPISODE_SEED, Parts
from convogym.episodes import Episode, TurnRecord, new_id, utc_now
from convogym.errors import InputError
from convogym.experiments.session import FREE_TALK, Session, free_talk
from convogym.goals import DEFAULT_GOALS, GoalSet
from convogym.speakers import GoalJudge, Speaker
from convogym.store import EpisodeStore

CONSENT = (
    "What you type and choose here is recorded on this computer, under a made-up name and without your own, to study "
    "conversations and to train language models. Say nothing about yourself that you would not tell a stranger. You can "
    "download or delete everything you said at any time. The other side is a small language model: what it says is made up."
)
TURNS = 40  # after which a talk ends
MOST_OPEN = 12  # talks of one person in memory; an older one comes back from its record when it is asked for
MOST_WAITING = 8  # acts of one person at one time: whoever sends a hundred would take the threads that serve others
MOST_JUDGED = 50_000  # lines of which is kept whether they followed their goals, those asked about last
LOCAL = "local"  # the pseudonym where there are no tokens and only this computer can connect
TOKEN_BYTES = 16
FEWEST_TOKEN_CHARS = 16  # shorter ones could be guessed


class NotKnown(Exception):
    """Whoever asks has given no valid token."""


class NoConsent(Exception):
    """The person has not agreed yet."""


class Busy(Exception):
    """One person asks too much at once."""


class NotFound(Exception):
    """There is no such thing among those that the person may see."""


def read_tokens(path: Path) -> frozenset[str]:
    """The invite tokens in a text file, one in each line.

    Raises:
        InputError: there is none, or one that could be guessed.
        OSError: the file cannot be read.
    """
    try:
        tokens = frozenset(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected a text file with one token in each line, {error}.") from error
    if not tokens:
        raise InputError(f"{path}: expected one token in each line, found none; make some with --invite.")
    if short := [token for token in tokens if len(token) < FEWEST_TOKEN_CHARS]:
        raise InputError(f"{path}: tokens must have at least {FEWEST_TOKEN_CHARS} characters, {len(short)} have fewer.")
    return tokens


def add_tokens(path: Path, count: int) -> list[str]:
    """Adds fresh tokens to a file, readable by its owner alone if it is new, and returns them."""
    tokens = [secrets.token_urlsafe(TOKEN_BYTES) for _ in range(count)]
    with open(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8") as file:
        file.write("".join(f"{token}\n" for token in tokens))
    return tokens


def pseudonym(token: str) -> str:
    """What the person who has a token is called in records; the token cannot be told from it."""
    return "p-" + hashlib.sha256(b"convogym person " + token.encode()).hexdigest()[:16]


@dataclass
class _Open:
    """A talk that is in memory, or about to be: `session` is then None."""

    session: Session | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass
class _Visitor:
    """What a person is doing."""

    asked: int = 0
    """how many acts are being done or wait"""
    forgetting: threading.Lock = field(default_factory=threading.Lock)
    """held while all that is theirs is deleted: who agrees again meanwhile begins after it"""


@dataclass
class _Day:
    """What was steered on one day."""

    turns: int = 0
    corrected: int = 0
    lines: list[tuple[str, str, str]] = field(default_factory=list)
    """what was said before, the model's line, its goal"""


class Service:
    """People and their talks."""

    def __init__(
        self,
        goal_speaker: Speaker,
        responder: Speaker,
        personas: Sequence[Persona],
        store: EpisodeStore,
        tokens: frozenset[str] | None = None,
        seed: int = 0,
        judge: Callable[[], GoalJudge] | None = None,
    ) -> None:
        """Takes what all talks share.

        Args:
            goal_speaker: proposes lines; may be called from many threads.
            responder: replies; likewise.
            personas: of whom one is drawn where a person names none.
            store: where everything is recorded.
            tokens: who may come in; None = everybody is the one person `LOCAL`.
            seed: of the talks that are begun without one, together with the number of talks in the store.
            judge: loads what says whether lines followed their goals; None = nobody says.
        """
        self._store, self._tokens, self._personas = store, tokens, tuple(personas)
        self._by_pseudonym = {pseudonym(token): token for token in tokens or ()}
        self._consents = Path(f"{store.path}.consents.jsonl")
        self._agreed = _read_consents(self._consents)
        self._judge, self._judging = judge, threading.Lock()
        self._follows: OrderedDict[tuple[str, str, str], bool] = OrderedDict()  # by what was said before, line and goal
        self._open: OrderedDict[tuple[str, str], _Open] = OrderedDict()  # by person and talk
        self._visitors: defaultdict[str, _Visitor] = defaultdict(_Visitor)  # by person
        self._lock = threading.RLock()
        self._places = 0
        self._seeds = np.random.default_rng([seed, store.count()])
        self.speak_with(goal_speaker, responder)

    def speak_with(self, goal_speaker: Speaker, responder: Speaker) -> None:
        """Lets other speakers take part in the talks that begin, or come back to memory, from now on."""
        with self._lock:
            self._goal_speaker, self._responder = goal_speaker, responder
            self.goals = DEFAULT_GOALS.extended(*getattr(goal_speaker, "taught", ()))
            """what lines of new talks can be about"""

    @property
    def needs_token(self) -> bool:
        """Whether people come in by token."""
        return self._tokens is not None

    # --- people -------------------------------------------------------------------------------------------------------------

    def person(self, token: str | None) -> str:
        """The pseudonym of whoever has a token.

        Raises:
            NotKnown: nobody was given it.
        """
        if self._tokens is None:
            return LOCAL
        name = pseudonym(token or "")
        if not token or not secrets.compare_digest(self._by_pseudonym.get(name, "").encode(), token.encode()):
            raise NotKnown("a valid invite token is needed.")
        return name

    def agree(self, person: str) -> None:
        """Records that a person has read and agreed to `CONSENT`; waits while their talks are being deleted.

        Raises:
            Busy: `MOST_WAITING` acts of theirs are being done or wait already.
        """
        if person in self._agreed:
            return
        with self._place_for(person) as visitor, visitor.forgetting, self._lock:
            if person not in self._agreed:
                record = {"person": person, "when": utc_now(), "text": hashlib.sha256(CONSENT.encode()).hexdigest()}
                with self._consents.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                self._agreed.add(person)

    def check_agreed(self, person: str) -> str:
        """The person, unchanged; raises `NoConsent` where they have not agreed."""
        if person not in self._agreed:
            raise NoConsent("please read the text on what is recorded, and agree to it first.")
        return person

    def forget(self, person: str) -> int:
        """Deletes all talks of a person and their consent; returns how many talks there were.

        What is being said is said before; what was asked for after it is refused (`NoConsent`).

        Raises:
            Busy: they are being deleted already.
        """
        with self._lock:
            forgetting = self._visitors[person].forgetting
        if not forgetting.acquire(blocking=False):
            raise Busy("what is recorded of you is being deleted already.")
        try:
            return self._forget(person)
        finally:
            forgetting.release()

    def _forget(self, person: str) -> int:
        with self._lock:
            self._agreed.discard(person)  # from here on no act of theirs begins
            mine = [(key, found) for key, found in self._open.items() if key[0] == person]
        for key, found in mine:
            with found.lock, self._lock:
                self._open.pop(key, None)
        with self._lock:
            deleted = self._store.delete_person(person)
            if self._consents.is_file():
                kept = [row for row in self._consents.read_text("utf-8").splitlines() if _person_of(row) != person]
                scratch = self._consents.with_suffix(".partial")
                scratch.write_text("".join(f"{row}\n" for row in kept), "utf-8")
                os.replace(scratch, self._consents)
        return deleted

    # --- talks --------------------------------------------------------------------------------------------------------------

    def begin(self, person: str, mode: str, facts: Sequence[str] | None, seed: int | None) -> dict[str, Any]:
        """Begins a talk.

        Args:
            person: whose it is.
            mode: "talk": the person says the lines; "steer": they pick the goals.
            facts: the other side's persona; None = one is drawn.
            seed: the talk's; None = drawn.
        """
        persona = Persona(tuple(facts)) if facts else None
        with self._lock:
            drawn = int(self._seeds.integers(MAX_EPISODE_SEED))
        seed = drawn if seed is None else seed
        if mode == "talk":
            persona = persona or self._personas[seed % len(self._personas)]
            parts = free_talk(self._responder, persona, TURNS)
        else:
            parts = self._steered(self.goals)
        talk = new_id()
        session = Session(
            parts, seed=seed, persona=persona, store=self._store, person=person, place=self._next_place(), id=talk
        )
        with self._lock:
            self._open[person, talk] = _Open(session)
            self._make_room(person)
        return self._view(talk, session)

    def act(self, person: str, talk: str, act: Callable[[Session], object]) -> dict[str, Any]:
        """Does something in a talk of a person's, and tells how the talk stands then.

        A talk that is not in memory, because the server was started anew or the person has many, goes on from its record.

        Raises:
            NotFound: the person has no such talk going on.
            Busy: `MOST_WAITING` acts of the person's are being done or wait already.
            InputError: it cannot be done; the talk is as it was.
        """
        with self._session(person, talk) as session:
            result = act(session)
            return {**self._view(talk, session), **({"result": result} if isinstance(result, dict | list) else {})}

    def matching(self, person: str, words: str, only: str) -> Iterator[Episode]:
        """A person's recorded talks, the newest first.

        Args:
            person: whose.
            words: only talks in which this is said, case aside; "" = all.
            only: "corrected", "rated" or "" for all.
        """
        for episode in self._store.episodes(person=person, newest_first=True):
            said = " ".join(f"{turn.line} {turn.reply}" for turn in episode.turns).lower()
            rated = episode.rating is not None or any(turn.rating is not None for turn in episode.turns)
            if words.lower() in said and {"corrected": bool(episode.corrections()), "rated": rated}.get(only, True):
                yield episode

    def transcripts(self, person: str, words: str, only: str) -> list[dict[str, Any]]:
        """Heads of the talks that match; the arguments are those of `matching`."""
        return [
            {
                "episode": episode.id,
                "created": episode.created,
                "turns": len(episode.turns),
                "first_line": episode.turns[0].line if episode.turns else "",
                "corrections": len(episode.corrections()),
                "rating": episode.rating,
                "finished": episode.finished,
                "goes_on": not episode.finished and len(episode.turns) < TURNS,
            }
            for episode in self.matching(person, words, only)
        ]

    def transcript(self, person: str, episode_id: str) -> dict[str, Any]:
        """One recorded talk of a person's; raises `NotFound` where there is none."""
        episode = self._mine(person, episode_id)
        turns = [_turn(record) for record in episode.turns]
        return {"episode": episode.id, "created": episode.created, "persona": list(episode.persona), "turns": turns,
                "rating": episode.rating, "finished": episode.finished}  # fmt: skip

    def correct(self, person: str, episode_id: str, turn: int, line: str | None, reply: str | None) -> dict[str, Any]:
        """Says what a turn of a recorded talk should have been."""
        self._mine(person, episode_id)
        with self._alone(person, episode_id) as found:
            if found.session is not None:  # which does not look at its record again
                found.session.correct(turn, line, reply)
            else:
                self._store.correct(episode_id, turn, line, reply)
        return self.transcript(person, episode_id)

    def rate(self, person: str, episode_id: str, turn: int | None, value: float | None) -> dict[str, Any]:
        """Marks a turn of a recorded talk, or the whole talk."""
        self._mine(person, episode_id)
        with self._alone(person, episode_id) as found:
            if found.session is not None:
                found.session.rate(value, turn)
            elif turn is None:
                self._store.rate_talk(episode_id, value)
            else:
                self._store.rate(episode_id, turn, value)
        return self.transcript(person, episode_id)

    def data(self, person: str) -> Iterator[str]:
        """Everything recorded of a person, one JSON object a line."""
        for episode in self._store.episodes(person=person):
            yield episode.to_json() + "\n"

    def dashboard(self, person: str) -> dict[str, Any]:
        """What a person did so far, by numbers, by goal and by day.

        `days` has for each day (UTC) with steered turns how many there were, how many lines were corrected, and of the
        model's own lines for published goals the share that followed them, by the judge; None where there was none.

        Raises:
            Busy: `MOST_WAITING` acts of the person's are being done or wait already.
        """
        counts = {"talks": 0, "turns": 0, "corrections": 0, "comparisons": 0, "ratings": 0}
        goals: dict[str, int] = {}
        days: dict[str, _Day] = {}
        for episode in self._store.episodes(person=person):
            counts["talks"] += 1
            counts["turns"] += len(episode.turns)
            counts["corrections"] += len(episode.corrections())
            counts["comparisons"] += sum(len(turn.comparisons) for turn in episode.turns)
            counts["ratings"] += sum(turn.rating is not None for turn in episode.turns) + (episode.rating is not None)
            before = ""
            for turn in episode.turns:
                goals[turn.goal] = goals.get(turn.goal, 0) + 1
                if episode.goals != (FREE_TALK,):
                    day = days.setdefault(episode.created[:10], _Day())
                    day.turns += 1
                    day.corrected += turn.corrected_line is not None
                    if turn.corrected_line != turn.line and turn.goal in DEFAULT_GOALS:
                        day.lines.append((before, turn.line, turn.goal))
                before = turn.reply
        told = [
            {"day": name, "turns": day.turns, "corrected": day.corrected, "followed": self._followed(person, day.lines)}
            for name, day in sorted(days.items())
        ]
        return {**counts, "goals": goals, "days": told, "talks_of_all": self._store.count()}

    # --- inside -------------------------------------------------------------------------------------------------------------

    @contextmanager
    def _place_for(self, person: str) -> Iterator[_Visitor]:
        """A place among those whom threads serve; raises `Busy` where the person has `MOST_WAITING` of them."""
        with self._lock:
            visitor = self._visitors[person]
            if visitor.asked >= MOST_WAITING:
                raise Busy("we are still busy with what you asked before; wait for its answer.")
            visitor.asked += 1
        try:
            yield visitor
        finally:
            with self._lock:
                visitor.asked -= 1

    def _followed(self, person: str, lines: Sequence[tuple[str, str, str]]) -> float | None:
        """The share of lines that follow their goals, by the judge, who is asked about each once."""
        from convogym.agents.reader import FOLLOWS

        if self._judge is None or not lines:
            return None
        with self._place_for(person), self._judging:
            follows = {line: self._follows.pop(line) for line in dict.fromkeys(lines) if line in self._follows}
            new = [line for line in dict.fromkeys(lines) if line not in follows]
            if new:
                chances = self._judge().probabilities([before for before, _, _ in new], [line for _, line, _ in new])
                for line, chance in zip(new, chances, strict=True):
                    follows[line] = bool(chance[DEFAULT_GOALS.code(line[2])] >= FOLLOWS)
            self._follows |= follows
            while len(self._follows) > MOST_JUDGED:
                self._follows.popitem(last=False)
        return sum(follows[line] for line in lines) / len(lines)

    def _next_place(self) -> int:
        with self._lock:
            self._places += 1
            return self._places - 1

    def _make_room(self, person: str) -> None:
        """Takes a person's oldest talks out of memory, those in which nothing is being done."""
        mine = [(key, found) for key, found in self._open.items() if key[0] == person]
        for key, found in mine[: max(0, len(mine) - MOST_OPEN)]:
            if found.lock.acquire(blocking=False):
                del self._open[key]
                found.lock.release()

    def _steered(self, goals: GoalSet) -> Parts:
        return Parts(
            goal_speaker=self._goal_speaker,
            responder=self._responder,
            personas=self._personas,
            goals=goals,
            reward=Reward((0.0, Repetition())),
            observer=make_observer("embedding", self._responder.feature_size, goals.goals, TURNS),
            num_turns=TURNS,
        )

    @contextmanager
    def _alone(self, person: str, talk: str) -> Iterator[_Open]:
        """Meanwhile nothing else is done in a talk, whether it is in memory or only in its record."""
        key = (person, talk)
        with self._place_for(person):
            while True:
                with self._lock:
                    found = self._open.setdefault(key, _Open())
                    self._open.move_to_end(key)
                with found.lock:
                    if self._open.get(key) is not found:  # it left memory while this thread waited
                        continue
                    try:
                        self.check_agreed(person)  # they may have deleted everything meanwhile
                        yield found
                    finally:
                        if found.session is None:
                            with self._lock:
                                del self._open[key]
                    return

    @contextmanager
    def _session(self, person: str, talk: str) -> Iterator[Session]:
        with self._alone(person, talk) as found:
            if found.session is None:
                found.session = self._recalled(person, talk)
                with self._lock:
                    self._make_room(person)
            yield found.session

    def _recalled(self, person: str, talk: str) -> Session:
        """A talk from its record."""
        try:
            episode = self._mine(person, talk)
            if episode.goals == (FREE_TALK,):
                parts = free_talk(self._responder, Persona(episode.persona), TURNS)
            else:
                parts = self._steered(GoalSet(episode.goals, {}))
            return Session.resumed(parts, episode, store=self._store, place=self._next_place())
        except (NotFound, InputError):
            raise NotFound("you have no such talk going on; begin another, or look among your transcripts.") from None

    def _mine(self, person: str, episode_id: str) -> Episode:
        try:
            episode = self._store.episode(episode_id)
        except InputError:
            raise NotFound("you have no such talk.") from None
        if episode.person != person:
            raise NotFound("you have no such talk.")
        return episode

    def _view(self, talk: str, session: Session) -> dict[str, Any]:
        return {
            "talk": talk,
            "mode": "talk" if session.is_free else "steer",
            "persona": list(session.persona),
            "turns": [_turn(record) for record in session.turns],
            "allowed": session.allowed,
            "proposed": session.proposed,
            "rating": session.rating,
            "ended": session.has_ended,
            "episode": session.episode,
        }


def _turn(record: TurnRecord) -> dict[str, Any]:
    return {
        "turn": record.turn,
        "goal": record.goal,
        "line": record.line,
        "reply": record.reply,
        "corrected_line": record.corrected_line,
        "corrected_reply": record.corrected_reply,
        "rating": record.rating,
    }


def _person_of(row: str) -> str | None:
    try:
        record: Mapping[str, Any] = json.loads(row)
        return str(record["person"])
    except (ValueError, KeyError, TypeError):  # a line that a kill cut off
        return None


def _read_consents(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return {person for row in path.read_text("utf-8").splitlines() if (person := _person_of(row)) is not None}

"""What an episode is: a recorded dialogue with its goals, rewards and human corrections, and its one-line JSON form.

Knows the schema, its number and how older numbers are read; knows nothing of databases, environments or models.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeAlias

from convogym.dialogue import MAX_UTTERANCE_CHARS, Dialogue, Persona, Turn, check_text
from convogym.errors import InputError, UnknownNameError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

SCHEMA = 3  # of what this program writes; a change of any field's name, type or meaning takes the next number and a reader
MAX_INT = 2**256  # seeds drawn from the operating system's entropy have 128 bits
SUM_TOLERANCE = 1e-6  # by which probabilities may miss 1, for rounding
MAX_DEPTH = 32  # of nesting in `spec`; keyword arguments of an environment have two or three levels

_ID = re.compile(r"[0-9a-f]{32}")


SIDES = ("line", "reply")


@dataclass(frozen=True)
class Comparison:
    """Two texts for the same place of a talk, of which a person preferred one."""

    side: str
    """one of `SIDES`: whether they are lines or replies"""
    chosen: str
    """what the person preferred, or wrote in place of the other"""
    rejected: str
    """what the model had said instead"""

    def __post_init__(self) -> None:
        """Checks the side and the texts."""
        if self.side not in SIDES:
            raise UnknownNameError("side", str(self.side), SIDES)
        for name in ("chosen", "rejected"):
            check_storable(getattr(self, name), name)
        if self.chosen == self.rejected:
            raise InputError(f"a comparison must be of two different texts, got {_shown(self.chosen)} twice.")


@dataclass(frozen=True)
class TurnRecord:
    """One recorded turn: what was wanted, what was said, what it earned, and what a human made of it."""

    turn: int
    """which turn of its episode, 1-based"""
    action: int
    """the code of the goal, 0.."""
    goal: str
    """the text of the goal; the episode's `goals` has it at `action`"""
    line: str
    """what the goal speaker said; not blank, otherwise any text"""
    reply: str
    """what the responder answered; not blank, otherwise any text"""
    reward: float
    """the reward of the step, finite"""
    reward_terms: Mapping[str, float] = field(default_factory=dict)
    """each named term of the reward, finite"""
    faults: Mapping[str, bool] = field(default_factory=dict)
    """each named fault of the utterances, and whether it occurred"""
    line_log_prob: float = 0.0
    """natural log-probability of the line under its speaker, finite; 0 where it has none"""
    reply_log_prob: float = 0.0
    """natural log-probability of the reply under its speaker, finite; 0 where it has none"""
    propensity: float | None = None
    """probability in (0, 1] with which the action was chosen; None = whoever chose did not say"""
    propensities: tuple[float, ...] = ()
    """probability of every action, in the goals' order, summing to 1, `propensity` among them; () = not known"""
    chosen_by: str | None = None
    """name of who chose the goal of this turn, e.g. where a person took over; None = whom the episode's `policy` names"""
    corrected_line: str | None = None
    """what a human says the line should have been; None = left as it is. Equal to `line` where the human's words were said in
    the talk itself, in place of the model's"""
    corrected_reply: str | None = None
    """what a human says the reply should have been; None = left as it is. Equal to `reply` where it was said, as above"""
    rating: float | None = None
    """a human's mark for the turn, finite, higher is better; None = not rated"""
    comparisons: tuple[Comparison, ...] = ()
    """what a human preferred to what, in the order of judging"""

    def __post_init__(self) -> None:
        """Checks every field against what is said under it; whole numbers given for fractions become floats."""
        _check_int(self.turn, "turn", 1)
        _check_int(self.action, "action", 0)
        for name in ("goal", "line", "reply"):
            check_storable(getattr(self, name), name)
        for name in ("corrected_line", "corrected_reply"):
            if getattr(self, name) is not None:
                check_storable(check_text(getattr(self, name), f"`{name}`", MAX_UTTERANCE_CHARS), name)
        for name in ("reward", "line_log_prob", "reply_log_prob"):
            object.__setattr__(self, name, _finite(getattr(self, name), name))
        for name in ("propensity", "rating"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, _finite(getattr(self, name), name))
        compared: object = self.comparisons
        if not isinstance(compared, tuple) or not all(isinstance(each, Comparison) for each in compared):
            raise InputError(f"`comparisons` must be a tuple of comparisons, got {_shown(compared)}.")
        if self.propensity is not None and not 0 < self.propensity <= 1:
            raise InputError(f"`propensity` must be in (0, 1], or None where it is not known, got {self.propensity}.")
        chances: object = self.propensities
        if not isinstance(chances, tuple | list):
            raise InputError(f"`propensities` must be a tuple of numbers, got {_shown(chances)}.")
        object.__setattr__(self, "propensities", tuple(_finite(each, "propensities") for each in chances))
        if self.propensities:
            if min(self.propensities) < 0 or abs(sum(self.propensities) - 1) > SUM_TOLERANCE:
                raise InputError(f"`propensities` must be at least 0 and sum to 1, got {_shown(self.propensities)}.")
            if self.action >= len(self.propensities) or self.propensities[self.action] != self.propensity:
                raise InputError(
                    f"`propensity` must be that of action {self.action} in `propensities`, got {self.propensity}."
                )
        if self.chosen_by is not None:
            check_storable(self.chosen_by, "chosen_by")
        terms = _mapping(self.reward_terms, "reward_terms")
        object.__setattr__(self, "reward_terms", {key: _finite(term, f"reward_terms[{key!r}]") for key, term in terms.items()})
        object.__setattr__(self, "faults", dict(_mapping(self.faults, "faults")))
        for key, fault in self.faults.items():
            if not isinstance(fault, bool):
                raise InputError(f"`faults[{key!r}]` must be True or False, got {_shown(fault)}.")

    @property
    def is_corrected(self) -> bool:
        """Whether a human changed the line or the reply."""
        return self.corrected_line is not None or self.corrected_reply is not None


@dataclass(frozen=True)
class Episode:
    """A recorded dialogue: who talked, what was wanted at each turn, what came of it."""

    id: str
    """32 lower-case hexadecimal digits, its own among all episodes anywhere"""
    schema: int
    """the number of the format; always SCHEMA in memory: a reader turns older formats into this one"""
    created: str
    """when its recording began: ISO 8601 in UTC, e.g. "2026-11-21T12:00:45.123456+00:00" """
    seed: int | None
    """what the environment's randomness of this episode was seeded with, 0..; None = not known"""
    policy: str
    """name of what picked the goals"""
    responder: str
    """name of what answered"""
    goal_speaker: str
    """name of what said the lines"""
    persona: tuple[str, ...]
    """the responder's facts, as `Persona` wants them; () = not known"""
    goals: tuple[str, ...]
    """all goals there were to choose from, distinct; the position of a goal is its action"""
    history: tuple[str, ...] = ()
    """what was said before turn 1, goal speaker first; an even number of utterances"""
    spec: Mapping[str, JSON] = field(default_factory=dict)
    """the arguments that make the environment again; JSON values only (tuples become lists)"""
    finished: bool = False
    """whether the episode came to its end; False = it is going on, or was broken off"""
    turns: tuple[TurnRecord, ...] = ()
    """what was recorded, numbered 1, 2, ...; at least one turn in a finished episode"""
    person: str | None = None
    """pseudonym of the human who took part; None = nobody did, or it is not known who"""
    rating: float | None = None
    """that human's mark for the whole talk, finite, higher is better; None = not rated"""

    def __post_init__(self) -> None:
        """Checks every field against what is said under it."""
        check_id(self.id)
        _check_int(self.schema, "schema", 1)
        if self.schema != SCHEMA:
            raise InputError(f"`schema` must be {SCHEMA}, got {_shown(self.schema)}; read older episodes with `from_json`.")
        check_created(self.created)
        if self.seed is not None:
            _check_int(self.seed, "seed", 0)
        for name in ("policy", "responder", "goal_speaker"):
            check_storable(getattr(self, name), name)
        for name in ("persona", "goals", "history"):
            object.__setattr__(self, name, _texts(getattr(self, name), name))
        if self.persona:
            Persona(self.persona)
        if not self.goals or len(set(self.goals)) != len(self.goals):
            raise InputError(f"`goals` must be one or more distinct texts, got {_shown(list(self.goals))}.")
        if len(self.history) % 2:
            raise InputError(f"`history` must be pairs of a line and a reply, got {len(self.history)} utterances.")
        object.__setattr__(self, "spec", _json_object(self.spec, "spec", 0))
        if not isinstance(self.finished, bool):
            raise InputError(f"`finished` must be True or False, got {_shown(self.finished)}.")
        turns: object = self.turns
        if not isinstance(turns, tuple) or not all(isinstance(record, TurnRecord) for record in turns):
            raise InputError(f"`turns` must be a tuple of turn records, got {_shown(self.turns)}.")
        if self.finished and not self.turns:
            raise InputError("a finished episode must have at least one turn, got none.")
        if self.person is not None:
            check_storable(self.person, "person")
        if self.rating is not None:
            object.__setattr__(self, "rating", _finite(self.rating, "rating"))
        for number, record in enumerate(self.turns, 1):
            check_turn(record, number, self.goals)

    def to_json(self) -> str:
        """The episode as one line of ASCII JSON, without a line break; `from_json` gives back an equal episode."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        values["turns"] = [
            {**vars(record), "comparisons": [vars(each) for each in record.comparisons]} for record in self.turns
        ]
        return json.dumps(values, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Episode:
        """Reads what `to_json` wrote, now or in any earlier schema of `READERS`.

        Args:
            text: one JSON object.

        Returns:
            The episode, in the present schema.

        Raises:
            InputError: it is not JSON, of a schema without a reader, or a field is missing, unknown or not what it should be.
        """
        try:
            values = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_distinct)
        except InputError:
            raise
        except (ValueError, RecursionError) as error:
            raise InputError(f"an episode must be one JSON object, got {_shown(text)} ({error}).") from error
        if not isinstance(values, dict):
            raise InputError(f"an episode must be one JSON object, got {_shown(text)}.")
        if "schema" not in values:
            raise InputError(f"an episode must name its `schema`, got only the fields {_shown(list(values))}.")
        schema = values["schema"]
        reader = READERS.get(schema) if isinstance(schema, int) and not isinstance(schema, bool) else None
        if reader is None:
            readable = ", ".join(map(str, READERS))
            raise InputError(f"`schema` must be one this version reads ({readable}), got {_shown(schema)}; upgrade convogym.")
        return reader(values)

    def dialogue(self) -> Dialogue:
        """What was said, the history included, as a dialogue.

        The goals of a recorded turn are the one its line was *asked* to carry out: whether it did, the rewards and corrections
        tell. The history's turns are unlabelled. Corrections are left out, because what follows answers what was really said.

        Returns:
            A dialogue of at least one turn.

        Raises:
            InputError: nothing was said yet.
        """
        before = tuple(Turn(line, reply) for line, reply in zip(self.history[::2], self.history[1::2], strict=True))
        recorded = tuple(Turn(record.line, record.reply, goals=(record.goal,)) for record in self.turns)
        return Dialogue(before + recorded, Persona(self.persona) if self.persona else None, source=f"episode:{self.id}")

    def corrections(self) -> tuple[TurnRecord, ...]:
        """The turns in which a human changed the line or the reply, in order."""
        return tuple(record for record in self.turns if record.is_corrected)


def new_id() -> str:
    """An id that no other episode has."""
    return uuid.uuid4().hex


def utc_now() -> str:
    """The present time as `Episode.created` wants it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def check_id(value: object) -> str:
    """Refuses what is not an episode's id."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InputError(f"an episode's `id` must be 32 lower-case hexadecimal digits, got {_shown(value)}.")
    return value


def check_created(value: object) -> str:
    """Refuses what is not an ISO 8601 time in UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None or moment.utcoffset() != timedelta(0):
        raise InputError(f"`created` must be an ISO 8601 time in UTC (2026-11-21T12:00:45+00:00), got {_shown(value)}.")
    return str(value)


def check_turn(record: TurnRecord, number: int, goals: tuple[str, ...]) -> None:
    """Refuses a turn that cannot stand at its place in an episode.

    Args:
        record: the turn.
        number: which turn of the episode it would be, 1-based.
        goals: the episode's goals.

    Raises:
        InputError: it has another number, or its action does not name its goal.
    """
    if record.turn != number:
        raise InputError(f"turns must be numbered 1, 2, ... without gaps: expected turn {number}, got {record.turn}.")
    if record.propensities and len(record.propensities) != len(goals):
        raise InputError(f"`propensities` of turn {number} must be {len(goals)}, one a goal, got {len(record.propensities)}.")
    if record.action >= len(goals) or goals[record.action] != record.goal:
        meaning = repr(goals[record.action]) if record.action < len(goals) else f"not among the {len(goals)} goals"
        raise InputError(
            f"`action` of turn {number} must name its goal {record.goal!r}, got {record.action}, which is {meaning}."
        )


def check_storable(value: object, name: str) -> str:
    """Refuses text that is blank or that UTF-8, and with it no file, can hold; any other text passes."""
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"`{name}` must be text that is not blank, got {_shown(value)}.")
    return _check_utf8(value, name)


def _check_utf8(value: str, name: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"`{name}` must be text that UTF-8 can hold, got a lone surrogate in {_shown(value)}.") from error
    return value


def _texts(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise InputError(f"`{name}` must be a list of texts, got {_shown(value)}.")
    return tuple(check_storable(text, f"{name}[{position}]") for position, text in enumerate(value))


def _check_int(value: object, name: str, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < MAX_INT:
        raise InputError(f"`{name}` must be a whole number from {least}, got {_shown(value)}.")


def _finite(value: object, name: str) -> float:
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, int) and not isinstance(value, bool) and -MAX_INT < value < MAX_INT:
        return float(value)
    raise InputError(f"`{name}` must be a finite number, got {_shown(value)}.")


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"`{name}` must map names to values, got {_shown(value)}.")
    for key in value:
        _check_utf8(key, name)
    return value


def _json_object(value: object, name: str, depth: int) -> dict[str, JSON]:
    return {key: _json_value(inner, f"{name}[{key!r}]", depth) for key, inner in _mapping(value, name).items()}


def _json_value(value: object, name: str, depth: int) -> JSON:
    """The value in JSON's own types, tuples as lists; refuses what JSON cannot say."""
    if depth > MAX_DEPTH:
        raise InputError(f"`spec` must not be nested more than {MAX_DEPTH} deep, got more at {name}.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _check_utf8(value, name)
    if isinstance(value, float):
        return _finite(value, name)
    if isinstance(value, int):
        if not -MAX_INT < value < MAX_INT:
            raise InputError(f"`{name}` must be a whole number of at most 256 bits.")
        return int(value)
    if isinstance(value, list | tuple):
        return [_json_value(inner, f"{name}[{position}]", depth + 1) for position, inner in enumerate(value)]
    if isinstance(value, Mapping):
        return _json_object(value, name, depth + 1)
    raise InputError(f"`{name}` must be a value that JSON can hold, got {_shown(value)}.")


def _shown(value: object) -> str:
    text = repr(value[:80] if isinstance(value, str) else value)
    return text if len(text) <= 100 else text[:97] + "..."


def _refuse_constant(name: str) -> NoReturn:
    raise InputError(f"every number in an episode must be finite, got {name}.")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"a field must be given once, got {twice!r} twice.")
    return values


def _check_fields(values: Mapping[str, Any], kind: type[Episode | TurnRecord | Comparison], where: str) -> None:
    expected = {entry.name for entry in fields(kind)}
    for problem, names in (("missing", expected - values.keys()), ("unknown", values.keys() - expected)):
        if names:
            raise InputError(
                f"{where} must have exactly the fields of schema {SCHEMA}; {problem}: {', '.join(sorted(names))}."
            )


def _read_schema_3(values: Mapping[str, Any]) -> Episode:
    _check_fields(values, Episode, "an episode")
    if not isinstance(values["turns"], list):
        raise InputError(f"`turns` must be a list of turns, got {_shown(values['turns'])}.")
    turns = []
    for position, turn in enumerate(values["turns"]):
        where = f"turns[{position}]"
        if not isinstance(turn, dict):
            raise InputError(f"`{where}` must be an object, got {_shown(turn)}.")
        _check_fields(turn, TurnRecord, f"`{where}`")
        try:
            comparisons = read_comparisons(turn["comparisons"])
            turns.append(TurnRecord(**{**turn, "comparisons": comparisons}))
        except InputError as error:
            raise InputError(f"{where}: {error}") from error
    return Episode(**{**values, "turns": tuple(turns)})


def read_comparisons(values: object) -> tuple[Comparison, ...]:
    """Comparisons from the JSON list that stands for them in a turn; raises `InputError` where it is none."""
    if not isinstance(values, list) or not all(isinstance(each, dict) for each in values):
        raise InputError(f"`comparisons` must be a list of objects, got {_shown(values)}.")
    for each in values:
        _check_fields(each, Comparison, "a comparison")
    return tuple(Comparison(**each) for each in values)


def _read_schema_1(values: Mapping[str, Any]) -> Episode:
    """Schema 1 had no `person`, `rating` and `comparisons`."""
    if newer := values.keys() & {"person", "rating"}:
        raise InputError(f"an episode must have exactly the fields of schema 1; unknown: {', '.join(sorted(newer))}.")
    turns = values.get("turns")
    if isinstance(turns, list):
        turns = [{**turn, "comparisons": []} if isinstance(turn, dict) else turn for turn in turns]
    return _read_schema_2({**values, "turns": turns, "person": None, "rating": None})


def _read_schema_2(values: Mapping[str, Any]) -> Episode:
    """Schema 2 had no `propensities` and `chosen_by`."""
    turns = values.get("turns")
    if isinstance(turns, list):
        for position, turn in enumerate(turns):
            if isinstance(turn, dict) and (newer := turn.keys() & {"propensities", "chosen_by"}):
                raise InputError(
                    f"`turns[{position}]` must have exactly the fields of its schema; unknown: {', '.join(sorted(newer))}."
                )
        turns = [{**turn, "propensities": [], "chosen_by": None} if isinstance(turn, dict) else turn for turn in turns]
    return _read_schema_3({**values, "schema": SCHEMA, "turns": turns})


READERS: Mapping[int, Callable[[Mapping[str, Any]], Episode]] = {1: _read_schema_1, 2: _read_schema_2, 3: _read_schema_3}
"""How each schema is read into the present one."""

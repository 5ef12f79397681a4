"""Keeps episodes in one SQLite file: a turn that `append` returned from survives a kill and a loss of power.

Knows the tables and the JSONL form of a whole store; knows nothing of environments. Several processes may write to one store,
and several threads to one `EpisodeStore`; a process made by `fork` must open its own.

Durability: write-ahead log with `synchronous=FULL`, one transaction per call. Measured on two cores and a virtual SSD, a
commit took 0.4 ms with one turn and 0.5 ms with 64 on the idle machine, and 4 to 15 ms with a training run on both cores,
because it waits for the disk. (`NORMAL` never waits, 0.03 and 0.2 ms, but loses the last turns when the power goes.)

Failures: what the store refuses is an `InputError`; what the machine refuses (a full disk, a read-only folder, a lock held for
too long) an `OSError` with the file's name. After either, nothing of that call is in the file and the store can be used on.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from convogym.episodes import SCHEMA, Comparison, Episode, TurnRecord, check_turn, new_id, read_comparisons, utc_now
from convogym.errors import CorpusError, InputError
from convogym.lines import GZIP_MAGIC, numbered_lines

APPLICATION_ID = 0x63766779  # "cvgy"; SQLite files carry such a number at byte 68 of their header
BUSY_SECONDS = 60.0  # how long to wait for another process's transaction, an import of 100,000 episodes at the longest
PAGE = 64  # episodes read at a time when all are streamed

_TABLES = """
CREATE TABLE episodes (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    schema INTEGER NOT NULL,
    created TEXT NOT NULL,
    seed TEXT,
    policy TEXT NOT NULL,
    responder TEXT NOT NULL,
    goal_speaker TEXT NOT NULL,
    persona TEXT NOT NULL,
    goals TEXT NOT NULL,
    history TEXT NOT NULL,
    spec TEXT NOT NULL,
    finished INTEGER NOT NULL CHECK (finished IN (0, 1)),
    person TEXT,
    rating REAL
);
CREATE TABLE turns (
    episode INTEGER NOT NULL REFERENCES episodes (number) ON DELETE CASCADE,
    turn INTEGER NOT NULL CHECK (turn >= 1),
    action INTEGER NOT NULL,
    line TEXT NOT NULL,
    reply TEXT NOT NULL,
    reward REAL NOT NULL,
    reward_terms TEXT NOT NULL,
    faults TEXT NOT NULL,
    line_log_prob REAL NOT NULL,
    reply_log_prob REAL NOT NULL,
    propensity REAL,
    corrected_line TEXT,
    corrected_reply TEXT,
    rating REAL,
    comparisons TEXT NOT NULL DEFAULT '[]',
    propensities TEXT NOT NULL DEFAULT '[]',
    chosen_by TEXT,
    PRIMARY KEY (episode, turn)
) WITHOUT ROWID;
"""  # seed is text because it may have more than 64 bits; lists and mappings are JSON

# What a store of each older schema lacks of the next.
_NEXT = {
    1: """
ALTER TABLE episodes ADD COLUMN person TEXT;
ALTER TABLE episodes ADD COLUMN rating REAL;
ALTER TABLE turns ADD COLUMN comparisons TEXT NOT NULL DEFAULT '[]';
UPDATE episodes SET schema = 2;
""",
    2: """
ALTER TABLE turns ADD COLUMN propensities TEXT NOT NULL DEFAULT '[]';
ALTER TABLE turns ADD COLUMN chosen_by TEXT;
UPDATE episodes SET schema = 3;
""",
}

_HEAD = "number, id, schema, created, seed, policy, responder, goal_speaker, persona, goals, history, spec, finished"
_HEAD += ", person, rating"
_TURN = (
    "turn, action, line, reply, reward, reward_terms, faults, line_log_prob, reply_log_prob, propensity, "
    "corrected_line, corrected_reply, rating, comparisons, propensities, chosen_by"
)


class EpisodeStore:
    """The episodes in one file, which is made when it is missing."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens or makes the file.

        Args:
            path: the file; its folder must exist. SQLite keeps `<path>-wal` and `<path>-shm` beside it while it is open.

        Raises:
            InputError: there is something else at `path`, or a store of a newer version.
            OSError: the file or its folder cannot be written to.
        """
        self.path = Path(os.path.abspath(path))
        self._lock = threading.RLock()
        self._depth = 0
        self._pid = os.getpid()
        _check_place(self.path)
        with _translated(self.path):
            self._db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            try:
                self._open()
            except BaseException:
                self._db.close()
                raise

    def __enter__(self) -> EpisodeStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file; closing twice is fine."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Makes all calls within it one: either all they wrote is on disk when the block ends, or nothing.

        Blocks may be nested; an inner block that fails takes back only its own part if the outer one catches the error.
        """
        with self._lock, _translated(self.path):
            self._check_process()
            if self._depth and not self._db.in_transaction:  # SQLite gave the whole transaction up, e.g. on a full disk
                raise OSError(errno.EIO, "the transaction around this call has failed already", str(self.path))
            name = f"level_{self._depth}"
            self._db.execute(f"SAVEPOINT {name}" if self._depth else "BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                self._db.execute(f"RELEASE {name}" if self._depth > 1 else "COMMIT")
            except BaseException:
                self._roll_back(f"ROLLBACK TO {name}" if self._depth > 1 else "ROLLBACK")
                raise
            finally:
                self._depth -= 1

    def begin(
        self,
        *,
        policy: str,
        responder: str,
        goal_speaker: str,
        persona: Sequence[str],
        goals: Sequence[str],
        history: Sequence[str] = (),
        seed: int | None = None,
        spec: Mapping[str, Any] | None = None,
        person: str | None = None,
        id: str | None = None,
    ) -> str:
        """Begins an episode without turns; the arguments are the fields of `Episode`, `id` None = a new one.

        Returns:
            Its id.
        """
        episode = Episode(
            id=id or new_id(),
            schema=SCHEMA,
            created=utc_now(),
            seed=seed,
            policy=policy,
            responder=responder,
            goal_speaker=goal_speaker,
            persona=tuple(persona),
            goals=tuple(goals),
            history=tuple(history),
            spec=spec or {},
            person=person,
        )
        with self.transaction():
            self._insert(episode)
        return episode.id

    def add(self, episode: Episode) -> None:
        """Writes a whole episode; `InputError` where the store has one of its id."""
        with self.transaction():
            if self._db.execute("SELECT 1 FROM episodes WHERE id = ?", (episode.id,)).fetchone() is not None:
                raise InputError(f"episode {episode.id} is in {self.path} already; give another store.")
            self._insert(episode)

    def append(self, episode_id: str, record: TurnRecord) -> None:
        """Writes the next turn of an episode; it is on disk when this returns.

        Raises:
            InputError: there is no such episode, it is finished, or the turn is not its next or does not fit its goals.
        """
        self.append_many([(episode_id, record)])

    def append_many(self, records: Iterable[tuple[str, TurnRecord]]) -> None:
        """Writes the next turns of many episodes in one transaction: all or none.

        Args:
            records: (episode id, turn) pairs; an episode may come more than once.

        Raises:
            InputError: as for `append`.
        """
        with self.transaction():
            for episode_id, record in records:
                row = self._db.execute(
                    "SELECT number, goals, finished, (SELECT MAX(turn) FROM turns WHERE episode = number)"
                    " FROM episodes WHERE id = ?",
                    (episode_id,),
                ).fetchone()
                if row is None:
                    raise self._unknown(episode_id)
                number, goals, is_finished, last = row
                if is_finished:
                    raise InputError(f"episode {episode_id} is finished and takes no more turns, got turn {record.turn}.")
                check_turn(record, (last or 0) + 1, tuple(json.loads(goals)))
                self._insert_turns(number, [record])

    def finish(self, episode_id: str) -> None:
        """Marks an episode as having come to its end; doing so again changes nothing.

        Raises:
            InputError: there is no such episode, or it has no turns.
        """
        with self.transaction():
            number = self._number(episode_id)
            if self._db.execute("SELECT 1 FROM turns WHERE episode = ? LIMIT 1", (number,)).fetchone() is None:
                raise InputError(f"an episode must have at least one turn to be finished, {episode_id} has none.")
            self._db.execute("UPDATE episodes SET finished = 1 WHERE number = ?", (number,))

    def episode(self, episode_id: str) -> Episode:
        """The episode of that id; `InputError` where there is none."""
        with self._reading():
            row = self._db.execute(f"SELECT {_HEAD} FROM episodes WHERE id = ?", (episode_id,)).fetchone()
            if row is None:
                raise self._unknown(episode_id)
            return self._complete([row])[0]

    def episodes(
        self,
        finished: bool | None = None,
        policy: str | None = None,
        newest_first: bool = False,
        person: str | None = None,
    ) -> Iterator[Episode]:
        """Streams episodes in the order in which they were begun or imported, a few in memory at a time.

        The store may be changed meanwhile, by the one who iterates too: every episode is whole, and as it was when reached.

        Args:
            finished: only those that came to their end, or only those that did not; None = all.
            policy: only those of the policy of that name.
            newest_first: the other way round.
            person: only those in which the human of that pseudonym took part.

        Yields:
            Episodes.
        """
        where, values = _where(finished, policy, person)
        after, order = ("<", "DESC") if newest_first else (">", "ASC")
        beyond = ""
        while True:
            with self._reading():
                rows = self._db.execute(
                    f"SELECT {_HEAD} FROM episodes WHERE {where}{beyond} ORDER BY number {order} LIMIT {PAGE}", values
                ).fetchall()
                found = self._complete(rows)
            yield from found
            if len(rows) < PAGE:
                return
            beyond = f" AND number {after} {rows[-1][0]}"

    def count(self, finished: bool | None = None, policy: str | None = None, person: str | None = None) -> int:
        """The number of episodes that `episodes` would yield."""
        where, values = _where(finished, policy, person)
        with self._reading():
            return int(self._db.execute(f"SELECT COUNT(*) FROM episodes WHERE {where}", values).fetchone()[0])

    def correct(self, episode_id: str, turn: int, line: str | None = None, reply: str | None = None) -> None:
        """Records what a human says a turn should have been; what was really said stays beside it.

        Args:
            episode_id: the episode.
            turn: its turn, 1-based.
            line: the line as it should have been; None leaves an earlier correction of it, if any.
            reply: the same for the reply. One of the two must be given.

        Raises:
            InputError: there is no such turn, or the text is blank, too long or not text.
        """
        given = {"corrected_line": line, "corrected_reply": reply}
        changes = {name: text for name, text in given.items() if text is not None}
        if not changes:
            raise InputError("a correction must give a `line` or a `reply`, got neither.")
        self._change_turn(episode_id, turn, **changes)

    def rate(self, episode_id: str, turn: int, value: float | None) -> None:
        """Records a human's mark for a turn, higher is better; None withdraws it."""
        self._change_turn(episode_id, turn, rating=value)

    def compare(self, episode_id: str, turn: int, comparison: Comparison) -> None:
        """Adds what a human preferred to what in a turn; raises `InputError` where there is no such turn."""
        with self.transaction():
            turns = self.episode(episode_id).turns
            before = turns[turn - 1].comparisons if 0 < turn <= len(turns) else ()
            self._change_turn(episode_id, turn, comparisons=(*before, comparison))

    def rate_talk(self, episode_id: str, value: float | None) -> None:
        """Records a human's mark for a whole talk, higher is better; None withdraws it."""
        with self.transaction():
            rated = replace(self.episode(episode_id), rating=value)  # checks the value
            self._db.execute("UPDATE episodes SET rating = ? WHERE number = ?", (rated.rating, self._number(episode_id)))

    def retract(self, episode_id: str) -> TurnRecord:
        """Takes back the last turn of an episode, which then goes on.

        Returns:
            The turn that was taken back.

        Raises:
            InputError: there is no such episode, or it has no turns.
        """
        with self.transaction():
            turns = self.episode(episode_id).turns
            if not turns:
                raise InputError(f"an episode must have a turn to take back, {episode_id} has none.")
            number = self._number(episode_id)
            self._db.execute("DELETE FROM turns WHERE episode = ? AND turn = ?", (number, turns[-1].turn))
            self._db.execute("UPDATE episodes SET finished = 0 WHERE number = ?", (number,))
            return turns[-1]

    def delete_person(self, person: str) -> int:
        """Removes every episode in which the human of that pseudonym took part; returns how many there were."""
        with self.transaction():
            return int(self._db.execute("DELETE FROM episodes WHERE person = ?", (person,)).rowcount)

    def delete(self, episode_id: str) -> None:
        """Removes an episode and its turns; `InputError` where there is none of that id."""
        with self.transaction():
            self._db.execute("DELETE FROM episodes WHERE number = ?", (self._number(episode_id),))

    def export_jsonl(self, path: str | os.PathLike[str]) -> int:
        """Writes all episodes, as they are at this moment, to a file of one JSON object per line.

        The file appears whole or not at all; an older one of that name is replaced. The same episodes give the same bytes.

        Args:
            path: where to; a name that ends in ".gz" is compressed.

        Returns:
            The number of episodes.

        Raises:
            InputError: `path` is the store itself.
            OSError: the file cannot be written.
        """
        target = Path(path)
        if not target.parent.is_dir():
            raise InputError(f"`path` must be in a folder that exists, got {target}: make {target.parent} first.")
        if target.exists() and target.samefile(self.path):
            raise InputError(f"`path` must be another file than the store, got {target}.")
        draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        written = 0
        try:
            with open(draft, "xb") as raw:
                with _compressed(raw, target) as file, self._reading():
                    for episode in self.episodes():
                        file.write(episode.to_json().encode() + b"\n")
                        written += 1
                raw.flush()
                os.fsync(raw.fileno())
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        return written

    def import_jsonl(self, path: str | os.PathLike[str]) -> int:
        """Adds the episodes of a file that `export_jsonl` wrote: all of them, or, where one line is wrong, none.

        An episode that the store already has, equal in every field, is passed over.

        Args:
            path: the file; gzip is recognised by its content.

        Returns:
            The number of episodes added.

        Raises:
            CorpusError: a line is not an episode, or the store has another one of that id; names the file and the line.
            OSError: the file cannot be read.
        """
        source = Path(path)
        added = 0
        with self.transaction():
            for number, line in numbered_lines(source):
                text = line.rstrip("\r\n")
                if not text.strip():
                    continue
                try:
                    episode = Episode.from_json(text)
                except InputError as error:
                    raise CorpusError(source, number, f"an episode ({error})", text) from error
                if self._db.execute("SELECT 1 FROM episodes WHERE id = ?", (episode.id,)).fetchone() is None:
                    self._insert(episode)
                    added += 1
                elif self.episode(episode.id) != episode:
                    expected = f"episode {episode.id} as this store has it, or with an id of its own"
                    raise CorpusError(source, number, expected, text)
        return added

    def _open(self) -> None:
        if not self._is_ours():
            with self.transaction():
                if not self._is_ours():  # another process may have made it meanwhile
                    for statement in _TABLES.split(";")[:-1]:
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                    self._db.execute(f"PRAGMA user_version = {SCHEMA}")
        self._bring_up_to_date()
        self._use_write_ahead_log()
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        with self.transaction():  # shows now, not at the first turn, that the file can be written to
            pass

    def _bring_up_to_date(self) -> None:
        """Turns a store of an older schema into one of the present schema."""
        if self._db.execute("PRAGMA user_version").fetchone()[0] == SCHEMA:
            return
        with self.transaction():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]  # another process may have done it meanwhile
            for older in range(version, SCHEMA):
                for statement in _NEXT[older].split(";")[:-1]:
                    self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {SCHEMA}")

    def _is_ours(self) -> bool:
        """Whether the file is a store that this version reads; False = an empty file. Raises for all others."""
        with self._reading():
            application = self._db.execute("PRAGMA application_id").fetchone()[0]
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            tables = [
                name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
            ]
        if application == APPLICATION_ID:
            if version > SCHEMA:
                raise InputError(
                    f"{self.path} must be an episode store of version {SCHEMA}, got version {version}; upgrade convogym."
                )
            return True
        if application or version or tables:
            raise InputError(
                f"{self.path} must be an episode store, got another program's SQLite database (application id "
                f"{application:#x}, tables {', '.join(tables[:8]) or 'none'}); give another path."
            )
        return False

    def _use_write_ahead_log(self) -> None:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:  # SQLite's own waiting does not cover this change while other processes open the file
            try:
                mode = self._db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
                continue
            if mode != "wal":
                raise OSError(errno.ENOTSUP, "this file system cannot hold SQLite's write-ahead log", str(self.path))
            return

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """All reads within it see the store as of one moment."""
        with self._lock, _translated(self.path):
            self._check_process()
            if self._db.in_transaction:
                yield
            else:
                self._db.execute("BEGIN")
                try:
                    yield
                finally:
                    self._roll_back("ROLLBACK")  # nothing was written

    def _roll_back(self, statement: str) -> None:
        if self._db.in_transaction:  # else SQLite did it itself, as it does on some failures
            self._db.execute(statement)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise InputError(f"{self.path} was opened before `fork`; open the store anew in every process.")

    def _unknown(self, episode_id: str) -> InputError:
        return InputError(f"`episode_id` must name an episode in {self.path}, got {episode_id!r}.")

    def _number(self, episode_id: str) -> int:
        row = self._db.execute("SELECT number FROM episodes WHERE id = ?", (episode_id,)).fetchone()
        if row is None:
            raise self._unknown(episode_id)
        return int(row[0])

    def _insert(self, episode: Episode) -> None:
        number = self._db.execute(
            f"INSERT INTO episodes ({_HEAD}) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                episode.id,
                episode.schema,
                episode.created,
                None if episode.seed is None else str(episode.seed),
                episode.policy,
                episode.responder,
                episode.goal_speaker,
                json.dumps(episode.persona),
                json.dumps(episode.goals),
                json.dumps(episode.history),
                json.dumps(episode.spec, allow_nan=False),
                int(episode.finished),
                episode.person,
                episode.rating,
            ),
        ).lastrowid
        assert number is not None
        self._insert_turns(number, episode.turns)

    def _insert_turns(self, number: int, records: Iterable[TurnRecord]) -> None:
        self._db.executemany(
            f"INSERT INTO turns (episode, {_TURN}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    number,
                    record.turn,
                    record.action,
                    record.line,
                    record.reply,
                    record.reward,
                    json.dumps(record.reward_terms, allow_nan=False),
                    json.dumps(record.faults),
                    record.line_log_prob,
                    record.reply_log_prob,
                    record.propensity,
                    record.corrected_line,
                    record.corrected_reply,
                    record.rating,
                    _comparisons(record),
                    json.dumps(record.propensities),
                    record.chosen_by,
                )
                for record in records
            ],
        )

    def _change_turn(self, episode_id: str, turn: int, **changes: Any) -> None:
        with self.transaction():
            turns = self.episode(episode_id).turns
            if not any(record.turn == turn for record in turns):
                raise InputError(f"`turn` must be in 1..{len(turns)} in episode {episode_id}, got {turn!r}.")
            record = replace(turns[turn - 1], **changes)  # checks the values
            self._db.execute(
                "UPDATE turns SET corrected_line = ?, corrected_reply = ?, rating = ?, comparisons = ?"
                " WHERE episode = ? AND turn = ?",
                (
                    record.corrected_line,
                    record.corrected_reply,
                    record.rating,
                    _comparisons(record),
                    self._number(episode_id),
                    record.turn,
                ),
            )

    def _complete(self, heads: Sequence[tuple[Any, ...]]) -> list[Episode]:
        """The episodes of rows of `_HEAD`, with their turns."""
        turns: dict[int, list[tuple[Any, ...]]] = {head[0]: [] for head in heads}
        holes = ", ".join("?" * len(turns))
        for row in self._db.execute(
            f"SELECT episode, {_TURN} FROM turns WHERE episode IN ({holes}) ORDER BY episode, turn", tuple(turns)
        ):
            turns[row[0]].append(row[1:])
        return [_episode(head, turns[head[0]]) for head in heads]


def _comparisons(record: TurnRecord) -> str:
    return json.dumps([vars(each) for each in record.comparisons])


def _episode(head: tuple[Any, ...], rows: Iterable[tuple[Any, ...]]) -> Episode:
    _, episode_id, schema, created, seed, policy, responder, goal_speaker, persona, goals, history, spec, *rest = head
    finished, person, rating = rest
    texts = tuple(json.loads(goals))
    return Episode(
        id=episode_id,
        schema=schema,
        created=created,
        seed=None if seed is None else int(seed),
        policy=policy,
        responder=responder,
        goal_speaker=goal_speaker,
        persona=tuple(json.loads(persona)),
        goals=texts,
        history=tuple(json.loads(history)),
        spec=json.loads(spec),
        finished=bool(finished),
        turns=tuple(_turn(row, texts) for row in rows),
        person=person,
        rating=rating,
    )


def _turn(row: tuple[Any, ...], goals: tuple[str, ...]) -> TurnRecord:
    turn, action, line, reply, reward, terms, faults, line_log_prob, reply_log_prob, propensity, *later = row
    corrected_line, corrected_reply, rating, comparisons, propensities, chosen_by = later
    return TurnRecord(
        turn=turn,
        action=action,
        goal=goals[action],
        line=line,
        reply=reply,
        reward=reward,
        reward_terms=json.loads(terms),
        faults=json.loads(faults),
        line_log_prob=line_log_prob,
        reply_log_prob=reply_log_prob,
        propensity=propensity,
        corrected_line=corrected_line,
        corrected_reply=corrected_reply,
        rating=rating,
        comparisons=read_comparisons(json.loads(comparisons)),
        propensities=tuple(json.loads(propensities)),
        chosen_by=chosen_by,
    )


def _where(finished: bool | None, policy: str | None, person: str | None) -> tuple[str, tuple[str | int, ...]]:
    conditions: dict[str, str | int] = {}
    if finished is not None:
        conditions["finished = ?"] = int(finished)
    if policy is not None:
        conditions["policy = ?"] = policy
    if person is not None:
        conditions["person = ?"] = person
    return " AND ".join(conditions) or "TRUE", tuple(conditions.values())


def _check_place(path: Path) -> None:
    """Says what is at `path` where it cannot become a store, before SQLite touches it."""
    if not path.parent.is_dir():
        raise InputError(f"the folder of an episode store must exist, got {path}: make {path.parent} first.")
    if path.is_dir():
        raise InputError(f"{path} must be an episode store, got a folder; give a file name in it.")
    if not path.exists():
        return
    with open(path, "rb") as file:
        start = file.read(16)
    if start and start != b"SQLite format 3\0":
        kind = "a gzip file" if start[:2] == GZIP_MAGIC else f"a file that begins with {start!r}"
        raise InputError(f"{path} must be an episode store, got {kind}; import episodes in JSON lines with `import_jsonl`.")


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into those that the module's docstring promises."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        if "closed" not in str(error):
            raise
        raise InputError(f"the store {path} is closed; open it again with `EpisodeStore(path)`.") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        number, meaning = _MACHINE_ERRORS.get(code, (errno.EIO, "SQLite failed"))
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise InputError(
                f"{path} must be an episode store, got a damaged file ({error}); restore it from an export."
            ) from error
        raise OSError(number, f"{meaning} ({error})", str(path)) from error


_MACHINE_ERRORS = {
    sqlite3.SQLITE_FULL: (errno.ENOSPC, "the disk is full; nothing of this call was recorded: free some space and repeat it"),
    sqlite3.SQLITE_READONLY: (errno.EROFS, "the episode store is read-only; make it writable or copy it elsewhere"),
    sqlite3.SQLITE_CANTOPEN: (errno.EACCES, "the episode store cannot be opened; its folder must be writable"),
    sqlite3.SQLITE_PERM: (errno.EACCES, "the episode store may not be used; make it readable and writable"),
    sqlite3.SQLITE_BUSY: (
        errno.EBUSY,
        f"another process held the episode store for {BUSY_SECONDS:g} s; try again when it is done",
    ),
    sqlite3.SQLITE_IOERR: (errno.EIO, "reading or writing the episode store failed; nothing of this call was recorded"),
}


@contextmanager
def _compressed(raw: IO[bytes], target: Path) -> Iterator[IO[bytes]]:
    if target.suffix != ".gz":
        yield raw
        return
    with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:  # no name, no time: same episodes, same bytes
        yield file  # type: ignore[misc]

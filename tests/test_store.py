from __future__ import annotations

import contextlib
import errno
import gzip
import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from convogym.episodes import SCHEMA, Comparison, Episode, TurnRecord, utc_now
from convogym.errors import CorpusError, InputError
from convogym.goals import PUBLISHED_GOALS
from convogym.store import APPLICATION_ID, PAGE, EpisodeStore

HEAD: dict[str, Any] = {
    "policy": "cycle",
    "responder": "echo",
    "goal_speaker": "asker",
    "persona": ("i have a dog.",),
    "goals": PUBLISHED_GOALS,
    "history": ("hi.", "hello."),
    "seed": 2**100,
    "spec": {"num_turns": 8},
}


def a_turn(number: int, **changes: Any) -> TurnRecord:
    action = number % len(PUBLISHED_GOALS)
    values: dict[str, Any] = {
        "turn": number,
        "action": action,
        "goal": PUBLISHED_GOALS[action],
        "line": f"line {number}",
        "reply": f"reply {number} \0 😀",
        "reward": number / 3,
        "reward_terms": {"identification": number / 3},
        "faults": {"empty": False, "repeated": True},
        "line_log_prob": -1.25,
        "reply_log_prob": -2.5,
        "propensity": 0.1,
    }
    return TurnRecord(**{**values, **changes})


def fill(store: EpisodeStore, episodes: int = 1, turns: int = 2, **changes: Any) -> list[str]:
    """Finished episodes; changes are to their heads."""
    ids = []
    with store.transaction():
        for _ in range(episodes):
            ids.append(store.begin(**{**HEAD, **changes}))
            store.append_many([(ids[-1], a_turn(number)) for number in range(1, turns + 1)])
            store.finish(ids[-1])
    return ids


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    with EpisodeStore(tmp_path / "episodes.db") as opened:
        yield opened


def test_what_was_recorded_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "episodes.db"
    with EpisodeStore(path) as store:
        going = store.begin(**HEAD)
        store.append(going, a_turn(1))
        (done,) = fill(store, turns=3)
    with EpisodeStore(path) as store:
        assert store.count() == 2
        assert store.episode(going).turns == (a_turn(1),)
        assert not store.episode(going).finished
        episode = store.episode(done)
        assert episode.finished and episode.turns == (a_turn(1), a_turn(2), a_turn(3))
        assert {name: getattr(episode, name) for name in HEAD} == HEAD
    assert [file.name for file in tmp_path.iterdir()] == ["episodes.db"]


def test_commits_are_synced_to_the_disk(store: EpisodeStore) -> None:
    """No test can cut the power; SQLite promises durability for these settings (https://sqlite.org/pragma.html)."""
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_step_of_many_dialogues_is_written_whole_or_not_at_all(store: EpisodeStore) -> None:
    ids = [store.begin(**HEAD) for _ in range(3)]
    store.append_many([(each, a_turn(1)) for each in ids])
    with pytest.raises(InputError, match="expected turn 2, got 1"):
        store.append_many([(ids[0], a_turn(2)), (ids[1], a_turn(2)), (ids[2], a_turn(1))])
    assert [len(store.episode(each).turns) for each in ids] == [1, 1, 1]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (a_turn(3), "expected turn 2, got 3"),
        (a_turn(1), "expected turn 2, got 1"),
        (a_turn(2, goal="ask about pets.", action=4), "must name its goal 'ask about pets.', got 4"),
        (a_turn(2, goal="a new goal.", action=11), "not among the 11 goals"),
    ],
)
def test_a_turn_that_does_not_fit_its_episode_is_refused(store: EpisodeStore, record: TurnRecord, message: str) -> None:
    episode_id = store.begin(**HEAD)
    store.append(episode_id, a_turn(1))
    with pytest.raises(InputError, match=message):
        store.append(episode_id, record)
    assert store.episode(episode_id).turns == (a_turn(1),)


def test_a_finished_episode_takes_no_more_turns_and_an_empty_one_cannot_be_finished(store: EpisodeStore) -> None:
    episode_id = store.begin(**HEAD)
    with pytest.raises(InputError, match="at least one turn"):
        store.finish(episode_id)
    store.append(episode_id, a_turn(1))
    store.finish(episode_id)
    store.finish(episode_id)
    with pytest.raises(InputError, match="is finished and takes no more turns, got turn 2"):
        store.append(episode_id, a_turn(2))


def test_what_no_episode_can_be_is_refused_at_its_beginning(store: EpisodeStore) -> None:
    with pytest.raises(InputError, match=r"1\.\.20 facts, got 200"):
        store.begin(**{**HEAD, "persona": ["i have a dog."] * 200})
    assert store.count() == 0


def test_an_unknown_id_is_named(store: EpisodeStore) -> None:
    for call in (store.episode, store.delete, store.finish, lambda each: store.rate(each, 1, 1.0)):
        with pytest.raises(InputError, match=r"must name an episode in .*episodes\.db, got 'nobody'"):
            call("nobody")


def test_episodes_stream_in_order_over_many_pages_and_can_be_chosen(store: EpisodeStore) -> None:
    cycle = fill(store, PAGE + 3)
    random_ids = fill(store, PAGE, turns=1, policy="random")
    going = store.begin(**HEAD)
    assert [each.id for each in store.episodes()] == [*cycle, *random_ids, going]
    assert [each.id for each in store.episodes(newest_first=True)] == [going, *random_ids[::-1], *cycle[::-1]]
    assert [each.id for each in store.episodes(policy="random")] == random_ids
    assert [each.id for each in store.episodes(finished=False)] == [going]
    assert [each.id for each in store.episodes(finished=True, policy="cycle")] == cycle
    assert (store.count(), store.count(finished=True), store.count(policy="random")) == (2 * PAGE + 4, 2 * PAGE + 3, PAGE)


def test_who_iterates_may_change_the_store_meanwhile(store: EpisodeStore) -> None:
    fill(store, PAGE + 10)
    for episode in store.episodes():
        store.rate(episode.id, 1, 5.0)
        if episode.turns[1].rating is None:
            store.delete(episode.id)
    assert store.count() == 0


def test_a_correction_stands_beside_what_was_said(store: EpisodeStore) -> None:
    (episode_id,) = fill(store)
    store.correct(episode_id, 2, reply="no.")
    store.correct(episode_id, 2, line="really?")
    store.correct(episode_id, 2, reply="no!")
    store.rate(episode_id, 1, 4)
    assert store.episode(episode_id).corrections() == (a_turn(2, corrected_line="really?", corrected_reply="no!"),)
    assert store.episode(episode_id).turns[0] == a_turn(1, rating=4.0)
    store.rate(episode_id, 1, None)
    assert store.episode(episode_id).turns[0] == a_turn(1)


@pytest.mark.parametrize(
    ("turn", "given", "message"),
    [
        (3, {"line": "x"}, "`turn` must be in 1..2 in episode .*, got 3"),
        (0, {"line": "x"}, "`turn` must be in 1..2"),
        (1, {}, "must give a `line` or a `reply`"),
        (1, {"line": " "}, "`corrected_line` must not be blank"),
        (1, {"reply": "a\0"}, "null bytes"),
        (1, {"reply": "\udcff"}, "lone surrogate"),
        (1, {"reply": "x" * 1_000_000}, "at most 2000 characters"),
    ],
)
def test_a_correction_of_no_use_is_refused_and_changes_nothing(
    store: EpisodeStore, turn: int, given: dict[str, str], message: str
) -> None:
    (episode_id,) = fill(store)
    before = store.episode(episode_id)
    with pytest.raises(InputError, match=message):
        store.correct(episode_id, turn, **given)
    with pytest.raises(InputError, match="`rating` must be a finite number"):
        store.rate(episode_id, 1, float("nan"))
    assert store.episode(episode_id) == before


def test_deleting_takes_the_turns_with_it(store: EpisodeStore) -> None:
    kept, gone = fill(store, 2)
    store.delete(gone)
    assert [each.id for each in store.episodes()] == [kept]
    with sqlite3.connect(store.path) as db:
        assert db.execute("SELECT COUNT(*) FROM turns").fetchone() == (2,)


def test_calls_in_one_transaction_are_taken_back_together(store: EpisodeStore) -> None:
    with pytest.raises(RuntimeError), store.transaction():
        fill(store, 3)
        raise RuntimeError
    assert store.count() == 0


def test_an_inner_failure_that_is_caught_takes_back_its_own_part_only(store: EpisodeStore) -> None:
    with store.transaction():
        (kept,) = fill(store)
        with pytest.raises(InputError):
            store.append_many([(kept, a_turn(3))])
        (other,) = fill(store)
    assert [each.id for each in store.episodes()] == [kept, other]


def test_a_closed_store_says_so(store: EpisodeStore) -> None:
    store.close()
    with pytest.raises(InputError, match="is closed; open it again"):
        store.count()
    with pytest.raises(InputError, match="is closed; open it again"):
        store.begin(**HEAD)


def test_threads_can_share_a_store(store: EpisodeStore) -> None:
    threads = [threading.Thread(target=fill, args=(store, 5)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count(finished=True) == 20


# JSON lines


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_export_and_import_lose_nothing(store: EpisodeStore, tmp_path: Path, name: str) -> None:
    ids = fill(store, PAGE + 1)
    store.correct(ids[3], 1, line="better", reply="'quoted' \"twice\"\n<|act|>")
    store.rate(ids[3], 2, -1.5)
    store.begin(**HEAD)
    assert store.export_jsonl(tmp_path / name) == PAGE + 2
    with EpisodeStore(tmp_path / "other.db") as other:
        assert other.import_jsonl(tmp_path / name) == PAGE + 2
        assert list(other.episodes()) == list(store.episodes())
        other.export_jsonl(tmp_path / f"again-{name}")
    assert (tmp_path / f"again-{name}").read_bytes() == (tmp_path / name).read_bytes()
    assert not [file for file in tmp_path.iterdir() if file.suffix == ".tmp"]


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[EpisodeStore]:
    with EpisodeStore(tmp_path / "other.db") as opened:
        yield opened


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=text, reply=text, goal=text, term=text, reward=st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_survives_the_store_and_its_export(
    store: EpisodeStore, other: EpisodeStore, line: str, reply: str, goal: str, term: str, reward: float
) -> None:
    record = TurnRecord(1, 0, goal, line, reply, reward, {term: reward}, {term: True}, reward, reward)
    file = store.path.with_name("out.jsonl")
    with store.transaction():
        episode_id = store.begin(**{**HEAD, "goals": [goal], "history": [line, reply]})
        store.append(episode_id, record)
    store.export_jsonl(file)
    assert other.import_jsonl(file) == 1
    episode = other.episode(episode_id)
    assert episode == store.episode(episode_id)
    assert episode.turns == (record,)
    assert episode.history == (line, reply)
    store.delete(episode_id)


def test_importing_again_adds_nothing_but_another_content_of_an_id_is_refused(store: EpisodeStore, tmp_path: Path) -> None:
    ids = fill(store, 3)
    store.export_jsonl(tmp_path / "out.jsonl")
    assert store.import_jsonl(tmp_path / "out.jsonl") == 0
    store.rate(ids[1], 1, 3.0)
    fill(store)
    before = list(store.episodes())
    with pytest.raises(CorpusError, match=rf"out\.jsonl:2: expected episode {ids[1]} as this store has it"):
        store.import_jsonl(tmp_path / "out.jsonl")
    assert list(store.episodes()) == before


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b'{"schema": 9}', r":3: expected an episode \(`schema` must be one this version reads \(1, 2, 3\), got 9"),
        (b"hello", r":3: expected an episode \(an episode must be one JSON object"),
        (b"\xff\xfe", r":3: expected text in UTF-8"),
    ],
)
def test_one_bad_line_keeps_the_whole_file_out(store: EpisodeStore, tmp_path: Path, bad: bytes, message: str) -> None:
    fill(store, 2)
    store.export_jsonl(tmp_path / "out.jsonl")
    with open(tmp_path / "out.jsonl", "ab") as file:
        file.write(bad + b"\n")
    with EpisodeStore(tmp_path / "other.db") as other:
        with pytest.raises(CorpusError, match=message):
            other.import_jsonl(tmp_path / "out.jsonl")
        assert other.count() == 0


def test_a_gzip_file_cut_short_is_refused_whole(store: EpisodeStore, tmp_path: Path) -> None:
    fill(store, 20)
    store.export_jsonl(tmp_path / "out.jsonl.gz")
    whole = (tmp_path / "out.jsonl.gz").read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with EpisodeStore(tmp_path / "other.db") as other:
        with pytest.raises(CorpusError, match="expected a whole gzip file"):
            other.import_jsonl(tmp_path / "cut.jsonl.gz")
        assert other.count() == 0


def test_a_failed_export_leaves_the_older_file_and_nothing_else(
    store: EpisodeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 3)
    target = tmp_path / "out.jsonl"
    store.export_jsonl(target)
    before = target.read_bytes()
    fill(store, 3)
    seen: list[int] = []

    def fail_late(self: Episode) -> str:
        seen.append(1)
        if len(seen) == 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        return "{}"

    monkeypatch.setattr(Episode, "to_json", fail_late)
    with pytest.raises(OSError, match="No space left"):
        store.export_jsonl(target)
    assert target.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir() if not file.name.startswith("episodes.db")) == ["out.jsonl"]


def test_a_store_is_not_overwritten_by_its_own_export(store: EpisodeStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="another file than the store"):
        store.export_jsonl(store.path)
    with pytest.raises(InputError, match="folder that exists"):
        store.export_jsonl(tmp_path / "nowhere" / "out.jsonl")


# What is not a store


def test_a_database_of_another_program_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"another program's SQLite database .*tables bookmarks"):
        EpisodeStore(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["places.sqlite"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"id": "00"}\n', r"got a file that begins with b'\{\"id\""),
        (gzip.compress(b"x", mtime=0), "got a gzip file"),
        (b"SQLite format 3\0" + b"\x55" * 5000, "got a damaged file"),
    ],
)
def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        EpisodeStore(path)
    assert path.read_bytes() == content


def test_a_folder_and_a_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got a folder"):
        EpisodeStore(tmp_path)
    with pytest.raises(InputError, match=r"make .*nowhere first"):
        EpisodeStore(tmp_path / "nowhere" / "episodes.db")


def test_a_store_of_schema_1_is_brought_up_to_date_and_keeps_its_episodes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with EpisodeStore(path) as store:
        (episode_id,) = fill(store)
        before = store.episode(episode_id)
    with contextlib.closing(sqlite3.connect(path)) as db:  # what version 1 wrote
        for column in ("person", "rating"):
            db.execute(f"ALTER TABLE episodes DROP COLUMN {column}")
        for column in ("comparisons", "propensities", "chosen_by"):
            db.execute(f"ALTER TABLE turns DROP COLUMN {column}")
        db.execute("UPDATE episodes SET schema = 1")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    for _ in range(2):
        with EpisodeStore(path) as store:
            assert store.episode(episode_id) == before
    with EpisodeStore(path) as store:
        store.compare(episode_id, 1, Comparison("line", "a", "b"))
        store.rate_talk(episode_id, 1)
        assert store.episode(episode_id).turns[0].comparisons == (Comparison("line", "a", "b"),)
        assert store.episode(episode_id).rating == 1.0


def test_a_store_of_schema_2_is_brought_up_to_date_and_can_say_who_chose(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with EpisodeStore(path) as store:
        episode_id = store.begin(**HEAD)
        store.append(episode_id, a_turn(1))
        before = store.episode(episode_id)
    with contextlib.closing(sqlite3.connect(path)) as db:  # what version 2 wrote
        for column in ("propensities", "chosen_by"):
            db.execute(f"ALTER TABLE turns DROP COLUMN {column}")
        db.execute("UPDATE episodes SET schema = 2")
        db.execute("PRAGMA user_version = 2")
        db.commit()
    chosen = a_turn(2, propensity=0.0625, propensities=(0.0625,) * 4 + (0.75,) + (0.0,) * 6, chosen_by="human")
    with EpisodeStore(path) as store:
        assert store.episode(episode_id) == before
        store.append(episode_id, chosen)
    with EpisodeStore(path) as store:
        assert store.episode(episode_id).turns[1] == chosen


def test_the_last_turn_can_be_taken_back_and_the_episode_goes_on(store: EpisodeStore) -> None:
    (episode_id,) = fill(store, turns=2)
    assert store.retract(episode_id) == a_turn(2)
    store.append(episode_id, a_turn(2, line="another line"))
    assert [turn.line for turn in store.episode(episode_id).turns] == ["line 1", "another line"]
    store.retract(episode_id)
    store.retract(episode_id)
    assert not store.episode(episode_id).finished
    with pytest.raises(InputError, match="must have a turn to take back"):
        store.retract(episode_id)


def test_what_a_person_did_is_found_by_the_pseudonym_and_can_be_removed(store: EpisodeStore) -> None:
    mine = fill(store, 3, person="p-1")
    others = fill(store, 2, person="p-2") + fill(store, 1)
    assert [each.id for each in store.episodes(person="p-1")] == mine
    assert (store.count(person="p-1"), store.count(person="p-2"), store.count()) == (3, 2, 6)
    assert store.delete_person("p-1") == 3
    assert [each.id for each in store.episodes()] == others
    assert store._db.execute("SELECT COUNT(*) FROM turns").fetchone() == (6,)


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "episodes.db"
    EpisodeStore(path).close()
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        db.execute("PRAGMA user_version = 4")
    with pytest.raises(InputError, match="of version 3, got version 4; upgrade"):
        EpisodeStore(path)


# What the machine refuses


@contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write anywhere; so the block runs as nobody where the tests run as root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that nobody, too, can reach."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)
        os.chmod(folder, 0o755)


def test_a_read_only_file_is_an_error_with_its_name(open_folder: Path) -> None:
    path = open_folder / "episodes.db"
    with EpisodeStore(path) as store:
        fill(store)
    path.chmod(0o444)
    open_folder.chmod(0o555)
    with without_privileges(), pytest.raises(OSError, match=r"episodes\.db") as caught:
        EpisodeStore(path)
    assert caught.value.errno in (errno.EROFS, errno.EACCES)
    open_folder.chmod(0o755)
    path.chmod(0o644)
    with EpisodeStore(path) as store:
        assert store.count() == 1


def test_a_read_only_folder_is_an_error_with_the_files_name(open_folder: Path) -> None:
    open_folder.chmod(0o555)
    with without_privileges(), pytest.raises(OSError, match="its folder must be writable") as caught:
        EpisodeStore(open_folder / "episodes.db")
    assert caught.value.filename == str(open_folder / "episodes.db")
    assert list(open_folder.iterdir()) == []


def fill_up(store: EpisodeStore, episode_id: str) -> int:
    """Appends turns until one fails; returns how many were recorded."""
    recorded = 0
    with pytest.raises(OSError) as caught:
        for number in range(1, 10_000):
            store.append(episode_id, a_turn(number, reply="x" * 1000))
            recorded = number
    assert caught.value.errno in (errno.ENOSPC, errno.EIO)
    assert "nothing of this call was recorded" in str(caught.value) and str(store.path) in str(caught.value)
    return recorded


def test_on_a_full_disk_nothing_recorded_is_lost_and_recording_goes_on_when_there_is_space(store: EpisodeStore) -> None:
    episode_id = store.begin(**HEAD)
    store._db.execute("PRAGMA max_page_count = 20")
    recorded = fill_up(store, episode_id)
    assert recorded > 5
    assert len(store.episode(episode_id).turns) == recorded
    with pytest.raises(OSError, match="the disk is full"):
        store.append_many([(episode_id, a_turn(number, reply="x" * 1000)) for number in range(recorded + 1, recorded + 9)])
    store._db.execute("PRAGMA max_page_count = 100000")
    store.append(episode_id, a_turn(recorded + 1))
    store.finish(episode_id)
    assert len(store.episode(episode_id).turns) == recorded + 1


def test_a_failing_write_of_the_operating_system_loses_nothing_recorded(store: EpisodeStore) -> None:
    """The limit makes `write` itself fail, in the midst of the log: what a full disk does, seen from SQLite."""
    episode_id = store.begin(**HEAD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
    try:
        recorded = fill_up(store, episode_id)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    store.append(episode_id, a_turn(recorded + 1))
    store.close()
    with EpisodeStore(store.path) as again:
        assert len(again.episode(episode_id).turns) == recorded + 1


def test_a_full_disk_within_a_transaction_takes_all_of_it_back(store: EpisodeStore) -> None:
    (kept,) = fill(store)
    store._db.execute("PRAGMA max_page_count = 20")
    with pytest.raises(OSError, match="the disk is full"), store.transaction():
        fill(store, 100)
    assert [each.id for each in store.episodes()] == [kept]


# Several processes

WRITER = """
import sys
from convogym.episodes import Episode
from convogym.store import EpisodeStore

path, template, rounds = sys.argv[1], Episode.from_json(sys.argv[2]), int(sys.argv[3])
head = ("policy", "responder", "goal_speaker", "persona", "goals", "history", "seed", "spec")
store = EpisodeStore(path)
for _ in range(rounds):
    episode_id = store.begin(**{name: getattr(template, name) for name in head})
    for record in template.turns:
        store.append(episode_id, record)
        print(episode_id, record.turn, flush=True)
    store.finish(episode_id)
"""


def writer(path: Path, turns: int, rounds: int) -> subprocess.Popen[str]:
    """A process that records episodes and tells of every turn when `append` has returned."""
    template = Episode("0" * 32, SCHEMA, utc_now(), **HEAD, turns=tuple(a_turn(number) for number in range(1, turns + 1)))
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), template.to_json(), str(rounds)], stdout=subprocess.PIPE, text=True
    )


def parse(line: str) -> tuple[str, int]:
    episode_id, number = line.split()
    return episode_id, int(number)


def test_after_kill_9_every_turn_whose_append_returned_is_there_and_whole(tmp_path: Path) -> None:
    rng = random.Random(0)
    path = tmp_path / "episodes.db"
    told: set[tuple[str, int]] = set()
    for _ in range(4):
        child = writer(path, 5, 100_000)
        assert child.stdout is not None
        told |= {parse(child.stdout.readline()) for _ in range(rng.randint(1, 60))}
        child.kill()
        told |= {parse(line) for line in child.stdout if line.endswith("\n")}
        child.stdout.close()
        child.wait()
        with EpisodeStore(path) as store:
            kept = {(episode.id, record.turn): record for episode in store.episodes() for record in episode.turns}
        assert told <= kept.keys()
        assert len(kept) <= len(told) + 4  # at most one a round was on disk and not yet told
        assert all(record == a_turn(number) for (_, number), record in kept.items())


def test_processes_that_make_and_fill_one_store_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "episodes.db"
    children = [writer(path, 20, 3) for _ in range(3)]
    told = {parse(line) for child in children for line in child.communicate()[0].splitlines()}
    assert [child.returncode for child in children] == [0, 0, 0]
    assert len(told) == 180
    with EpisodeStore(path) as store:
        assert {(episode.id, record.turn) for episode in store.episodes(finished=True) for record in episode.turns} == told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_store_opened_before_fork_is_refused_in_the_child(store: EpisodeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: -1)  # as the child sees it; a real fork would copy pytest
    for call in (store.count, lambda: store.begin(**HEAD)):
        with pytest.raises(InputError, match="opened before `fork`"):
            call()

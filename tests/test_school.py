"""Teaching on a server: everybody's own course, learnt in the background, kept for all, forgotten for one."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import small_personas
from quick_teaching import make_quick
from tiny import tiny_model

pytest.importorskip("fastapi", reason='the web interface needs pip install "convogym[web]"')
pytest.importorskip("httpx", reason="the test client needs httpx")

from fastapi.testclient import TestClient

from convogym.agents.loading import load
from convogym.agents.reader import Reader
from convogym.agents.reader_training import fresh_reader
from convogym.agents.sampling import Sampling
from convogym.agents.shared import SharedSpeaker
from convogym.experiments import teaching
from convogym.experiments.school import School
from convogym.experiments.serving import Service, pseudonym
from convogym.experiments.taught_set import TaughtSet
from convogym.experiments.web import make_app
from convogym.store import EpisodeStore

ANN, BOB = "token-of-ann-0123456789", "token-of-bob-0123456789"
GOAL = "talk about sports."


@pytest.fixture(scope="module")
def reader() -> Reader:
    return fresh_reader(tiny_model(), 1, 0)


@pytest.fixture
def taught(tmp_path: Path) -> TaughtSet:
    tiny_model().save(tmp_path / "base")
    return TaughtSet(tmp_path / "taught", str(tmp_path / "base"))


@pytest.fixture
def client(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reader: Reader, taught: TaughtSet
) -> Iterator[Callable[[str], TestClient]]:
    """Gives a client for a token."""
    make_quick(monkeypatch, reader)
    short = Sampling(max_tokens=6)

    def speakers(model: Any) -> tuple[SharedSpeaker, SharedSpeaker]:
        return SharedSpeaker(model.goal_speaker(short)), SharedSpeaker(model.responder(short))

    with EpisodeStore(tmp_path / "a.db") as store:
        service = Service(*speakers(load(taught.model)), small_personas(), store, frozenset({ANN, BOB}))
        school = School(taught, load, lambda: reader, lambda model: service.speak_with(*speakers(model)), 0)
        app = make_app(service, ["testserver"], school)

        def client_of(token: str) -> TestClient:
            made = TestClient(app, raise_server_exceptions=False, headers={"Authorization": f"Bearer {token}"})
            assert made.post("/api/login", json={"token": token, "agrees": True}).status_code == 200
            return made

        yield client_of


def ok(client: TestClient, path: str, body: Any = None, method: str = "POST") -> Any:
    answer = client.request(method, path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: TestClient, path: str, body: Any = None) -> str:
    answer = client.post(path, json=body)
    assert answer.status_code == 422, answer.text
    return str(answer.json()["error"])


def answered(client: TestClient, count: int = 5) -> Any:
    view = ok(client, "/api/teaching/begin", {"goal": GOAL, "answers": count})
    while (asked := view["course"]["question"]) is not None:
        line = None if asked["number"] == 1 else f"do you play ball, number {asked['number']}?"
        view = ok(client, "/api/teaching/answer", {"question": asked["number"], "line": line})
    return view


def learnt(client: TestClient) -> Any:
    ok(client, "/api/teaching/learn")
    until = time.monotonic() + 120
    while (course := ok(client, "/api/teaching", method="GET")["course"])["state"] in ("waiting", "learning"):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert course["state"] == "learnt", course
    return course


def test_a_goal_is_taught_learnt_kept_spoken_by_all_and_undone(client: Callable[[str], TestClient], taught: TaughtSet) -> None:
    ann, bob = client(ANN), client(BOB)
    course = answered(ann)["course"]
    assert (course["answers"], course["state"], course["question"]) == (5, "asking", None)
    assert [lesson.person for lesson in taught.lessons(GOAL)] == [pseudonym(ANN)] * 5
    assert [lesson.is_correction for lesson in taught.lessons(GOAL)] == [False] + [True] * 4
    assert ok(bob, "/api/teaching", method="GET")["course"] is None
    course = learnt(ann)
    assert course["done"] == teaching.STEPS and course["report"]["lessons"] == 5
    assert len(course["report"]["after"]["goals"]) == 11 and course["report"]["judge_recall"] is not None
    assert len(ok(bob, "/api/me", method="GET")["goals"]) == 11
    going = ok(bob, "/api/talks", {"mode": "steer"})["talk"]
    kept = ok(ann, "/api/teaching/keep")
    assert (kept["in_use"], kept["course"]) == (1, None)
    assert ok(bob, "/api/me", method="GET")["goals"][-1]["text"] == GOAL
    talk = ok(bob, "/api/talks", {"mode": "steer"})["talk"]
    ok(bob, f"/api/talks/{talk}/propose", {"action": 11})
    assert ok(bob, f"/api/talks/{talk}/say", {})["turns"][0]["goal"] == GOAL
    refused(bob, f"/api/talks/{going}/propose", {"action": 11})  # begun with eleven goals, it goes on with them
    assert "is a goal already" in refused(ann, "/api/teaching/begin", {"goal": GOAL})
    assert ok(bob, "/api/teaching/restore", {"version": 0})["in_use"] == 0
    assert len(ok(ann, "/api/me", method="GET")["goals"]) == 11
    assert [each["goal"] for each in ok(bob, "/api/teaching/restore", {"version": 1})["versions"]] == [GOAL]
    assert load(TaughtSet(taught.folder, taught.base).model).taught == (GOAL,)


def test_what_another_version_does_not_build_on_is_not_kept(client: Callable[[str], TestClient], taught: TaughtSet) -> None:
    ann, bob = client(ANN), client(BOB)
    for each in (ann, bob):
        answered(each)
        learnt(each)
    ok(ann, "/api/teaching/keep")
    assert "another version came into use" in refused(bob, "/api/teaching/keep")
    assert ok(bob, "/api/teaching/leave")["course"] is None
    assert len(taught.versions) == 1


def test_answers_come_once_and_in_turn_and_are_there_when_the_course_is_begun_again(
    client: Callable[[str], TestClient], taught: TaughtSet
) -> None:
    ann = client(ANN)
    assert "you are teaching nothing" in refused(ann, "/api/teaching/answer", {"question": 1, "line": "x"})
    first = ok(ann, "/api/teaching/begin", {"goal": GOAL, "answers": 5})["course"]["question"]
    assert first["number"] == 1
    second = ok(ann, "/api/teaching/pass-over", {"question": 1})["course"]["question"]
    assert second["number"] == 2 and second["proposed"] != first["proposed"]
    ok(ann, "/api/teaching/answer", {"question": 2, "line": "who won?"})
    assert "is not asked now" in refused(ann, "/api/teaching/answer", {"question": 2, "line": "who won?"})
    assert "one line" in refused(ann, "/api/teaching/answer", {"question": 3, "line": "two\nlines"})
    assert "at least 5 answers" in refused(ann, "/api/teaching/learn")
    assert "before the goal was learnt" in refused(ann, "/api/teaching/keep")
    again = ok(ann, "/api/teaching/begin", {"goal": GOAL, "answers": 5})["course"]
    assert again["answers"] == 0 and again["question"]["proposed"] == first["proposed"]
    assert ok(ann, "/api/teaching/pass-over", {"question": 1})["course"]["answers"] == 1  # known, so not asked again
    assert len(taught.lessons(GOAL)) == 1


def test_what_cannot_be_is_refused(client: Callable[[str], TestClient]) -> None:
    ann = client(ANN)
    for goal in ("ask about pets.", "<|act|>", "a\nb", " "):
        refused(ann, "/api/teaching/begin", {"goal": goal})
    for answers in (4, 21, "5", None):
        refused(ann, "/api/teaching/begin", {"goal": GOAL, "answers": answers})
    assert "no version 3" in refused(ann, "/api/teaching/restore", {"version": 3})


def test_a_persons_answers_go_with_their_data_and_are_deleted_with_it(
    client: Callable[[str], TestClient], taught: TaughtSet
) -> None:
    ann, bob = client(ANN), client(BOB)
    for each in (ann, bob):
        answered(each)
    rows = [json.loads(row)["lesson"] for row in ann.get("/api/me/data").text.splitlines()]
    assert len(rows) == 5 and {row["person"] for row in rows} == {pseudonym(ANN)}
    assert ok(ann, "/api/me/data", method="DELETE") == {"deleted": 0, "deleted_lessons": 5}
    assert {lesson.person for lesson in taught.lessons()} == {pseudonym(BOB)}
    assert client(ANN).get("/api/me/data").text == ""
    assert ok(ann, "/api/teaching", method="GET")["course"] is None


def test_a_school_that_closes_breaks_learning_off(
    client: Callable[[str], TestClient], taught: TaughtSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = client(ANN)
    answered(ann)
    monkeypatch.setattr(teaching, "STEPS", 100_000)
    ok(ann, "/api/teaching/learn")
    school: School = ann.app.state.school  # type: ignore[attr-defined]
    school.close()
    course = ok(ann, "/api/teaching", method="GET")["course"]
    assert course["state"] == "failed" and "stopped" in course["error"] and not taught.versions


def test_where_nobody_teaches_the_page_is_told(tmp_path: Path) -> None:
    from fakes import EchoSpeaker

    with EpisodeStore(tmp_path / "a.db") as store:
        service = Service(EchoSpeaker(), EchoSpeaker(), small_personas(), store)
        made = TestClient(make_app(service, ["testserver"]))
        ok(made, "/api/login", {"agrees": True})
        assert ok(made, "/api/teaching", method="GET") == {"offered": False}
        for path in ("learn", "keep", "leave"):
            assert made.post(f"/api/teaching/{path}").status_code == 404

"""A whole visit in a real browser with a real model: talk, steer, correct, teach a goal, keep it, undo it, delete everything.

By keyboard alone, 400 pixels wide, and every page of it looked at by axe-core.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from browsing import eventually, open_browser, press, served_page, tab_to
from fakes import small_personas
from quick_teaching import make_quick
from tiny import tiny_model

pytest.importorskip("fastapi", reason='the page needs pip install "convogym[web]"')
pytest.importorskip("axe_playwright_python", reason="AXE LOOKED AT NO PAGE: pip install axe-playwright-python")

from convogym.agents.loading import load
from convogym.agents.reader_training import fresh_reader
from convogym.agents.sampling import Sampling
from convogym.agents.shared import SharedSpeaker
from convogym.experiments.school import School
from convogym.experiments.serving import Service
from convogym.experiments.taught_set import TaughtSet
from convogym.experiments.web import make_app
from convogym.store import EpisodeStore

GOAL = "ask about favorite anime."


@pytest.fixture
def taught(tmp_path: Path) -> TaughtSet:
    tiny_model().save(tmp_path / "base")
    return TaughtSet(tmp_path / "taught", str(tmp_path / "base"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    with EpisodeStore(tmp_path / "a.db") as opened:
        yield opened


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, store: EpisodeStore, taught: TaughtSet) -> Iterator[Any]:
    reader = fresh_reader(tiny_model(), 1, 0)
    make_quick(monkeypatch, reader)
    short = Sampling(max_tokens=8)

    def speakers(model: Any) -> tuple[SharedSpeaker, SharedSpeaker]:
        return SharedSpeaker(model.goal_speaker(short)), SharedSpeaker(model.responder(short))

    service = Service(*speakers(load(taught.model)), small_personas(), store, judge=lambda: reader)
    school = School(taught, load, lambda: reader, lambda model: service.speak_with(*speakers(model)), 0)
    with open_browser() as browser, served_page(browser, lambda: make_app(service, ["127.0.0.1"], school)) as opened:
        yield opened


def press_on(page: Any, name: str, key: str = "Enter") -> None:
    tab_to(page, name)
    press(page, key)


def check(page: Any, what: str) -> None:
    """Axe finds nothing serious, and nothing is wider than the window."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    assert not [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")], what
    assert page.evaluate("document.documentElement.scrollWidth") <= 400, what


def turns(store: EpisodeStore) -> Any:
    return next(iter(store.episodes(newest_first=True))).turns


def has_turns(store: EpisodeStore, count: int) -> bool:
    return store.count() == 1 and len(turns(store)) == count


def has_lessons(taught: TaughtSet, count: int) -> bool:
    return len(taught.lessons(GOAL)) == count


def test_a_whole_visit_by_keyboard_alone(page: Any, store: EpisodeStore, taught: TaughtSet) -> None:
    page.get_by_label("I have read this").wait_for()
    check(page, "coming in")
    press_on(page, "I have read this and agree.", "Space")
    press_on(page, "Come in")

    # Talk eight turns.
    page.get_by_role("button", name="Begin a talk").wait_for()
    press_on(page, "Begin a talk")
    for number in range(1, 9):
        eventually(lambda: page.evaluate("document.activeElement.id") == "line")
        page.keyboard.type(f"hello number {number}?")
        press(page, "Enter")
        eventually(partial(has_turns, store, number))
    eventually(lambda: page.locator("#log .reply").all_text_contents() == [turn.reply for turn in turns(store)])
    check(page, "talking")

    # Steer, and correct a line.
    page.get_by_label("I say them.").focus()
    press(page, "ArrowDown")
    press_on(page, "Begin a talk")
    page.get_by_role("button", name="What would each say?").wait_for()
    eventually(lambda: page.evaluate("document.activeElement.id") == "ahead")
    press(page, "1")
    page.get_by_label("A line that is to ask about pets.").wait_for()
    eventually(lambda: page.evaluate("document.activeElement.value") != "")
    press(page, "Enter")
    eventually(lambda: store.count() == 2)
    page.get_by_label("Mark for turn 1").wait_for()
    press_on(page, "Correct the line of turn 1")
    press(page, "Control+A")
    page.keyboard.type("do you have a dog?")
    press(page, "Enter")
    eventually(lambda: turns(store)[0].corrected_line == "do you have a dog?")
    check(page, "steering")

    # Teach a goal with ten corrections, and keep it.
    page.get_by_role("button", name="Teach").focus()
    press(page, "Enter")
    page.get_by_role("button", name="Begin to teach").wait_for()
    check(page, "teaching")
    tab_to(page, "What lines are to do")
    page.keyboard.type(GOAL)
    press(page, "Enter")
    for number in range(10):
        page.get_by_text(f"{GOAL} {number} of 10 lines").wait_for()
        eventually(lambda: page.evaluate("document.activeElement.id") == "answer")
        press(page, "Control+A")
        page.keyboard.type(f"do you like anime number {number}?")
        press(page, "Enter")
        eventually(partial(has_lessons, taught, number + 1))
    eventually(lambda: page.evaluate("document.activeElement.id") == "learn")
    check(page, "before learning")
    press(page, "Enter")
    page.get_by_role("button", name="Keep it").wait_for(timeout=120_000)
    cells = page.locator("#report-rows tr").all_text_contents()
    assert len(cells) == 3 + 11 and all("%" in cell for cell in cells[:2])
    check(page, "the report")
    press_on(page, "Keep it")
    page.get_by_text("Kept: it can be asked for").wait_for()
    assert TaughtSet(taught.folder, taught.base).goals == (GOAL,)

    # The goal can be asked for now, and not any more after undoing it.
    page.get_by_role("button", name="Talk", exact=True).focus()
    press(page, "Enter")
    press_on(page, "Begin a talk")
    page.get_by_role("button", name=f"11 {GOAL}").wait_for()
    page.get_by_role("button", name="Teach").focus()
    press(page, "Enter")
    press_on(page, "Use version 0")
    page.get_by_text("Version 0 is in use").wait_for()
    assert TaughtSet(taught.folder, taught.base).current == 0

    # Look at transcripts and the dashboard; delete everything.
    page.get_by_role("button", name="Transcripts").focus()
    press(page, "Enter")
    page.get_by_text("2 talks.").wait_for()
    check(page, "transcripts")
    page.get_by_role("button", name="My data").focus()
    press(page, "Enter")
    page.get_by_role("cell").first.wait_for()
    check(page, "my data")
    page.on("dialog", lambda dialog: dialog.accept())
    press_on(page, "Delete everything I said")
    page.get_by_text("2 talks and 10 lessons were deleted.").wait_for()
    assert store.count() == 0 and not taught.lessons()

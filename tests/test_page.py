"""The page in a real browser: by keyboard alone, in a narrow window, and with hostile text."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from browsing import eventually, open_browser, press, served_page, tab_to
from fakes import EchoSpeaker, small_personas

pytest.importorskip("fastapi", reason='the page needs pip install "convogym[web]"')
from convogym.agents.shared import SharedSpeaker
from convogym.experiments.serving import Service, pseudonym
from convogym.experiments.web import make_app
from convogym.speakers import Request, Utterance
from convogym.store import EpisodeStore

TOKEN = "token-of-ann-0123456789"
EVIL = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EpisodeStore]:
    with EpisodeStore(tmp_path / "a.db") as opened:
        yield opened


@pytest.fixture
def page(browser: Any, store: EpisodeStore) -> Iterator[Any]:
    service = Service(SharedSpeaker(EchoSpeaker()), SharedSpeaker(EchoSpeaker()), small_personas(), store, frozenset({TOKEN}))
    with served_page(browser, lambda: make_app(service, ["127.0.0.1"])) as opened:
        yield opened


def come_in(page: Any) -> None:
    page.get_by_label("Invite token").fill(TOKEN)
    page.get_by_label("I have read this").check()
    page.get_by_role("button", name="Come in").click()
    page.get_by_role("button", name="Begin a talk").wait_for()


def turns(store: EpisodeStore) -> Any:
    return next(iter(store.episodes(newest_first=True))).turns


def test_a_whole_steered_talk_by_keyboard_alone_at_400_pixels(page: Any, store: EpisodeStore) -> None:
    page.get_by_label("Invite token").wait_for()
    tab_to(page, "Invite token")
    page.keyboard.type(TOKEN)
    tab_to(page, "I have read this and agree.")
    press(page, "Space")
    tab_to(page, "Come in")
    press(page, "Enter")
    page.get_by_role("button", name="Begin a talk").wait_for()
    tab_to(page, "I say them.")
    press(page, "ArrowDown")
    tab_to(page, "Who answers: one fact")
    page.keyboard.type("i have two dogs.\ni am a nurse.")
    tab_to(page, "Begin a talk")
    press(page, "Enter")
    page.get_by_role("button", name="What would each say?").wait_for()
    press(page, "Enter")  # the focus is on the look-ahead
    page.get_by_text("ask about pets. please").wait_for()
    press(page, "1")
    page.get_by_label("A line that is to ask about pets.").wait_for()
    eventually(lambda: page.evaluate("document.activeElement.value").startswith("ask about pets. please"))
    assert "talk about work. please" in (page.locator("#goal-list").text_content() or "")  # the others can still be read
    press(page, "Enter")
    eventually(lambda: store.count() == 1)
    eventually(lambda: "please" not in page.locator("#goal-list").text_content())  # and no more when something was said
    page.locator("#log > li").wait_for()
    tab_to(page, "Mark for turn 1")
    press(page, "4")
    eventually(lambda: turns(store)[0].rating == 4.0)
    tab_to(page, "Correct the reply of turn 1")
    press(page, "Enter")
    press(page, "Control+A")
    page.keyboard.type("two dogs, rex and momo.")
    press(page, "Enter")
    eventually(lambda: turns(store)[0].corrected_reply == "two dogs, rex and momo.")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    [episode] = store.episodes()
    assert (episode.person, episode.turns[0].goal) == (pseudonym(TOKEN), "ask about pets.")
    assert episode.persona == ("i have two dogs.", "i am a nurse.")


def test_hostile_text_is_shown_and_not_obeyed(page: Any, store: EpisodeStore) -> None:
    come_in(page)
    page.get_by_label("Who answers: one fact").fill(EVIL)
    page.get_by_role("button", name="Begin a talk").click()
    page.get_by_label("Your line").fill(EVIL)
    page.get_by_role("button", name="Say it").click()
    eventually(lambda: page.locator("#log .reply").all_text_contents() == [EVIL])  # written out to its end
    assert page.locator("#log .line").all_text_contents() == [EVIL]
    assert page.evaluate("window.hacked") is None
    assert page.locator("#log img, #log script, #facts img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_preferring_taking_back_finding_and_deleting(page: Any, store: EpisodeStore) -> None:
    come_in(page)
    page.get_by_label("I pick what to ask about").check()
    page.get_by_role("button", name="Begin a talk").click()
    page.get_by_role("button", name="2 talk about work.").click()
    page.get_by_role("button", name="Two to choose from").click()
    better = page.locator("#second")
    better.wait_for()
    wanted = better.text_content()
    better.click()
    eventually(lambda: page.locator("#line").input_value() == wanted)
    page.get_by_role("button", name="Say it").click()
    eventually(lambda: store.count() == 1)
    assert turns(store)[0].line == wanted and turns(store)[0].comparisons[0].chosen == wanted
    page.get_by_role("button", name="Transcripts").click()
    page.get_by_role("button", name="1 turn:").click()
    page.get_by_role("button", name="Correct the line of turn 1").click()
    page.get_by_label("The line should be").fill("what do you do all day?")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("should be: what do you do all day?").wait_for()
    page.get_by_role("button", name="Talk", exact=True).click()
    page.get_by_role("button", name="Take the last turn back").click()
    eventually(lambda: store.count() == 0)
    page.get_by_role("button", name="3 ask about marital status.").click()
    page.get_by_role("button", name="Say it").click()
    eventually(lambda: store.count() == 1)
    page.get_by_role("button", name="My data").click()
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete everything I said").click()
    page.get_by_role("button", name="Come in").wait_for()
    assert store.count() == 0


class HeldSpeaker(EchoSpeaker):
    """Answers nothing before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.free = threading.Event()

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        self.free.wait(30)
        return super().speak(requests)


def test_a_line_sent_while_another_is_answered_is_said_next(browser: Any, store: EpisodeStore) -> None:
    answers = HeldSpeaker()
    service = Service(SharedSpeaker(EchoSpeaker()), SharedSpeaker(answers), small_personas(), store, frozenset({TOKEN}))
    with served_page(browser, lambda: make_app(service, ["127.0.0.1"])) as page:
        come_in(page)
        page.get_by_role("button", name="Begin a talk").click()
        eventually(lambda: page.evaluate("document.activeElement.id") == "line")
        page.keyboard.type("hello.")
        page.keyboard.press("Enter")
        page.get_by_text("hello.").wait_for()
        page.keyboard.type("how are you?")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        answers.free.set()
        eventually(lambda: store.count() == 1 and len(turns(store)) == 2)
        assert [turn.line for turn in turns(store)] == ["hello.", "how are you?"]
        eventually(lambda: page.locator("#log .reply").all_text_contents() == [turn.reply for turn in turns(store)])
        assert page.evaluate("document.activeElement.id") == "line" and not page.locator("#error").text_content()

"""Takes the pictures of the page that docs/people.md shows, with the shipped model: python tests/screenshots.py [FOLDER].

The teaching it shows is measured at fewer moments than `convogym teach` does, which would take minutes.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path
from typing import Any

from browsing import open_browser, served_page

from convogym.agents.loading import load
from convogym.agents.reader import load_reader
from convogym.agents.shared import SharedSpeaker
from convogym.experiments import teaching
from convogym.experiments.school import School
from convogym.experiments.serving import Service
from convogym.experiments.taught_set import TaughtSet
from convogym.experiments.web import make_app
from convogym.personas import load_personas
from convogym.store import EpisodeStore

FEWER = {"POOL": 40, "STEPS": 24, "HELD_OUT": 20, "HELD_OUT_OLD": 3}
WIDTH = 720  # pixels
GOAL = "talk about sports."
LINES = (
    "do you play any sports?", "what is your favorite team?", "did you watch the game last night?", "i love football, do you?",
    "who taught you to swim?", "do you go running in the morning?",
)  # fmt: skip


def main(folder: Path) -> None:
    """Writes one PNG a page."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in FEWER.items():
        setattr(teaching, name, value)
    with tempfile.TemporaryDirectory() as scratch, EpisodeStore(Path(scratch) / "people.db") as store:
        taught = TaughtSet(Path(scratch) / "taught", "persona-mini")
        reader = functools.cache(load_reader)

        def speakers(model: Any) -> tuple[SharedSpeaker, SharedSpeaker]:
            return SharedSpeaker(model.goal_speaker()), SharedSpeaker(model.responder())

        service = Service(*speakers(load(taught.model)), load_personas("train"), store, judge=reader)
        school = School(taught, load, reader, lambda model: service.speak_with(*speakers(model)), 0)
        with open_browser() as browser, served_page(browser, lambda: make_app(service, ["127.0.0.1"], school), WIDTH) as page:
            page.set_default_timeout(1_800_000)
            _visit(page, lambda name: page.screenshot(path=folder / f"{name}.png", full_page=True))


def _visit(page: Any, take: Any) -> None:
    def press(name: str) -> None:
        page.get_by_role("button", name=name, exact=True).click()

    page.get_by_label("I have read this").check()
    take("consent")
    press("Come in")
    page.get_by_label("Who answers: one fact").fill(
        "i have two dogs named rex and momo.\ni drive a night bus.\ni love thai food."
    )
    press("Begin a talk")
    for number, line in enumerate(("hi! do you have any pets?", "what do you do for a living?"), 1):
        page.get_by_label("Your line").fill(line)
        press("Say it")
        page.get_by_label(f"Mark for turn {number}").wait_for()
    page.get_by_label("Mark for turn 1").select_option("5")
    take("talk")
    page.get_by_label("I pick what to ask about").check()
    press("Begin a talk")
    press("What would each say?")
    page.locator("#goal-list span:not(:empty)").first.wait_for()
    page.get_by_role("button", name="1 ask about pets.").click()
    page.locator("#say-form").wait_for()
    take("steer")
    press("Say it")
    page.get_by_role("button", name="Correct the line of turn 1").click()
    page.get_by_label("The line should be").fill("do you have a dog or a cat?")
    press("Save")
    page.get_by_text("should be:").wait_for()
    press("Teach")
    page.get_by_label("What lines are to do").fill(GOAL)
    press("Begin to teach")
    for number in range(10):
        page.get_by_text(f"{GOAL} {number} of 10 lines").wait_for()
        if number == 3:
            take("teach")
        page.get_by_label("The line, right or corrected").fill(LINES[number % len(LINES)])
        press("This is the line")
    press("Learn from these lines")
    page.get_by_role("button", name="Keep it").wait_for()
    take("report")
    press("Keep it")
    page.get_by_text("Kept: it can be asked for").wait_for()
    press("Transcripts")
    page.locator("#found button").first.click()
    page.locator("#read > li").first.wait_for()
    take("transcripts")
    press("My data")
    page.get_by_role("cell").first.wait_for()
    take("my-data")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screenshots"))

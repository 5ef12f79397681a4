"""Teaching with fewer moments and dialogues, and a tiny reader in place of the shipped one, for tests."""

from __future__ import annotations

import pytest

from convogym import steered_talk
from convogym.agents import reader as reading
from convogym.agents.reader import Reader
from convogym.experiments import teaching

SIZES = {"POOL": 14, "STEPS": 2, "TALKS": 8, "HELD_OUT": 3, "HELD_OUT_OLD": 2}


def make_quick(monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
    """Until the test's end."""
    for name, value in SIZES.items():
        monkeypatch.setattr(teaching, name, value)
    splits = {split: steered_talk.load(split)[:count] for split, count in (("train", 120), ("dev", 20))}
    monkeypatch.setattr(steered_talk, "load", splits.__getitem__)
    monkeypatch.setattr(reading, "load_reader", lambda folder=None: reader)

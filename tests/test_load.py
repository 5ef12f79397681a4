"""Simulated people at a real server process: nothing is lost or crossed, also when it is killed among them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import tiny_model
from typer.testing import CliRunner

pytest.importorskip("fastapi", reason='the web interface needs pip install "convogym[web]"')
pytest.importorskip("httpx", reason="the simulated people need httpx")

from convogym.errors import InputError
from convogym.experiments import load
from convogym.experiments.cli import app


def test_six_people_lose_nothing_though_the_server_is_killed(tmp_path: Path) -> None:
    tiny_model().save(tmp_path / "tiny")
    words = ["--users", "6", "--minutes", "0.1", "--pause", "0.05", "--kill", "--model", str(tmp_path / "tiny"), "--json"]
    result = CliRunner().invoke(app, ["benchmark-load", *words])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert (found["errors"], found["talks_with_lost_turns"], found["crossed_talks"]) == ([], 0, 0)
    assert (
        found["turns_in_flight_at_the_kill"] <= 6
        and found["turns"] > 12
        and 0 < found["first_token_p95"] <= found["reply_p95"]
    )


def test_a_server_that_does_not_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"did not start: .*persona-miny"):
        load.load(tmp_path, 1, 1.0, 0.0, False, "persona-miny", 0, lambda seconds: None)


def test_lost_and_crossed_turns_are_seen() -> None:
    import asyncio

    import httpx
    import numpy as np

    def record(*turns: tuple[str, str]) -> str:
        return json.dumps({"id": "t", "turns": [{"line": line, "reply": reply} for line, reply in turns]})

    def noticed(recorded: str, in_flight: list[str]) -> list[str]:
        person = load._Person(7, "x", np.random.default_rng(0), [("t", "a (7-1)", "b"), ("t", "c (7-2)", "d")], in_flight)

        async def compare() -> None:
            transport = httpx.MockTransport(lambda request: httpx.Response(200, text=recorded))
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                await load._compare(client, person)

        asyncio.run(compare())
        return [error.partition(":")[0] for error in person.errors]

    first, second, third = ("a (7-1)", "b"), ("c (7-2)", "d"), ("e (7-3)", "f")
    assert noticed(record(first, second), []) == []
    assert noticed(record(first, second, third), ["e (7-3)"]) == []
    assert noticed(record(first), []) == ["lost"]
    assert noticed("", []) == ["lost"]
    assert noticed(record(first, ("c (7-2)", "x")), []) == ["lost"]
    assert noticed(record(first, second, ("e (8-3)", "f")), []) == ["crossed"]

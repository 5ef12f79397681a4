"""What the web server bears: simulated people talk at once with a real server process, which may be killed among them.

Everybody's lines are their own, so a turn in somebody else's record is seen. Afterwards each person's data is downloaded and
compared with what that person was answered. Speaks HTTP; prints nothing, gives a dict.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convogym import grammar
from convogym.errors import InputError
from convogym.experiments.serving import add_tokens

if TYPE_CHECKING:
    import httpx

START_SECONDS = 120  # in which a server must be there
ANSWER_SECONDS = 60.0  # after which an answer counts as an error
AGAIN_SECONDS = 0.5  # before somebody who was cut off tries again


@dataclass
class _Person:
    """One simulated person, and what happened to them."""

    number: int
    token: str
    rng: np.random.Generator
    turns: list[tuple[str, str, str]] = field(default_factory=list)
    """talk, line and reply of every turn that was answered"""
    in_flight: list[str] = field(default_factory=list)
    """lines that a dead server left unanswered"""
    lines: int = 0
    """how many were sent"""
    first: list[float] = field(default_factory=list)
    """seconds from sending a line to the first token of the reply"""
    whole: list[float] = field(default_factory=list)
    """seconds to the whole reply"""
    errors: list[str] = field(default_factory=list)


class _Server:
    """A `convogym serve` process of its own."""

    def __init__(self, folder: Path, model: str, seed: int) -> None:
        self._words = ["serve", "--store", str(folder / "people.db"), "--tokens", str(folder / "tokens.txt"), "--json"]
        self._words += ["--model", model, "--seed", str(seed)]
        self._port, self._log = 0, folder / "server.log"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        """Starts it, on the port it had if it was started before; gives its address.

        Raises:
            InputError: it did not start.
        """
        command = [sys.executable, "-m", "convogym.experiments.cli", *self._words, "--port", str(self._port)]
        with self._log.open("a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        if not said:
            raise InputError(f"the server did not start: {self._log.read_text()[-500:]}")
        url = str(json.loads(said)["url"]).rstrip("/")
        self._port = int(url.rpartition(":")[2])
        return url

    def end(self, kill: bool = False) -> None:
        """Asks it to end, or kills it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
            try:
                self.process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def load(
    folder: Path, users: int, seconds: float, pause: float, kill: bool, model: str, seed: int, tick: Callable[[int], object]
) -> dict[str, Any]:
    """Lets people talk, and checks afterwards that everything is where it belongs.

    Args:
        folder: new or empty; gets the store and the tokens.
        users: how many people talk at once.
        seconds: for how long.
        pause: mean seconds between a reply and the next line, exponentially distributed; 0 = nobody thinks.
        kill: whether the server is killed with SIGKILL in the middle, and started again.
        model: name, folder or hub id.
        seed: of what people say and when.
        tick: told of seconds that passed.

    Returns:
        Turns, errors, lost and crossed turns, and latencies in seconds.

    Raises:
        InputError: httpx is not installed, or the server did not start.
    """
    try:
        import httpx  # noqa: F401
    except ImportError as error:
        raise InputError('httpx is not installed, run `pip install "convogym[web]"`.') from error
    tokens = add_tokens(folder / "tokens.txt", users)
    people = [_Person(n, token, np.random.default_rng([seed, n])) for n, token in enumerate(tokens)]
    server = _Server(folder, model, seed)
    try:
        asyncio.run(_run(server, people, seconds, pause, kill, tick))
    finally:
        server.end()
    return _told(people, seconds)


async def _run(
    server: _Server, people: list[_Person], seconds: float, pause: float, kill: bool, tick: Callable[[int], object]
) -> None:
    import httpx

    url = await asyncio.to_thread(server.start)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=ANSWER_SECONDS, limits=limits) as client:
        until = time.monotonic() + seconds
        visits = [asyncio.create_task(_visit(client, person, until, pause)) for person in people]
        for second in range(int(seconds)):
            await asyncio.sleep(1)
            tick(1)
            if kill and second == int(seconds) // 2:
                await asyncio.to_thread(server.end, kill=True)
                await asyncio.to_thread(server.start)
        await asyncio.gather(*visits)
        for person in people:
            await _compare(client, person)


async def _visit(client: httpx.AsyncClient, person: _Person, until: float, pause: float) -> None:
    """Comes in and talks until the time is over, beginning another talk when one is full."""
    import httpx

    me = {"Authorization": f"Bearer {person.token}"}
    talk, has_turns = "", False
    await asyncio.sleep(person.rng.exponential(pause))
    while time.monotonic() < until:
        try:
            if not talk:
                await _asked(client, "/api/login", me, {"token": person.token, "agrees": True})
                talk, has_turns = (await _asked(client, "/api/talks", me, {"mode": "talk"}))["talk"], False
            line = _line(person)
            try:
                view = await _say(client, f"/api/talks/{talk}/say-live", me, line, person)
            except httpx.ConnectError:
                raise
            except httpx.TransportError:
                person.in_flight.append(line)  # it may have been recorded or not
                raise
            person.turns.append((talk, line, view["turns"][-1]["reply"]))
            talk, has_turns = "" if view["ended"] else talk, True
        except httpx.TimeoutException as error:
            person.errors.append(f"no answer in {ANSWER_SECONDS:.0f} s: {type(error).__name__}")
            talk = ""
        except httpx.TransportError:  # the server is dead; a talk in which nothing was answered may be gone with it
            talk = talk if has_turns else ""
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        except _Refused as refusal:
            person.errors.append(str(refusal))
            talk = ""
        await asyncio.sleep(person.rng.exponential(pause))


class _Refused(Exception):
    """The server answered with an error."""


async def _asked(client: httpx.AsyncClient, path: str, me: dict[str, str], body: Any) -> Any:
    answer = await client.post(path, json=body, headers=me)
    if answer.status_code != 200:
        raise _Refused(f"{path}: {answer.status_code} {answer.text[:200]}")
    return answer.json()


async def _say(client: httpx.AsyncClient, path: str, me: dict[str, str], line: str, person: _Person) -> Any:
    began, first = time.monotonic(), 0.0
    async for row in _rows(client, path, me, {"line": line}):
        first = first or time.monotonic() - began
        if "error" in row:
            raise _Refused(f"{path}: {row['error']}")
        if "view" in row:
            person.first.append(first)
            person.whole.append(time.monotonic() - began)
            return row["view"]
    raise _Refused(f"{path}: the answer broke off")


async def _rows(client: httpx.AsyncClient, path: str, me: dict[str, str], body: Any) -> AsyncIterator[dict[str, Any]]:
    async with client.stream("POST", path, json=body, headers=me) as answer:
        if answer.status_code != 200:
            raise _Refused(f"{path}: {answer.status_code} {(await answer.aread())[:200]!r}")
        async for text in answer.aiter_lines():
            yield json.loads(text)


def _line(person: _Person) -> str:
    """Something nobody else says."""
    asked = grammar.dialogue(person.rng, "train").turns[0].line
    person.lines += 1
    return f"{asked} ({person.number}-{person.lines})"


async def _compare(client: httpx.AsyncClient, person: _Person) -> None:
    """Notes what a person's record lacks of what they were answered, and what it has that is not theirs."""
    answer = await client.get("/api/me/data", headers={"Authorization": f"Bearer {person.token}"})
    recorded: dict[str, list[tuple[str, str]]] = {}
    for row in answer.text.splitlines():
        episode = json.loads(row)
        recorded[episode["id"]] = [(turn["line"], turn["reply"]) for turn in episode["turns"]]
    answered: dict[str, list[tuple[str, str]]] = {}
    for talk, line, reply in person.turns:
        answered.setdefault(talk, []).append((line, reply))
    for talk in answered.keys() | recorded.keys():
        theirs, kept = answered.get(talk, []), recorded.get(talk, [])
        if [turn for turn in kept if turn[0] not in person.in_flight] != theirs:
            strange = [line for line, _ in kept if f"({person.number}-" not in line]
            person.errors.append(f"{'crossed' if strange else 'lost'}: person {person.number}, talk {talk}")


def _told(people: list[_Person], seconds: float) -> dict[str, Any]:
    first = np.array([value for person in people for value in person.first] or [np.nan])
    whole = np.array([value for person in people for value in person.whole] or [np.nan])
    errors = [error for person in people for error in person.errors]
    turns = sum(len(person.turns) for person in people)
    return {
        "users": len(people),
        "seconds": seconds,
        "cores": os.cpu_count(),
        "turns": turns,
        "turns_a_second": turns / seconds,
        "errors": [error for error in errors if not error.startswith(("lost", "crossed"))],
        "talks_with_lost_turns": sum(error.startswith("lost") for error in errors),
        "crossed_talks": sum(error.startswith("crossed") for error in errors),
        "turns_in_flight_at_the_kill": sum(len(person.in_flight) for person in people),
        "first_token_p50": float(np.quantile(first, 0.5)),
        "first_token_p95": float(np.quantile(first, 0.95)),
        "reply_p50": float(np.quantile(whole, 0.5)),
        "reply_p95": float(np.quantile(whole, 0.95)),
    }

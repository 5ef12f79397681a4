"""How the `convogym` program speaks: results on standard output, everything else on standard error, errors as one line.

With `--json` the one JSON object of the result is all that standard output gets; without it, results are tables. Exit codes:
0, 2 for what the user or the machine got wrong (`InputError`, `OSError`), 130 after Ctrl-C.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer
from typer.core import TyperGroup

from convogym.errors import InputError
from convogym.text import printable

if TYPE_CHECKING:
    from rich.table import Table
    from tqdm import tqdm

USAGE, INTERRUPTED = 2, 130  # exit codes
QUIET_SECONDS = 2.0  # what is done sooner needs no progress bar

_COLOURS = {"a: ": "cyan", "a? ": "cyan italic", "b: ": "green"}  # of what the speakers say in a conversation

Tick = Callable[[int], object]
"""Called with how much was done since the last call."""


def ignore_ticks(done: int) -> None:
    """The tick of whoever shows no progress."""


class Stopped(Exception):
    """Ctrl-C was pressed; the message says what was kept."""


@contextmanager
def stoppable(kept: Callable[[], str]) -> Iterator[None]:
    """Turns Ctrl-C within the block into `Stopped`.

    Args:
        kept: says what was kept and how to go on; called only then.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(kept()) from None


class Console:
    """Where one command writes."""

    def __init__(self, as_json: bool = False) -> None:
        """Takes the `--json` flag."""
        self.as_json = as_json

    @property
    def progress(self) -> bool:
        """Whether to show progress bars."""
        return not self.as_json and sys.stderr.isatty()

    def bar(self, total: int, what: str, unit: str) -> tqdm[Any]:
        """A progress bar, to be used in a `with`; hidden unless somebody watches and it takes a while."""
        from tqdm import tqdm

        return tqdm(
            total=total, desc=what, unit=unit, file=sys.stderr, disable=not self.progress, delay=QUIET_SECONDS, leave=False
        )

    def note(self, text: str) -> None:
        """Writes a remark to standard error."""
        _write(sys.stderr, text)

    def say(self, text: str) -> None:
        """Writes a part of a conversation: to standard output, or with `--json`, which keeps that free, to standard error."""
        _write(sys.stderr if self.as_json else sys.stdout, text)

    def say_in_colour(self, text: str) -> None:
        """The same with the two speakers told apart by colour, where a terminal shows it; elsewhere plain."""
        if self.as_json or not sys.stdout.isatty():
            self.say(text)
            return
        from rich.console import Console as RichConsole
        from rich.text import Text

        rich = RichConsole(file=sys.stdout, markup=False, highlight=False, emoji=False)
        for row in text.split("\n"):
            rich.print(Text(row, style=_COLOURS.get(row[:3], "")), soft_wrap=True)

    def result(self, values: Mapping[str, Any], title: str = "") -> None:
        """Writes what a command came to.

        Args:
            values: what to show; anything `as_json_value` takes.
            title: what stands over the tables.
        """
        plain = as_json_value(values)
        if self.as_json:
            _write(sys.stdout, json.dumps(plain, allow_nan=False))
            return
        from rich.console import Console as RichConsole

        rich = RichConsole(file=sys.stdout, markup=False, highlight=False, emoji=False)
        for table in tables(plain, title):
            rich.print(table)
        sys.stdout.flush()


def _write(stream: Any, text: str) -> None:
    print(text, file=stream, flush=True)


def as_json_value(value: Any) -> Any:
    """The value in JSON's own types: arrays and tuples become lists, paths and keys texts, infinite numbers and NaN None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_json_value(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [as_json_value(inner) for inner in value]
    return str(value)


# --- tables -----------------------------------------------------------------------------------------------------------------


def tables(values: Mapping[str, Any], title: str = "") -> list[Table]:
    """Tables for a result: one for its plain values, one more for each mapping or list of mappings in it.

    An interval `x_interval` is shown beside its `x`.

    Args:
        values: JSON values.
        title: of the first table.
    """
    plain = {key: value for key, value in values.items() if not _is_nested(value)}
    found = []
    if plain:
        rows = [(key, _with_interval(key, plain)) for key in plain if not _has_own_value(key, plain)]
        found.append(_table(title, ("", ""), rows))
    for key, value in values.items():
        if not _is_nested(value):
            continue
        name = key if found else " ".join(filter(None, (title, key)))
        if isinstance(value, Mapping) and all(isinstance(inner, Mapping) for inner in value.values()):
            found.append(_grid(name, [{"": row, **inner} for row, inner in value.items()]))
        elif isinstance(value, Mapping):
            found.append(_table(name, ("", ""), [(inner, _cell(value[inner])) for inner in value]))
        else:
            found.append(_grid(name, value))
    return found


def _is_nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list) and bool(value) and all(isinstance(inner, Mapping) for inner in value)


def _grid(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """A table with a column for every key of the rows."""
    keys = list(dict.fromkeys(key for row in rows for key in row if not _has_own_value(key, row)))
    return _table(title, tuple(keys), [tuple(_with_interval(key, row) for key in keys) for row in rows])


def _has_own_value(key: str, row: Mapping[str, Any]) -> bool:
    """Whether an interval is shown beside its value."""
    return key.endswith("_interval") and key.removesuffix("_interval") in row


def _with_interval(key: str, values: Mapping[str, Any]) -> str:
    around = values.get(f"{key}_interval")
    return _cell(values.get(key)) + (f"  [{', '.join(map(_cell, around))}]" if isinstance(around, list) else "")


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    if isinstance(value, list):
        return ", ".join(map(_cell, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell(inner)}" for key, inner in value.items())
    return printable(str(value))


def _table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    heading = Text(printable(title), style="bold")
    table = Table(title=heading, title_justify="left", show_header=any(columns), box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(printable(column)), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


# --- errors and exit codes --------------------------------------------------------------------------------------------------


class Program(TyperGroup):
    """A group of commands that tells errors in one line instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        with told():
            return super().invoke(ctx)


@contextmanager
def told() -> Iterator[None]:
    """Tells an error of the user or of the machine in one line on standard error, and leaves with its exit code."""
    try:
        yield
    except Stopped as stop:
        _leave(f"stopped. {stop}", INTERRUPTED)
    except KeyboardInterrupt:
        _leave("stopped; nothing was kept.", INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has left (`convogym ... | head`): nothing to tell
        _mute_stdout()
        raise typer.Exit(1) from None
    except InputError as error:
        _leave(str(error), USAGE)
    except OSError as error:
        _leave(describe(error), USAGE)


def describe(error: OSError) -> str:
    """What went wrong, and with which file, in one line."""
    if error.strerror is None:
        return str(error)
    where = f"{error.filename}: " if error.filename is not None else ""
    return f"{where}{error.strerror}."


def _leave(message: str, code: int) -> None:
    try:
        _write(sys.stderr, f"convogym: {printable(message)}")
    except OSError:  # nobody can be told
        pass
    _mute_stdout()
    raise typer.Exit(code) from None


def _mute_stdout() -> None:
    """Keeps the interpreter from failing again at its end over output that cannot be written."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        except (OSError, ValueError):  # no real file beneath, as in tests
            pass


# --- checks that come before long work --------------------------------------------------------------------------------------


def check_out(folder: Path) -> Path:
    """Makes an output folder if need be and writes to it once, so that hours later nobody finds out that it cannot be written.

    Raises:
        OSError: it cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".convogym.{os.getpid()}"
    try:
        with open(probe, "wb") as file:
            file.write(b"\0" * 4096)
            file.flush()
            os.fsync(file.fileno())
    finally:
        probe.unlink(missing_ok=True)
    return folder


def machine() -> dict[str, Any]:
    """Where a figure was measured."""
    from importlib.metadata import version

    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": version("torch"),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }


def _processor() -> str:
    try:
        for row in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if row.startswith("model name"):
                return row.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

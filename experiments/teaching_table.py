"""All that is asked of teaching in one table: corrections, orders of asking, and the original's procedure; with a figure.

convogym evaluate teaching-table --out runs/teaching
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convogym.errors import CheckpointError
from convogym.experiments import teaching
from convogym.experiments.evaluate_teaching import PROTOCOL, evaluate_teaching

COUNTS = (20, 10, 5)  # corrections a goal
CELLS = (
    *((count, order, "rehearsed") for order in teaching.ORDERS for count in COUNTS),
    (COUNTS[0], teaching.ORDERS[0], "original"),
)
"""corrections, order and procedure of every line of the table, the most wanted first"""


def teaching_table(model: str, goals: int, seed: int, out: Path, tick: teaching.Tick) -> dict[str, Any]:
    """Evaluates teaching in every way of `CELLS`, each on a fresh model.

    Args:
        model: name, folder or hub id to start from.
        goals: how many of steered-talk's extra goals.
        seed: of everything.
        out: gets a JSON file a line of the table when it is done, and `curve.png`; what is there of the same run is taken from
            there, so a run that was stopped goes on.
        tick: told of lines done.

    Raises:
        CheckpointError: a file there is no line of such a table.
        OSError: the folder cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    judges: dict[str, teaching.Judge] = {}
    rows = []
    for corrections, order, procedure in CELLS:
        path = out / f"{corrections}-{order}-{procedure}-{goals}-{seed}.json"
        found = _read(path, model)
        if found is None:
            found = evaluate_teaching(model, goals, corrections, order, seed, lambda done: None, procedure, judges)
            path.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        rows.append({name: value for name, value in found.items() if name not in ("rows", "protocol", "taught_in_the_end")})
        tick(1)
    draw_table(rows, out / "curve.png")
    return {"protocol": PROTOCOL, "rows": rows, "figure": str(out / "curve.png")}


def _read(path: Path, model: str) -> dict[str, Any] | None:
    """A line written earlier; None = there is none for this model."""
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found if found["model"] == model else None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: expected a line of a teaching table, {error}; delete it.") from error


def draw_table(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draws mean following of the taught goals against corrections, a curve for each way of asking and learning, to a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for order, procedure in dict.fromkeys((row["order"], row["procedure"]) for row in rows):
        mine = sorted(
            (row["corrections"], row["mean_after"]) for row in rows if (row["order"], row["procedure"]) == (order, procedure)
        )
        axes.plot([x for x, _ in mine], [y for _, y in mine], marker="o", label=f"{procedure}, {order} moments")
    axes.axhline(0.8, linestyle=":", color="gray")
    axes.set(xlabel="corrections a goal", ylabel="taught goals followed", ylim=(0, 1))
    axes.legend()
    figure.savefig(path, dpi=120)

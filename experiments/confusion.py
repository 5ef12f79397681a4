"""Writes a table of which goals lines carried out by which they were asked to: as CSV for machines, as PNG for people."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path


def write_confusion(folder: Path, counts: Sequence[Sequence[int]], goals: Sequence[str], lines: int) -> list[Path]:
    """Writes `confusion.csv` (counts) and `confusion.png` (shares) into a folder.

    Args:
        folder: must be there.
        counts: (goals, goals): of the lines asked for the row's goal, how many carry out the column's; a line may carry out
            several or none, so rows need not add up to `lines`.
        goals: texts, in order.
        lines: asked for each goal, at least 1.

    Returns:
        The two files.
    """
    table, plot = folder / "confusion.csv", folder / "confusion.png"
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["asked for", "lines", *goals])
        writer.writerows([goal, lines, *row] for goal, row in zip(goals, counts, strict=True))
    _draw(plot, counts, goals, lines)
    return [table, plot]


def _draw(path: Path, counts: Sequence[Sequence[int]], goals: Sequence[str], lines: int) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shares = [[count / lines for count in row] for row in counts]
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    for row, values in enumerate(shares):
        for column, share in enumerate(values):
            if share:
                axes.text(column, row, f"{share:.2f}", ha="center", va="center", color="white" if share > 0.5 else "black")
    axes.set_xticks(range(len(goals)), goals, rotation=45, ha="right")
    axes.set_yticks(range(len(goals)), goals)
    axes.set_xlabel("goal the line carries out, to the judge")
    axes.set_ylabel("goal it was asked for")
    figure.colorbar(image, label=f"share of {lines} lines", shrink=0.8)
    figure.savefig(path, format="png", dpi=110)

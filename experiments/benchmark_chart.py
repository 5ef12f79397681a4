"""Writes a benchmark to a folder, as numbers and drawn. Knows nothing of how they came about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_benchmark(result: Mapping[str, Any], folder: Path) -> None:
    """Writes `benchmark.json` and `benchmark.png` (speed by number of dialogues, cost of each turn of a long talk).

    Each is written whole or not at all.

    Args:
        result: what `convogym.experiments.benchmark.benchmark` gives.
        folder: where to; it is there.

    Raises:
        OSError: it cannot be written.
    """
    numbers, chart = folder / "benchmark.json", folder / "benchmark.png"
    scratch = numbers.with_suffix(".partial")
    scratch.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    scratch.replace(numbers)
    _draw(result, scratch)
    scratch.replace(chart)


def _draw(result: Mapping[str, Any], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    speed, cost = figure.subplots(1, 2)
    _draw_speed(speed, result)
    _draw_cost(cost, result)
    figure.suptitle(f"{result['responder']}, {result['machine']['processor']}, {result['machine']['threads']} threads")
    figure.savefig(path, format="png", dpi=110)


def _draw_speed(axes: Any, result: Mapping[str, Any]) -> None:
    for system, marker in (("engine", "o"), ("environment", "s")):
        for layout, speeds in result[system].items():
            axes.plot([int(size) for size in speeds], list(speeds.values()), marker=marker, label=f"{system}, {layout}")
    for system, label in (("reference", "original's loop"), ("generate", "generate of transformers")):
        measured = result["measured"][system]
        axes.plot([measured["side_by_side"]], [measured["turns_per_s"]], linestyle="", marker="*", markersize=12, label=label)
    sizes = [int(size) for size in result["environment_overhead"]]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xlabel("dialogues side by side")
    axes.set_ylabel("turns per second, all together")
    axes.legend()


def _draw_cost(axes: Any, result: Mapping[str, Any]) -> None:
    seconds = result["long_turn_seconds"]
    axes.plot(range(1, len(seconds) + 1), seconds, marker=".")
    for first, last in result["late_turns"]:
        axes.axvspan(first - 0.5, last + 0.5, color="#9aa5b1", alpha=0.3)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("turn of a long talk")
    axes.set_ylabel(f"seconds, {result['measured']['long']['side_by_side']} dialogues")

"""Writes the demo's HTML page: tables, plots and transcripts in one file. Knows nothing of how they came about."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convogym.experiments.console import machine

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.3rem .8rem;border-bottom:1px solid #ccc;text-align:left}
pre{background:#f5f5f2;padding:1rem;white-space:pre-wrap;border-radius:6px}img{max-width:100%}
.talks{display:grid;grid-template-columns:repeat(auto-fit,minmax(22rem,1fr));gap:1rem}
"""


def write_report(
    path: Path,
    result: dict[str, Any],
    compared: dict[str, Any],
    trained: dict[str, Any],
    tuned: dict[str, Any],
    before: dict[str, Any],
    after: dict[str, Any],
) -> None:
    """Writes the page, whole or not at all.

    Args:
        path: the HTML file.
        result: what `run_demo` gives.
        compared: of `evaluate_policies`.
        trained: of `train_policy`, for its curve.
        tuned: of `finetune`, for its curve.
        before: of `evaluate_goals`, of the model as shipped.
        after: the same of the tuned model.
    """
    rows = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{s['mean_return']:.3f}</td><td>{s['mean_return_interval'][0]:.3f} .. "
        f"{s['mean_return_interval'][1]:.3f}</td><td>{s['true_persona_first']:.1%}</td><td>{s['goals_asked']:.1f}</td></tr>"
        for name, s in result["policies"].items()
    )
    gaps = "".join(
        f"<li>{html.escape(d['a'])} minus {html.escape(d['b'])}: {d['mean']:.3f} [{d['mean_interval'][0]:.3f}, "
        f"{d['mean_interval'][1]:.3f}]: {'no winner' if d['winner'] is None else html.escape(d['winner']) + ' is better'}</li>"
        for d in result["differences"]
    )
    talks = "".join(
        f"<div><h3>{html.escape(name)}</h3><pre>{html.escape(text)}</pre></div>"
        for name, text in result["transcripts"].items()
    )
    following = result["goal_following"]
    around = {when: "{:.1%} .. {:.1%}".format(*following[f"{when}_interval"]) for when in ("before", "after")}
    plots = {
        name: _plot(draw, height)
        for name, draw, height in (
            ("returns", lambda axes: _draw_returns(axes, result), 3.2),
            ("turns", lambda axes: _draw_turns(axes, compared), 3.2),
            ("curve", lambda axes: _draw_curve(axes, trained), 3.2),
            ("goals", lambda axes: _draw_goals(axes, before, after), 7.0),
            ("losses", lambda axes: _draw_losses(axes, tuned), 3.2),
        )
    }
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>convogym demo</title><style>{_STYLE}</style></head>
<body><h1>convogym demo</h1>
<p>A {html.escape(str(trained.get("algorithm", "learned")))} policy was trained on {result["trained_turns"]} turns
(seed {result["seed"]}), then each policy talked to the same {compared["n"]} held-out personas. The return is how many nats of
log-probability the talk added to the true persona among it and 20 others. Intervals: 95 %, bootstrap.
Machine: {html.escape(str(machine()))}. {result["seconds"]} s in all.</p>
<h2>Who steers best?</h2>
<table><tr><th>policy</th><th>mean return</th><th>95 % interval</th><th>true persona first</th><th>different goals</th></tr>
{rows}</table>
<ul>{gaps}</ul>
<img alt="mean return of each policy, with intervals" src="{plots["returns"]}">
<img alt="mean reward at each turn, by policy" src="{plots["turns"]}">
<img alt="mean return while the policy learnt" src="{plots["curve"]}">
<h2>Does the model follow its goals?</h2>
<p>{following["before"]:.1%} of {following["n"]} lines before fine-tuning, {following["after"]:.1%} after (intervals
{around["before"]} and {around["after"]}), as judged by {html.escape(str(before["judge"]))}.
Learnt from: {html.escape(str(tuned["learnt_from"]))}.</p>
<img alt="goal following of each goal before and after" src="{plots["goals"]}">
<img alt="losses while fine-tuning" src="{plots["losses"]}">
<h2>The same talk before and after</h2><div class="talks">{talks}</div></body></html>"""
    scratch = path.with_suffix(".partial")
    scratch.write_text(page, "utf-8")
    scratch.replace(path)


def _plot(draw: Callable[[Any], None], height: float) -> str:
    """A drawing as a data URL; the height is in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _draw_returns(axes: Any, result: dict[str, Any]) -> None:
    names = list(result["policies"])
    means = [result["policies"][name]["mean_return"] for name in names]
    around = [result["policies"][name]["mean_return_interval"] for name in names]
    errors = [
        [m - low for m, (low, _) in zip(means, around, strict=True)],
        [high - m for m, (_, high) in zip(means, around, strict=True)],
    ]
    axes.barh(names, means, xerr=errors, color=["#9aa5b1", "#6b9080", "#e07a5f"][: len(names)], capsize=4)
    axes.set_xlabel("mean return on held-out personas (nats), 95 % interval")


def _draw_turns(axes: Any, compared: dict[str, Any]) -> None:
    for name, summary in compared["policies"].items():
        rewards = summary["turn_rewards"]
        axes.plot(range(1, len(rewards) + 1), rewards, marker="o", label=name)
    axes.set_xlabel("turn")
    axes.set_ylabel("mean reward")
    axes.legend()


def _draw_curve(axes: Any, trained: dict[str, Any]) -> None:
    curve = trained["curve"]
    axes.plot([point[0] for point in curve], [point[1] for point in curve], marker=".")
    axes.set_xlabel("turns learnt from")
    axes.set_ylabel("mean return")


def _draw_goals(axes: Any, before: dict[str, Any], after: dict[str, Any]) -> None:
    goals = list(before["per_goal"])[::-1]
    axes.barh(
        [i + 0.2 for i in range(len(goals))], [before["per_goal"][g] for g in goals], 0.4, label="before", color="#9aa5b1"
    )
    axes.barh([i - 0.2 for i in range(len(goals))], [after["per_goal"][g] for g in goals], 0.4, label="after", color="#e07a5f")
    axes.set_yticks(range(len(goals)), goals)
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of lines that follow the goal")
    axes.legend(loc="lower left")


def _draw_losses(axes: Any, tuned: dict[str, Any]) -> None:
    steps = [point["step"] for point in tuned["curve"]]
    for name in ("ctrl_loss", "persona_loss"):
        axes.plot(steps, [point[name] for point in tuned["curve"]], label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("nats a token")
    axes.legend()

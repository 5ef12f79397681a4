"""How well goals can be taught from a few corrections: a simulated annotator teaches the extra goals of steered-talk.

The annotator is asked at moments where steered-talk train has a line with the goal, and answers with that line. Goals are
taught one after the other to the same model, each rehearsing the lessons of those before. Measured on steered-talk dev. Prints
nothing; gives a dict.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convogym import steered_talk
from convogym.errors import InputError, UnknownNameError
from convogym.experiments import teaching
from convogym.experiments.taught_set import Lesson

PROTOCOL = (
    "following: share of sampled lines that the goal's judge accepts at 0.5 or more, one line in each of "
    f"{teaching.HELD_OUT} moments of steered-talk dev; old: mean over the goals known before, "
    f"{teaching.HELD_OUT_OLD} moments; ppl_word: replies of steered-talk dev; a new goal's judge is a head on persona-reader "
    "fitted to steered-talk train, tested on dev; adjusted: what following is if the judge errs on it as on dev's lines"
)


def evaluate_teaching(
    model: str,
    goals: int,
    corrections: int,
    order: str,
    seed: int,
    tick: teaching.Tick,
    procedure: str = "rehearsed",
    judges: dict[str, teaching.Judge] | None = None,
) -> dict[str, Any]:
    """Teaches extra goals and measures what came of it.

    Args:
        model: name, folder or hub id to start from.
        goals: how many of the ten extra goals, in the corpus's order.
        corrections: answers for each.
        order: one of `teaching.ORDERS`.
        seed: of everything.
        tick: told of learning steps done.
        procedure: one of `teaching.PROCEDURES`.
        judges: fitted already, by goal; gets those that are fitted here.

    Returns:
        A row for each goal (following before and after, what the old goals and the perplexity did, seconds, the judge's
        worth), and over all of them: mean following, how many reach 80 %, the largest loss of the old goals in a lesson, and
        what the published goals and the perplexity came to in the end.
    """
    from convogym.agents.loading import load
    from convogym.agents.reader import load_reader
    from convogym.goals import DEFAULT_GOALS

    if order not in teaching.ORDERS:
        raise UnknownNameError("order", order, teaching.ORDERS)
    if procedure not in teaching.PROCEDURES:
        raise UnknownNameError("procedure", procedure, teaching.PROCEDURES)
    if not 1 <= goals <= len(steered_talk.EXTRA_GOALS):
        raise InputError(f"`goals` must be in 1..{len(steered_talk.EXTRA_GOALS)}, got {goals}.")
    if corrections < 1:
        raise InputError(f"`corrections` must be at least 1, got {corrections}.")
    pupil, reader = load(model), load_reader()
    judges = {} if judges is None else judges
    report: teaching.Report | None = None
    earlier: list[Lesson] = []
    rows: list[dict[str, Any]] = []
    first: dict[str, Any] = {}
    for goal in steered_talk.EXTRA_GOALS[:goals]:
        lessons = annotated(pupil, goal, corrections, seed, order)
        judges[goal] = judges.get(goal) or teaching.judge_of(reader, goal, lessons)
        report = teaching.learn(
            pupil, reader, judges, goal, lessons, earlier, seed, teaching.STEPS, tick, procedure=procedure, last=report
        )
        earlier += lessons
        first = first or {"ppl_word": report.before.ppl_word, "old": report.before.old}
        rows.append(
            {
                "goal": goal,
                "before": report.before.new,
                "after": report.after.new,
                "after_adjusted": adjusted(report.after.new, report.judge_recall, report.judge_false_alarms),
                "copied": report.after.copied,
                "old_change": report.after.old - report.before.old,
                "ppl_word": report.after.ppl_word,
                "ppl_word_change": report.after.ppl_word / report.before.ppl_word - 1,
                "seconds": report.seconds,
                "judge_recall": report.judge_recall,
                "judge_false_alarms": report.judge_false_alarms,
            }
        )
    heads = {goal: judge.head for goal, judge in judges.items()}
    moments = teaching.held_out_contexts(teaching.HELD_OUT_OLD, seed)
    published = teaching.following(pupil, reader, heads, DEFAULT_GOALS.goals, moments, seed)
    taught = teaching.following(pupil, reader, heads, pupil.taught, moments, seed)
    after = [row["after"] for row in rows]
    return {
        "model": model,
        "order": order,
        "procedure": procedure,
        "corrections": corrections,
        "protocol": PROTOCOL,
        "mean_after": float(np.mean(after)),
        "reached_80_percent": int(sum(value >= 0.8 for value in after)),
        "largest_old_loss": -min(row["old_change"] for row in rows),
        "longest_seconds": max(row["seconds"] for row in rows),
        "published_before": first["old"],
        "published_in_the_end": float(np.mean(list(published.values()))),
        "ppl_word_before": first["ppl_word"],
        "ppl_word_in_the_end": rows[-1]["ppl_word"],
        "taught_in_the_end": taught,
        "rows": rows,
        "seed": seed,
    }


def adjusted(share: float, recall: float | None, false_alarms: float | None) -> float | None:
    """The share of lines that follow, of which a judge of known worth accepts `share` (Rogan & Gladen 1978).

    Returns:
        (share - false alarms) / (recall - false alarms), kept in 0..1; None where the judge's worth is not known, or none.
    """
    if recall is None or false_alarms is None or recall <= false_alarms:
        return None
    return min(1.0, max(0.0, (share - false_alarms) / (recall - false_alarms)))


def annotated(model: Any, goal: str, count: int, seed: int, order: str) -> list[Lesson]:
    """What the simulated annotator answers: steered-talk's own lines, at the moments where they stand.

    Raises:
        InputError: steered-talk train has not so many lines with the goal.
    """
    places = labelled_places(goal)
    if len(places) < count:
        raise InputError(f"steered-talk has {len(places)} lines that {goal!r}, {count} were asked for.")
    asked = teaching.questions(model, goal, [context for context, _ in places], count, seed, order)
    return [question.answered(goal, places[i][1]) for i, question in asked]


def labelled_places(goal: str) -> list[tuple[Any, str]]:
    """The moments of steered-talk train at which a line with a goal is said, and the line."""
    from convogym.agents.scoring import Context, context_before

    found: list[tuple[Context, str]] = []
    for dialogue in teaching.spelled_split("train"):
        for number, turn in enumerate(dialogue.turns):
            if goal in (turn.goals or ()):
                found.append((context_before(dialogue, number), turn.line))
    return found

"""Do the model's lines carry out their goals, and how far is the judge of that to be trusted? Prints nothing; gives dicts.

- `evaluate_goals`: for every goal in every context the model says a line; the share the goal judge accepts is the score.
- `evaluate_goal_judge`: precision, recall and F1 of that judge on lines somebody labelled, who may be told the lines of
  `evaluate_goals`: then also the share that carries out its goal by those labels.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from convogym import grammar
from convogym.dialogue import Dialogue
from convogym.errors import CorpusError, InputError
from convogym.experiments.confusion import write_confusion
from convogym.experiments.decodings import decoding_of
from convogym.goals import DEFAULT_GOALS, PUBLISHED_GOALS
from convogym.metrics import bootstrap_interval, precision_recall_f1
from convogym.readers import read_dialogues

JUDGE = "persona-reader's goal head, trained on steered-talk and grammar labels; a line follows at probability >= 0.5"
CONTEXT_SEED = 11  # of the held-out grammar dialogues contexts are taken from


def held_out_dialogues(count: int) -> list[Dialogue]:
    """Grammar dialogues whose facts no model of this project was trained on; always the same ones."""
    rng = np.random.default_rng([CONTEXT_SEED, 0])
    return [grammar.dialogue(rng, "held-out") for _ in range(count)]


class ReadLine(NamedTuple):
    """A line, and the goals that somebody who read it says it carries out."""

    previous: str
    """what was said before it, "" = it opens the talk"""
    text: str
    goals: tuple[int, ...]
    """action codes of published goals"""
    asked: int | None = None
    """the goal the speaker was given; None = not known"""
    context: int | None = None
    """lines of one number were said in one context; None = in one of its own"""


def evaluate_goals(
    model: str,
    data: Path | None,
    contexts: int,
    seed: int,
    progress: bool = False,
    out: Path | None = None,
    decoding: str = "sample",
    candidates: int = 8,
) -> dict[str, Any]:
    """Measures how many steered lines follow their goal.

    Args:
        model: name, folder or hub id.
        data: dialogues to take contexts from, None = held-out grammar dialogues.
        contexts: how many; each is tried with all eleven goals.
        seed: of the contexts and the lines.
        progress: show a bar on stderr.
        out: folder, which must be there, for the confusion counts as table and picture, and for `lines.jsonl`: the lines in
            random order, with the goals that the judge finds as "judged". Once somebody has put their own "goals" into them,
            `read_labelled_lines` reads them.
        decoding: how lines are drawn, one of `decodings.DECODINGS`.
        candidates: draws for decoding `mbr`.

    Returns:
        `mean` over goals, `worst` goal's share, share per goal, confusion counts, what judged, and the protocol of each; with
        `out` the `files` written.
    """
    from convogym.agents import scoring
    from convogym.agents.loading import load
    from convogym.agents.reader import FOLLOWS, load_reader

    if contexts < 1:
        raise InputError(f"`contexts` must be at least 1, got {contexts}.")
    dialogues = held_out_dialogues(200) if data is None else read_dialogues(data)
    chosen = scoring.contexts_of(dialogues, contexts, np.random.default_rng([seed, 5]))
    loaded = load(model)
    drawn = decoding_of(decoding, candidates, loaded.sampling)
    with tqdm(total=contexts * len(DEFAULT_GOALS), desc="lines", unit="line", disable=not progress) as bar:
        lines = scoring.steered_lines(
            loaded, load_reader(), chosen, DEFAULT_GOALS, seed, drawn.sampling, tick=bar.update, candidates=drawn.candidates
        )
    follows = np.array([[p >= FOLLOWS for p in line.probabilities] for line in lines])  # (lines, goals)
    asked = np.array([line.action for line in lines])
    obeyed = follows[np.arange(len(lines)), asked]
    rng = np.random.default_rng([seed, 6])
    shares = [bootstrap_interval(obeyed[asked == a], rng) for a in range(len(PUBLISHED_GOALS))]  # a context, a line
    per_goal = {goal: found.mean for goal, found in zip(PUBLISHED_GOALS, shares, strict=True)}
    by_context = np.array([obeyed[[i for i, line in enumerate(lines) if line.context == c]].mean() for c in range(contexts)])
    interval = bootstrap_interval(by_context, np.random.default_rng(seed))
    counts = [[int(follows[asked == a, b].sum()) for b in range(len(PUBLISHED_GOALS))] for a in range(len(PUBLISHED_GOALS))]
    found = {
        "model": model,
        "contexts_from": "held-out grammar" if data is None else data.name,
        "judge": JUDGE,
        "protocol": {
            "mean": "mean over goals of the share of lines that follow their goal, one line a goal in every context",
            "decoding": drawn.protocol,
            "worst": "the lowest of those shares",
            "confusion": "[asked][carried out]: lines the judge accepts; a line may carry out several goals or none",
            "intervals": "95 % bootstrap over contexts",
        },
        "contexts": contexts,
        "n": len(lines),
        "mean": float(np.mean(list(per_goal.values()))),
        "mean_interval": [interval.low, interval.high],
        "worst": min(per_goal.values()),
        "worst_goal": min(per_goal, key=lambda goal: per_goal[goal]),
        "per_goal": per_goal,
        "per_goal_interval": {goal: [s.low, s.high] for goal, s in zip(PUBLISHED_GOALS, shares, strict=True)},
        "confusion": counts,
        "examples": [{"goal": PUBLISHED_GOALS[line.action], "line": line.text} for line in lines[: len(PUBLISHED_GOALS)]],
        "seed": seed,
    }
    if out is not None:
        found["files"] = [*write_confusion(out, counts, PUBLISHED_GOALS, contexts), out / "lines.jsonl"]
        records = [
            {
                "previous": chosen[line.context].before,
                "text": line.text,
                "asked": line.action,
                "context": line.context,
                "judged": np.flatnonzero(found_by_judge).tolist(),
            }
            for line, found_by_judge in zip(lines, follows, strict=True)
        ]
        shuffled = [json.dumps(records[i], ensure_ascii=False) + "\n" for i in rng.permutation(len(records))]
        (out / "lines.jsonl").write_text("".join(shuffled), "utf-8")
    return found


def read_labelled_lines(path: Path) -> list[ReadLine]:
    """Reads JSONL lines `{"previous": text, "text": text, "goals": [codes]}`, with "asked" and "context" where they are known.

    Raises:
        CorpusError: the file is missing or empty, or a line is not of that form, such as one that nobody labelled.
    """
    try:
        raw = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(path, None, "a readable UTF-8 file of JSON lines", str(error)) from error
    expected = f'{{"previous": text, "text": text, "goals": [codes 0..{len(PUBLISHED_GOALS) - 1}]}}, or "asked": code too'
    out = []
    for number, line in enumerate(raw, 1):
        if not line.strip():
            continue
        try:
            found = _read_line(json.loads(line))
        except (ValueError, RecursionError, KeyError, TypeError):
            raise CorpusError(path, number, expected, line) from None
        out.append(found)
    if not out:
        raise CorpusError(path, None, "at least one labelled line", "none")
    return out


def _read_line(record: dict[str, Any]) -> ReadLine:
    """Raises ValueError, KeyError or TypeError where a record is not of the form."""
    found = ReadLine(
        record["previous"] or "", record["text"], tuple(record["goals"]), record.get("asked"), record.get("context")
    )
    codes = [*found.goals, *(() if found.asked is None else (found.asked,))]
    if not (isinstance(found.previous, str) and isinstance(found.text, str) and isinstance(found.context, int | None)):
        raise TypeError
    if not all(type(code) is int and 0 <= code < len(PUBLISHED_GOALS) for code in codes):
        raise ValueError
    return found


def evaluate_goal_judge(data: Path, seed: int = 0) -> dict[str, Any]:
    """Scores the goal judge on labelled lines.

    Args:
        data: see `read_labelled_lines`.
        seed: of the interval.

    Returns:
        Micro and per-goal precision, recall and F1 (fractions; None where undefined), and the number of lines. Where lines
        tell the goal that was asked for: `followed`, the share of them labelled with it.
    """
    from convogym.agents.reader import FOLLOWS, load_reader

    lines = read_labelled_lines(data)
    truth = np.zeros((len(lines), len(PUBLISHED_GOALS)), bool)
    for i, line in enumerate(lines):
        truth[i, list(line.goals)] = True
    predicted = load_reader().probabilities([x.previous for x in lines], [x.text for x in lines]) >= FOLLOWS
    each, micro = precision_recall_f1(truth, predicted)
    return {
        "data": data.name,
        "judge": JUDGE,
        "n": len(lines),
        "micro": dataclasses.asdict(micro),
        "per_goal": {goal: dataclasses.asdict(scores) for goal, scores in zip(PUBLISHED_GOALS, each, strict=True)},
        **_followed(lines, seed),
        "seed": seed,
    }


def _followed(lines: Sequence[ReadLine], seed: int) -> dict[str, Any]:
    """How many of the lines carry out the goal they were asked for, by their labels; {} if no line says which."""
    asked = [line for line in lines if line.asked is not None]
    if not asked:
        return {}
    obeyed = np.array([line.asked in line.goals for line in asked], float)
    goals = np.array([line.asked for line in asked])
    per_goal = {PUBLISHED_GOALS[goal]: float(obeyed[goals == goal].mean()) for goal in np.unique(goals)}
    contexts = [-1 - i if line.context is None else line.context for i, line in enumerate(asked)]
    by_context = np.array([obeyed[np.equal(contexts, context)].mean() for context in sorted(set(contexts))])
    interval = bootstrap_interval(by_context, np.random.default_rng(seed))
    worst = min(per_goal, key=lambda goal: per_goal[goal])
    return {
        "followed": {
            "mean": float(np.mean(list(per_goal.values()))),
            "mean_interval": [interval.low, interval.high],
            "worst": per_goal[worst],
            "worst_goal": worst,
            "per_goal": per_goal,
            "n": len(asked),
            "protocol": "labelled by reading; mean over goals; intervals: 95 % bootstrap over contexts",
        }
    }

"""Trains persona-reader, the two judges, on top of a pretrained model's first layers. Prints nothing; gives a dict.

    convogym train-reader --base runs/mini/model --data FOLDER --out convogym/models/persona-reader

The goal judge sees the labels of steered-talk's parts train, more and asked, of the grammar, and of lines that a model said;
the matcher sees talks with personas: those of the first two and the persona corpora of the folder. Neither sees a label that a
lexicon guessed or a held-out dialogue.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from convogym import grammar, steered_talk
from convogym.dialogue import Dialogue, Persona
from convogym.evidence import talk_evidence
from convogym.experiments import corpora
from convogym.goals import PUBLISHED_GOALS

GRAMMAR_DIALOGUES = 2500
LAYERS = 5
SAID_TIMES = 3  # that the n-grams read lines a model said
LEARNING_RATE = 4e-4
MATCHED_AMONG = 21  # personas: the true one and the environment's 20 distractors


def train(base: Path, data: Path | None, out: Path, steps: int, seed: int, progress: bool = False) -> dict[str, Any]:
    """Trains and saves the judges.

    Args:
        base: model folder whose first layers are taken.
        data: folder of corpora with personas; None = only what travels with the package.
        out: gets the reader.
        steps: optimiser steps.
        seed: of everything.
        progress: show a bar on stderr.

    Returns:
        Scores on dialogues never trained on.
    """
    from convogym.agents.model import LanguageModel
    from convogym.agents.reader_training import fit_ngrams, fresh_reader, labelled_lines, train_reader
    from convogym.agents.training import TrainingConfig

    rng = np.random.default_rng([seed, 21])
    steered = [corpora.spelled(d) for split in ("train", "more", "asked") for d in steered_talk.load(split)]
    made = [grammar.dialogue(rng, "train") for _ in range(GRAMMAR_DIALOGUES)]
    lines = [line for d in steered for line in labelled_lines(d)]
    made_lines = [line for d in made for line in labelled_lines(d)]
    lines += [made_lines[i] for i in rng.permutation(len(made_lines))[: len(lines) // 2]]
    said = read_lines()
    talks = [*steered, *made[: len(made) // 2]]
    if data is not None:
        train_part, _ = corpora.kept_apart(corpora.read_folder(data))
        for dialogues in train_part.values():
            talks += [d for d in dialogues if d.persona and any(t.reply for t in d.turns)]
            talks += [s for d in dialogues if d.partner_persona and (s := corpora.shifted(d)) is not None and s.persona]
    reader = fresh_reader(LanguageModel.load(base), LAYERS, seed)
    config = TrainingConfig(
        steps=steps, other_lr=LEARNING_RATE, warmup=30, decay_from=steps // 3, weight_decay=0.05, seed=seed
    )
    goal_losses: list[float] = []
    match_losses: list[float] = []
    with tqdm(total=steps, desc="judges", unit="step", disable=not progress) as bar:
        for _, goal_loss, match_loss in train_reader(reader, lines, talks, config, said=said):
            goal_losses.append(goal_loss)
            match_losses.append(match_loss)
            bar.update()
            bar.set_postfix(goals=f"{np.mean(goal_losses[-20:]):.3f}", match=f"{np.mean(match_losses[-20:]):.3f}")
    fit_ngrams(reader, lines + said * SAID_TIMES, seed)
    reader.save(out)
    return {
        "out": str(out),
        "lines": len(lines),
        "said": len(said),
        "talks": len(talks),
        "steps": steps,
        "seed": seed,
        **score(out, seed),
    }


def read_lines() -> list[Any]:
    """Lines that persona-mini said in talks it was trained on, labelled by reading (`convogym/data/said_lines.jsonl`)."""
    from convogym.agents.reader_training import LabelledLine

    text = (resources.files("convogym") / "data/said_lines.jsonl").read_text("utf-8")
    found = [json.loads(line) for line in text.splitlines()]
    return [LabelledLine(each["previous"], each["text"], tuple(each["goals"])) for each in found]


def score(folder: Path, seed: int) -> dict[str, Any]:
    """Scores saved judges on steered-talk's dev part and held-out grammar dialogues.

    Returns:
        Micro F1 of the goal judge; how often the matcher puts the true persona first among `MATCHED_AMONG`, by source.
    """
    from convogym.agents.reader import FOLLOWS, Reader
    from convogym.agents.reader_training import labelled_lines
    from convogym.metrics import precision_recall_f1

    reader = Reader.load(folder)
    dev = [corpora.spelled(d) for d in steered_talk.load("dev")]
    rng = np.random.default_rng([seed, 22])
    made = [grammar.dialogue(rng, "held-out") for _ in range(200)]
    out: dict[str, Any] = {}
    for name, dialogues in (("steered_talk_dev", dev), ("grammar_held_out", made)):
        lines = [line for d in dialogues for line in labelled_lines(d)]
        truth = np.zeros((len(lines), len(PUBLISHED_GOALS)), bool)
        for i, line in enumerate(lines):
            truth[i, list(line.goals)] = True
        predicted = reader.probabilities([x.previous for x in lines], [x.text for x in lines]) >= FOLLOWS
        _, micro = precision_recall_f1(truth, predicted)
        out[f"goal_judge_{name}"] = {"precision": micro.precision, "recall": micro.recall, "f1": micro.f1, "n": len(lines)}
        out[f"matcher_{name}"] = {
            "true_persona_first": _first_share(reader, dialogues, rng),
            "n": len(dialogues),
            "among": MATCHED_AMONG,
        }
    return out


def _first_share(reader: Any, dialogues: Sequence[Dialogue], rng: np.random.Generator) -> float:
    """Share of dialogues after whose first eight turns the true persona has the highest posterior."""
    personas = list(dict.fromkeys(d.persona for d in dialogues if d.persona is not None))
    hits = []
    for dialogue in dialogues:
        others = [p for p in personas if p != dialogue.persona]
        drawn = [others[i] for i in rng.permutation(len(others))[: MATCHED_AMONG - 1]]
        candidates = [p.facts for p in (dialogue.persona, *drawn) if isinstance(p, Persona)]
        turns = [(t.line, t.reply) for t in dialogue.turns[:8] if t.reply]
        total = talk_evidence(reader, turns, candidates).sum(axis=0)
        hits.append(bool(total[0] > total[1:].max()))
    return float(np.mean(hits))

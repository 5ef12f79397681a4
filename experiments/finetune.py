"""Fine-tunes a model on stored episodes, corrections first; writes it only if it is no worse. Gives a dict.

convogym finetune --store runs/episodes.db --model persona-mini --out runs/tuned
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from convogym import grammar, steered_talk
from convogym.dialogue import Dialogue
from convogym.episodes import Episode
from convogym.errors import InputError
from convogym.goals import DEFAULT_GOALS, GoalSet
from convogym.speakers import HUMAN, GoalJudge
from convogym.store import EpisodeStore

KEPT = 0.8  # a stored line is learnt from only if the judge gives its goal at least this chance
MOST_PER_GOAL = 400  # best lines kept of each goal, so that easy goals do not crowd out hard ones
REHEARSAL_SEED = 31
CONTEXTS = 24  # held-out contexts in which following is watched, times eleven goals


def pairs_of(episodes: Iterable[Episode], judge: GoalJudge) -> tuple[list[Any], dict[str, int]]:
    """What there is to learn from stored episodes.

    A corrected line or reply counts whatever it says. An uncorrected line counts if it followed its goal: of each goal the
    `MOST_PER_GOAL` best by the judge, none under `KEPT`; lines said blank, cut off or before a dropped context do not count,
    nor do those of a person. What stands before a target is what was really said, corrections left out, for the talk went on
    from that.

    Args:
        episodes: from the store.
        judge: says which goals a line carries out.

    Returns:
        `convogym.agents.finetuning.Pair`s, and how many of each kind there are.
    """
    from convogym.agents.finetuning import Pair

    pairs: list[Any] = []
    lines: list[tuple[str, Pair]] = []
    actions: list[tuple[GoalSet, int]] = []
    counts = {"episodes": 0, "corrected_lines": 0, "corrected_replies": 0, "followed_lines": 0}
    for episode in episodes:
        counts["episodes"] += 1
        by_person = episode.goal_speaker == HUMAN
        said: list[str] = list(episode.history)
        goals: list[str | None] = [None] * (len(said) // 2)
        for turn in episode.turns:
            goals.append(None if by_person else turn.goal)
            if turn.corrected_line is not None and not by_person:
                pairs.append(Pair((), tuple(said), tuple(goals), turn.corrected_line, is_correction=True))
                counts["corrected_lines"] += 1
            elif not by_person and not any(turn.faults.get(fault) for fault in ("line_empty", "cut_off", "context_dropped")):
                lines.append((said[-1] if said else "", Pair((), tuple(said), tuple(goals), turn.line)))
                actions.append((GoalSet(episode.goals, {}), turn.action))
            if turn.corrected_reply is not None:
                heard = (*said, turn.corrected_line or turn.line)
                pairs.append(Pair(episode.persona, heard, (), turn.corrected_reply, is_correction=True))
                counts["corrected_replies"] += 1
            said += [turn.line, turn.reply]
    best = _best_lines(lines, actions, judge)
    counts["followed_lines"] = len(best)
    return pairs + best, counts


def worth_reading(store: EpisodeStore) -> Iterator[Episode]:
    """The store's episodes, but for those broken off that were played again to their end; a person's talks are never that."""
    finished = {(episode.policy, episode.seed) for episode in store.episodes(finished=True)}
    for episode in store.episodes():
        if episode.finished or episode.policy.startswith(HUMAN) or (episode.policy, episode.seed) not in finished:
            yield episode


def _best_lines(lines: Sequence[tuple[str, Any]], actions: Sequence[tuple[GoalSet, int]], judge: GoalJudge) -> list[Any]:
    if not lines:
        return []
    chances = judge.probabilities([before for before, _ in lines], [pair.target for _, pair in lines])
    by_goal: dict[str, list[tuple[float, int]]] = {}
    for i, (goals, action) in enumerate(actions):
        goal = goals.text(action)
        if goal in DEFAULT_GOALS:
            chance = float(chances[i, DEFAULT_GOALS.code(goal)])
            if chance >= KEPT:
                by_goal.setdefault(goal, []).append((chance, i))
    kept = [i for found in by_goal.values() for _, i in sorted(found, reverse=True)[:MOST_PER_GOAL]]
    return [lines[i][1] for i in sorted(kept)]


def rehearsal_dialogues() -> tuple[list[Dialogue], list[Dialogue]]:
    """Labelled dialogues that travel with the package, to rehearse and to watch: steered-talk and the grammar."""
    from convogym.experiments.corpora import spelled

    rng = np.random.default_rng(REHEARSAL_SEED)
    train = [spelled(d) for d in steered_talk.without_extra_goals(steered_talk.load("train"))]
    train += [grammar.dialogue(rng, "train") for _ in range(len(train))]
    watched = [spelled(d) for d in steered_talk.load("dev")][:60] + [grammar.dialogue(rng, "held-out") for _ in range(60)]
    return train, watched


def finetune(
    store: Path,
    model: str,
    out: Path,
    steps: int,
    lr: float,
    tolerance: float,
    seed: int,
    tensorboard: Path | None = None,
    progress: bool = False,
    rates: str = "one",
    lora: int = 0,
) -> dict[str, Any]:
    """Fine-tunes and writes a model, unless it got worse.

    Args:
        store: the episodes.
        model: name, folder or hub id to start from.
        out: gets the tuned model.
        steps: optimiser steps.
        lr: learning rate.
        tolerance: how much worse held-out loss (relative) and goal following (absolute) may get.
        seed: of everything.
        tensorboard: log folder; None = `out` with ".log" added.
        progress: show a bar on stderr.
        rates: see `FinetuneConfig.rates`.
        lora: rank of low-rank adapters, which alone are trained, with the control tokens; 0 = the whole network is.

    Returns:
        What was learnt from and what came of it.

    Raises:
        InputError: the store holds nothing to learn from, or the tuned model got worse than `tolerance` (nothing is written
            then).
    """
    import torch
    from torch.utils.tensorboard import SummaryWriter

    from convogym.agents import scoring
    from convogym.agents.finetuning import FinetuneConfig, Finetuner
    from convogym.agents.folders import check_replaceable
    from convogym.agents.loading import load
    from convogym.agents.lora import add_adapters, merge_adapters
    from convogym.agents.model import LanguageModel
    from convogym.agents.reader import FOLLOWS, load_reader
    from convogym.experiments.evaluate_goals import held_out_dialogues

    if not store.is_file():
        raise InputError(f"{store}: expected an episode store, found none; make one with `convogym collect --store {store}`.")
    out = Path(os.path.abspath(out))
    check_replaceable(out)
    config = FinetuneConfig(steps=steps, lr=lr, rates="control" if lora else rates, tolerance=tolerance, seed=seed)
    judge = load_reader()
    with EpisodeStore(store) as opened:
        pairs, counts = pairs_of(worth_reading(opened), judge)
    tuned = load(model)
    if lora:
        add_adapters(tuned.network, lora, seed)
    contexts = scoring.contexts_of(held_out_dialogues(200), CONTEXTS, np.random.default_rng([seed, 6]))

    def following(candidate: LanguageModel) -> float:
        lines = scoring.steered_lines(candidate, judge, contexts, DEFAULT_GOALS, seed)
        return float(np.mean([line.probabilities[line.action] >= FOLLOWS for line in lines]))

    train, watched = rehearsal_dialogues()
    finetuner = Finetuner(tuned, pairs, train, watched, following, config)
    curve: list[dict[str, float | int | None]] = []
    writer: Any = SummaryWriter(str(tensorboard or out.with_name(out.name + ".log")))
    with writer, tqdm(total=steps, desc="fine-tuning", unit="step", disable=not progress) as bar:
        for now in finetuner.run():
            curve.append(dataclasses.asdict(now))
            for name in ("ctrl_loss", "persona_loss", "following", "rehearsal_nll"):
                value = getattr(now, name)
                if value is not None:
                    writer.add_scalar(name, value, now.step)
            bar.update()
            bar.set_postfix(ctrl_loss=f"{now.ctrl_loss:.3f}", persona_loss=f"{now.persona_loss:.3f}")
    result = finetuner.result
    assert result is not None
    if result.got_worse(tolerance):
        raise InputError(
            f"the tuned model got worse than --tolerance {tolerance} allows (following {result.following_before:.3f} -> "
            f"{result.following_after:.3f}, loss {result.nll_before:.3f} -> {result.nll_after:.3f}); no model was written."
        )
    about = {"tuned_from": model, "seed": seed, "finetune": dataclasses.asdict(config), "lora": lora, "learnt_from": counts}
    if lora:
        merge_adapters(tuned.network)
    tuned.save(out, torch.float16, about)
    return {
        "model": model,
        "out": str(out),
        "learnt_from": counts,
        "pairs": len(pairs),
        "steps": steps,
        "best_step": result.best_step,
        "following_before": result.following_before,
        "following_after": result.following_after,
        "nll_before": result.nll_before,
        "nll_after": result.nll_after,
        "curve": curve,
        "seed": seed,
    }

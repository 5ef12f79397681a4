"""Any reward over recorded episodes, without generating a word; and what a reward pays for, to see whether it is hacked.

Prints nothing; gives dicts and episodes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from convogym.envs.rewards import Embed, Reward, Scene, parse_reward
from convogym.episodes import Episode
from convogym.errors import InputError
from convogym.experiments.console import Tick, ignore_ticks
from convogym.text import printable

TOP = 20  # transcripts shown of those that pay best


def scenes_of(episode: Episode, embed: Embed | None) -> list[Scene]:
    """The turns of an episode as reward terms see them.

    Args:
        episode: with at least one turn.
        embed: gives each reply's features, read alone (the features of the time when it was said are not recorded); None =
            all zeros, for rewards that do not look at them.
    """
    said = list(episode.history)
    replies: list[str] = said[1::2]
    features = [np.zeros(0, np.float32)] * len(episode.turns)
    if embed is not None and episode.turns:
        features = list(embed([turn.reply for turn in episode.turns]))
    scenes, state = [], np.zeros_like(features[0]) if features else np.zeros(0, np.float32)
    for number, (turn, feature) in enumerate(zip(episode.turns, features, strict=True), 1):
        state = np.asarray(state + (feature - state) / number, dtype=np.float32)
        previous = said[-1] if said else ""
        scenes.append(Scene(episode.persona, previous, turn.goal, turn.line, turn.reply, tuple(replies), state, tuple(said)))
        said += [turn.line, turn.reply]
        replies.append(turn.reply)
    return scenes


def check_rescorable(reward: str) -> None:
    """Refuses a reward that records do not tell, or that makes no sense (see `parse_reward`)."""
    if any(name == "manual" for _, name in parse_reward(reward)):
        raise InputError("`manual` cannot be computed from records: the number of each turn is in them, as its reward.")


def recorded_pool(episodes: Sequence[Episode]) -> str:
    """The name of the personas that episodes were recorded with, "train" where it is not told.

    Raises:
        InputError: it differs between them.
    """
    names = sorted({name if isinstance(name := episode.spec.get("personas"), str) else "train" for episode in episodes})
    if len(names) != 1:
        raise InputError(f"the episodes were recorded with personas from {', '.join(names)}: name one with --personas.")
    return names[0]


def rescored(episodes: Sequence[Episode], reward: Reward, embed: Embed | None = None) -> list[Episode]:
    """The episodes with every turn's reward and terms computed anew.

    Each episode's distractors and negatives are drawn from its own seed, as when it was recorded: the same reward over the
    same pool of personas gives the recorded numbers.

    Args:
        episodes: with personas; those without turns come back as they are.
        reward: what to compute.
        embed: see `scenes_of`.

    Raises:
        InputError: an episode's persona is not known.
    """
    for episode in episodes:
        if not episode.persona:
            raise InputError(f"episode {episode.id} has no persona, which a reward needs; leave it out.")
    scenes = [scenes_of(episode, embed) for episode in episodes]
    memories = [reward.begin(episode.persona, episode.seed or 0) for episode in episodes]
    values: list[list[dict[str, float]]] = [[] for _ in episodes]
    for turn in range(max((len(each) for each in scenes), default=0)):  # a term remembers, so turn by turn
        going = [i for i, each in enumerate(scenes) if turn < len(each)]
        found = reward.score([scenes[i][turn] for i in going], [memories[i] for i in going])
        for i, each in zip(going, found, strict=True):
            values[i].append(each)
    return [
        replace(
            episode,
            turns=tuple(
                replace(record, reward=reward.total(terms), reward_terms=terms)
                for record, terms in zip(episode.turns, new, strict=True)
            ),
        )
        for episode, new in zip(episodes, values, strict=True)
    ]


def rescore(
    episodes: Iterator[Episode], reward: Reward, embed: Embed | None = None, tick: Tick = ignore_ticks, together: int = 64
) -> Iterator[Episode]:
    """`rescored` for a stream, some episodes at a time."""
    while group := list(itertools.islice(episodes, together)):
        yield from rescored(group, reward, embed)
        tick(len(group))


def returns_of(episodes: Sequence[Episode]) -> npt.NDArray[np.float64]:
    """The undiscounted sum of each episode's rewards, shape (episodes,)."""
    return np.array([sum(turn.reward for turn in episode.turns) for episode in episodes], dtype=np.float64)


def summary(before: Sequence[Episode], after: Sequence[Episode]) -> dict[str, Any]:
    """What a new reward makes of episodes.

    Args:
        before: as recorded, at least one.
        after: rescored, in the same order.

    Returns:
        `mean_return` before and after, `correlation` of the two returns (None where one never changes), the new `terms` by
        name with their mean over turns and their correlation with one another over turns, and the counts.
    """
    turns = [turn for episode in after for turn in episode.turns]
    names = list(turns[0].reward_terms) if turns else []
    table = np.array([[turn.reward_terms[name] for name in names] for turn in turns]).reshape(len(turns), len(names))
    old, new = returns_of(before), returns_of(after)
    return {
        "episodes": len(after),
        "turns": len(turns),
        "mean_return_recorded": float(old.mean()),
        "mean_return": float(new.mean()),
        "correlation": correlation(old, new),
        "terms": {
            name: {
                "mean": float(table[:, i].mean()),
                **{f"with {other}": correlation(table[:, i], table[:, j]) for j, other in enumerate(names) if j != i},
            }
            for i, name in enumerate(names)
        },
    }


def correlation(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float | None:
    """Pearson's correlation, -1..1; None where one of the two never changes or there are fewer than two values."""
    if len(a) < 2 or a.std() < 1e-12 or b.std() < 1e-12:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def write_report(path: Path, reward: str, found: dict[str, Any], after: Sequence[Episode], top: int = TOP) -> None:
    """Writes a page to read: how the terms go together, and the talks that a reward pays best.

    Args:
        path: of a Markdown file; an older one is replaced.
        reward: what was computed.
        found: the `summary`.
        after: the rescored episodes.
        top: how many talks.
    """
    names = list(found["terms"])
    lines = [f"# What `{reward}` pays for", "", f"{found['episodes']} episodes, {found['turns']} turns.", ""]
    lines += ["Correlation of the terms over turns:", "", "| | mean | " + " | ".join(names) + " |"]
    lines.append("|---" * (len(names) + 2) + "|")
    for name in names:
        row = found["terms"][name]
        cells = ["1" if other == name else _cell(row[f"with {other}"]) for other in names]
        lines.append(f"| {name} | {row['mean']:.3f} | " + " | ".join(cells) + " |")
    order = np.argsort(-returns_of(after), kind="stable")[:top]
    lines += ["", f"## The {len(order)} talks with the highest return", ""]
    for place, index in enumerate(order, 1):
        episode = after[index]
        lines.append(
            f"### {place}. {float(returns_of([episode])[0]):+.3f} ({printable(episode.policy)}, episode {episode.id})"
        )
        lines += ["", *(f"- {_quoted(fact)}" for fact in episode.persona), ""]
        for turn in episode.turns:
            terms = ", ".join(f"{name} {value:+.2f}" for name, value in turn.reward_terms.items())
            lines.append(f"{turn.turn}. *{_quoted(turn.goal)}* {_quoted(turn.line)} **{_quoted(turn.reply)}** ({terms})")
        lines.append("")
    path.write_text("\n".join(lines), "utf-8")


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _quoted(text: str) -> str:
    """Text as text, whatever Markdown or HTML it looks like."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]()<>#|!&" else char for char in printable(text))

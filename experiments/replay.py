"""Recorded talks once more: the same seeds, personas and goals, with the same model or another. And how two talks differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convogym.envs.infos import split_info, turn_record
from convogym.episodes import Episode, new_id, utc_now
from convogym.errors import InputError
from convogym.experiments.collect import make_env
from convogym.experiments.console import Tick, ignore_ticks
from convogym.personas import load_personas

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel


def replay(
    episodes: Sequence[Episode],
    model: LanguageModel,
    *,
    personas: str | None = None,
    reward: str | None = None,
    num_envs: int = 64,
    tick: Tick = ignore_ticks,
) -> list[Episode]:
    """Plays the recorded goals again.

    With the model, reward and pool of personas of the record the transcripts and rewards are the recorded ones.

    Args:
        episodes: with seed, persona and at least one turn each; their goals the published ones.
        model: says lines and replies.
        personas: the pool for rewards that draw others; None = each episode's own, by its recorded name, or "train".
        reward: what is paid; None = each episode's own.
        num_envs: dialogues side by side.
        tick: told how many turns were taken.

    Returns:
        New episodes, in order, with ids of their own; each has the turns of its original and ends where that did.

    Raises:
        InputError: an episode cannot be replayed.
    """
    groups: dict[tuple[str, str, int, int], list[int]] = {}
    for index, episode in enumerate(episodes):
        _check(episode)
        turns = len(episode.turns)
        planned = episode.spec.get("num_turns")
        key = (
            personas or _named(episode, "personas", "train"),
            reward or _named(episode, "reward", "identification"),
            turns,
            max(turns, planned) if isinstance(planned, int) else turns,
        )
        groups.setdefault(key, []).append(index)
    played: dict[int, Episode] = {}
    for (pool, paid, turns, planned), indices in groups.items():
        load_personas(pool)  # a name that is none is refused before anything is said
        for first in range(0, len(indices), num_envs):
            some = indices[first : first + num_envs]
            found = _play([episodes[i] for i in some], model, pool, paid, turns, planned, tick)
            played.update(zip(some, found, strict=True))
    return [played[index] for index in range(len(episodes))]


def _check(episode: Episode) -> None:
    if episode.seed is None or not episode.persona or not episode.turns:
        raise InputError(f"episode {episode.id} cannot be replayed: its seed, persona and turns must be recorded.")


def _named(episode: Episode, name: str, otherwise: str) -> str:
    value = episode.spec.get(name)
    return value if isinstance(value, str) and not value.endswith(" items") else otherwise


def _play(
    episodes: Sequence[Episode], model: LanguageModel, pool: str, reward: str, turns: int, planned: int, tick: Tick
) -> list[Episode]:
    env: Any = make_env(
        model, len(episodes), personas=pool, reward=reward, num_turns=planned, autoreset_mode="Disabled"
    ).unwrapped
    for place, episode in enumerate(episodes):
        if episode.goals != tuple(env.goals.goals):
            raise InputError(f"episode {episode.id} has other goals than the published ones; it cannot be replayed here.")
        options = {
            "reset_mask": np.arange(len(episodes)) == place,
            "persona": list(episode.persona),
            "history": list(episode.history),
            "episode_seed": episode.seed,
        }
        env.reset(seed=0, options=options)
    records: list[list[Any]] = [[] for _ in episodes]
    for turn in range(turns):
        actions = np.array([episode.turns[turn].action for episode in episodes])
        _, rewards, _, _, infos = env.step(actions)
        for place in range(len(episodes)):
            before = episodes[place].turns[turn]
            again = turn_record(split_info(infos, place), float(rewards[place]), before.propensities, before.chosen_by)
            records[place].append(replace(again, propensity=before.propensity))
        tick(len(episodes))
    return [
        replace(
            episode,
            id=new_id(),
            created=utc_now(),
            responder=env.responder_name,
            goal_speaker=env.goal_speaker_name,
            spec={**episode.spec, "responder": env.responder_name, "reward": reward, "personas": pool, "replays": episode.id},
            turns=tuple(each),
        )
        for episode, each in zip(episodes, records, strict=True)
    ]


def difference(a: Episode, b: Episode) -> dict[str, Any]:
    """How two talks differ.

    Returns:
        `same_lines`, `same_replies` and `same_goals`: how many turns have the very same; `turns`: how many both have;
        `first_difference`: the first turn whose goal, line or reply differs, None = none; `return_a`, `return_b`; `same`:
        nothing differs, rewards included (to a millionth).
    """
    pairs = list(zip(a.turns, b.turns, strict=False))
    texts = [(x.goal == y.goal, x.line == y.line, x.reply == y.reply) for x, y in pairs]
    firsts = [x.turn for (x, _), same in zip(pairs, texts, strict=True) if not all(same)]
    return_a, return_b = (float(sum(turn.reward for turn in each.turns)) for each in (a, b))
    return {
        "a": a.id,
        "b": b.id,
        "turns": len(pairs),
        "same_goals": sum(goal for goal, _, _ in texts),
        "same_lines": sum(line for _, line, _ in texts),
        "same_replies": sum(reply for _, _, reply in texts),
        "first_difference": firsts[0] if firsts else None,
        "return_a": return_a,
        "return_b": return_b,
        "same": not firsts and len(a.turns) == len(b.turns) and all(abs(x.reward - y.reward) <= 1e-6 for x, y in pairs),
    }


def differences(first: Iterable[Episode], second: Iterable[Episode]) -> dict[str, Any]:
    """How the talks of two stores differ that have the same seed and persona.

    Returns:
        `pairs`: how many there are; `same`: how many do not differ; the shares of turns with the same goal, line and reply;
        the mean return of each side; `episodes`: `difference` of every pair.

    Raises:
        InputError: there is no pair.
    """
    waiting: dict[tuple[Any, ...], list[Episode]] = {}
    for episode in second:
        waiting.setdefault((episode.seed, episode.persona, episode.history), []).append(episode)
    found = []
    for episode in first:
        partners = waiting.get((episode.seed, episode.persona, episode.history))
        if partners and episode.turns and partners[0].turns:
            found.append(difference(episode, partners.pop(0)))
    if not found:
        raise InputError("the two stores must have episodes of the same seed and persona, found none; replay one of them.")
    turns = sum(each["turns"] for each in found)
    return {
        "pairs": len(found),
        "same": sum(each["same"] for each in found),
        **{name: sum(each[name] for each in found) / turns for name in ("same_goals", "same_lines", "same_replies")},
        "mean_return_a": float(np.mean([each["return_a"] for each in found])),
        "mean_return_b": float(np.mean([each["return_b"] for each in found])),
        "episodes": found,
    }


def side_by_side(a: Episode, b: Episode) -> str:
    """Two talks as text, turn by turn: what both said once, with "=", what differs twice, with "-" and "+"."""
    rows = []
    for x, y in zip(a.turns, b.turns, strict=False):
        rows.append(f"{x.turn}. [{x.goal}]" + (f" / [{y.goal}]" if y.goal != x.goal else ""))
        for mark, one, other in ((">", x.line, y.line), ("<", x.reply, y.reply)):
            rows += [f"  = {mark} {one}"] if one == other else [f"  - {mark} {one}", f"  + {mark} {other}"]
        rows.append(f"    reward {x.reward:+.3f} / {y.reward:+.3f}")
    return "\n".join(rows)

"""The grid of "Persona Authentication through Generative Dialogue": who asks by who answers. One table, one chart.

`eval_agent(agent_setting, user_setting)` of the published research code crosses four ways of choosing goals with three
responders. Here, of who asks: `none`, a speaker 1 without goals; `random`; `fixed order`, the best that a search found (for
the original's `persona`, a speaker conditioned on facts near the persona it believes in, which our goal speaker cannot be);
`policy`, a learned one. Of who answers: `normal`; `weak`, drawn more wildly (top_k 500, top_p 0.85 there and here);
`transition`, without its persona.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from convogym.agents.sampling import Sampling
from convogym.experiments.collect import make_envs
from convogym.experiments.console import Tick, ignore_ticks
from convogym.experiments.evaluate_policy import evaluate_policies
from convogym.personas import load_personas
from convogym.policies.base import Policy
from convogym.speakers import GoalJudge, PersonaMatcher, Request, Speaker, Utterance

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel

RESPONDERS = ("normal", "weak", "transition")
WEAK = Sampling(top_k=500, top_p=0.85)  # `eval_agent` of the research code
SHOWN = ("mean_return", "mean_return_interval", "prec_1", "prec_5", "rec_5", "rec_10", "true_persona_first", "facts_revealed")


class _Changed:
    """A speaker that is asked something else than the environment asks for."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    @property
    def feature_size(self) -> int:
        return self._speaker.feature_size

    @property
    def max_tokens(self) -> int:
        return self._speaker.max_tokens

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return self._speaker.embed(texts)


class WithoutPersona(_Changed):
    """A responder that is not told who it is."""

    @property
    def name(self) -> str:
        """The speaker's, marked."""
        return f"{self._speaker.name} without persona"

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        """Answers without facts."""
        return self._speaker.speak([replace(request, persona=()) for request in requests])


class WithoutGoals(_Changed):
    """A goal speaker that is not told its goals."""

    @property
    def name(self) -> str:
        """The speaker's, marked."""
        return f"{self._speaker.name} without goals"

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        """Says a line of its own."""
        return self._speaker.speak([replace(request, goals=(None,) * len(request.goals)) for request in requests])


def run_grid(
    model: LanguageModel,
    policies: Mapping[str, Policy],
    episodes: int,
    reader: Any,
    *,
    personas: str = "held-out",
    num_envs: int = 64,
    num_turns: int = 8,
    seed: int = 0,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Plays the same episodes with every pair.

    Args:
        model: says lines and replies.
        policies: by the row's name; "none" gets a speaker 1 without goals.
        episodes: of each pair, at least 2.
        reader: judge and matcher.
        personas: who is talked to.
        num_envs: dialogues side by side.
        num_turns: turns of an episode.
        seed: of everything.
        tick: told how many episodes were done.

    Returns:
        `grid`: for each pair the figures in `SHOWN`; `episodes`, `seed`.
    """
    judge: GoalJudge = reader
    matcher: PersonaMatcher = reader
    rows = []
    pool = load_personas(personas)
    for who in RESPONDERS:
        responder: Speaker = model.responder(WEAK if who == "weak" else None)
        if who == "transition":
            responder = WithoutPersona(responder)
        for name, policy in policies.items():
            asks: Speaker = model.goal_speaker()
            [env] = make_envs(
                model,
                [policy],
                min(num_envs, episodes),
                personas=personas,
                num_turns=num_turns,
                goal_speaker=WithoutGoals(asks) if name == "none" else asks,
                responder=responder,
            )
            found = evaluate_policies([policy], env, episodes, seed=seed, matcher=matcher, pool=pool, judge=judge, tick=tick)
            [figures] = found["policies"].values()
            rows.append({"agent": name, "responder": who, **{key: figures[key] for key in SHOWN}})
    return {"grid": rows, "episodes": episodes, "num_turns": num_turns, "seed": seed}


def draw_grid(found: Mapping[str, Any], path: Path) -> None:
    """Draws the returns of all pairs with their intervals to a PNG file."""
    from matplotlib.figure import Figure

    rows = found["grid"]
    agents = list(dict.fromkeys(row["agent"] for row in rows))
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(agents)
    for k, agent in enumerate(agents):
        own = [row for row in rows if row["agent"] == agent]
        places = np.arange(len(own)) + (k - (len(agents) - 1) / 2) * width
        means = np.array([row["mean_return"] for row in own])
        bounds = np.array([row["mean_return_interval"] for row in own])
        axes.bar(places, means, width, yerr=[means - bounds[:, 0], bounds[:, 1] - means], label=agent, capsize=2)
    axes.set_xticks(range(len(RESPONDERS)), RESPONDERS)
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.set(ylabel="mean return (nats)", title=f"{found['episodes']} episodes of {found['num_turns']} turns, 95 % intervals")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)

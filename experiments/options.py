"""What commands of the `convogym` program share: options, and what is made of them. Knows no command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from convogym.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel
    from convogym.envs.vector import PersonaChatVectorEnv
    from convogym.episodes import Episode
    from convogym.goals import GoalSet
    from convogym.policies.base import Policy
    from convogym.store import EpisodeStore

Seed = Annotated[int, typer.Option(min=0, help="Makes the run repeatable: the same seed gives the same result.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
Model = Annotated[str, typer.Option(help="Who speaks: persona-mini, a folder, or a hub id such as af1tang/personaGPT.")]
Reward = Annotated[
    str, typer.Option(help="Weighted sum of terms, e.g. 'identification-0.1*repetition', or p2bot; a wrong name lists them.")
]
NumEnvs = Annotated[int, typer.Option(min=1, help="Dialogues spoken side by side, in one batch.")]
NumTurns = Annotated[int, typer.Option("--num-turns", min=1, help="Turns of an episode.")]
Decoding = Annotated[
    str, typer.Option(help="How replies are drawn: greedy, sample, or mbr (of several samples the one most like the others).")
]
Candidates = Annotated[int, typer.Option(min=2, help="Samples that --decoding mbr chooses from.")]
Seen = Annotated[
    str,
    typer.Option(
        "--observation",
        help="What the policy sees: goals (those used, and the turn), belief (also what the judge makes of the line-up so "
        "far), or one that reads the replies too: embedding, last-token, ranking:FOLDER, "
        "sentence-transformers:NAME.",
    ),
]
Goals = Annotated[str, typer.Option(help="What lines can be about: published, or taught (those and what --model was taught).")]
Tensorboard = Annotated[Path | None, typer.Option(help="Folder for TensorBoard's files.")]
Personas = Annotated[str, typer.Option(help="Who is talked to: train, held-out, another set, or a file of personas.")]


def load_model(model: str) -> LanguageModel:
    """The model of `--model`."""
    from convogym.agents.loading import load

    return load(model)


def make_policy(
    name: str, seed: int, trust: bool, goals: GoalSet | None = None, observation_size: int | None = None
) -> Policy:
    """The policy for some goals, by default the eleven published ones; a person has `convogym chat --mode steer`."""
    from convogym.goals import DEFAULT_GOALS
    from convogym.policies.loading import make_policy as find

    if name == "human":
        raise InputError("--policy must pick goals by itself; to pick them yourself use `convogym chat --mode steer`.")
    goals = goals or DEFAULT_GOALS
    return find(name, len(goals), seed, trust, goals=goals, observation_size=observation_size)


def policies_and_envs(
    model: str, names: Sequence[str], goals: str, num_envs: int, seed: int, trust: bool, **options: Any
) -> tuple[list[Policy], list[PersonaChatVectorEnv]]:
    """Policies, and for each the environment that shows it what it was trained on.

    Args:
        model: name, folder or hub id.
        names: of the policies.
        goals: "published", or "taught": those and what the model was taught.
        num_envs: dialogues side by side.
        seed: of policies that draw.
        trust: also load what can run code.
        **options: of `collect.make_env`.
    """
    from convogym.experiments import collect

    if goals == "published":
        chosen = [make_policy(name, seed, trust) for name in names]  # a wrong one is told before a model is loaded
        envs = collect.make_envs(load_model(model), chosen, num_envs, **options)
    else:
        env = collect.make_env(load_model(model), num_envs, goals=goals, **options)
        size = env.single_observation_space.shape
        assert size is not None
        chosen = [make_policy(name, seed, trust, env.goals, size[0]) for name in names]
        envs = [env] * len(chosen)
    for policy, env in zip(chosen, envs, strict=True):
        check_fits(policy, env)
    return chosen, envs


def check_fits(policy: Policy, env: Any) -> None:
    """Refuses a learned policy that saw another observation in training."""
    if hasattr(policy, "check_fits"):
        policy.check_fits(
            observation_size=env.single_observation_space.shape[0],
            num_actions=int(env.single_action_space.n),
            goals=env.unwrapped.goals.goals,
        )


def runs_in(name: str) -> list[str]:
    """The policies that a `--policy` names: itself, or those in a folder of policies, in order of their names."""
    folder = Path(name)
    if not folder.is_dir() or (folder / "policy.json").is_file():
        return [name]
    return sorted(str(path.parent) for path in folder.glob("*/policy.json")) or [name]


def check_algorithm(name: str) -> None:
    """Refuses an unknown `--algo` before anything slow is imported."""
    from convogym.policies.algorithms import ALGORITHMS

    if name not in ALGORITHMS:
        raise UnknownNameError("algorithm", name, ALGORITHMS)


def check_observation(name: str) -> None:
    """Refuses an `--observation` that no network can be trained on."""
    from convogym.envs.make import check_observation as check
    from convogym.envs.observations import OBSERVATIONS

    if name in ("text", "tokens"):
        raise UnknownNameError("observation", name, [each for each in OBSERVATIONS if each not in ("text", "tokens")])
    check(name)


def check_file(path: Path) -> None:
    """Refuses a `--data` that is no file."""
    if not path.is_file():
        raise InputError(f"--data must be a file, found {'a folder' if path.is_dir() else 'nothing'} at {path}.")


@contextlib.contextmanager
def open_store(path: Path | None) -> Iterator[EpisodeStore | None]:
    """The store at a path, its folder made if need be; None without a path."""
    if path is None:
        yield None
        return
    from convogym.store import EpisodeStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with EpisodeStore(path) as store:
        yield store


def open_existing(path: Path) -> EpisodeStore:
    """The store at a path; refuses to make one."""
    from convogym.store import EpisodeStore

    if not path.is_file():
        raise InputError(f"expected an episode store, found none at {path}; make one with `convogym collect`.")
    return EpisodeStore(path)


def check_new(path: Path | None) -> None:
    """Refuses a place for a new store that holds something, before anything long is done."""
    if path is not None and path.exists():
        raise InputError(f"--out must be a new store, {path} exists already.")


def write_store(path: Path, episodes: Sequence[Episode]) -> None:
    """Makes a store of whole episodes, all of them or none."""
    from convogym.store import EpisodeStore

    path.parent.mkdir(parents=True, exist_ok=True)
    with EpisodeStore(path) as store, store.transaction():
        for episode in episodes:
            store.add(episode)

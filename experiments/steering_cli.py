"""Commands about steering: searching, judging, learning again. What a command does is in the module named after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from convogym.errors import InputError, UnknownNameError
from convogym.experiments.console import Console, check_out
from convogym.experiments.options import (
    Json,
    Model,
    NumEnvs,
    NumTurns,
    Personas,
    Reward,
    Seed,
    Seen,
    check_algorithm,
    check_file,
    check_fits,
    check_new,
    check_observation,
    load_model,
    make_policy,
    open_existing,
    write_store,
)
from convogym.text import printable

if TYPE_CHECKING:
    from convogym.speakers import PersonaMatcher

app = typer.Typer()
evaluate = typer.Typer()

Store = Annotated[Path, typer.Option(help="Episode store, e.g. of `convogym collect`.")]


@app.command(epilog="Example: convogym search-order --turns 4 --episodes 256")
def search_order(
    turns: Annotated[int, typer.Option(min=1, help="Length of the order, and turns of an episode.")] = 4,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes that every order is tried on.")] = 256,
    beam: Annotated[int, typer.Option(min=1, help="Orders kept from each length to the next.")] = 2,
    model: Model = "persona-mini",
    num_envs: NumEnvs = 64,
    personas: Personas = "train",
    reward: Reward = "identification",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Find the best fixed order of goals: what a policy must beat that claims to listen. Measure it with evaluate policy."""
    from convogym.experiments import collect as collecting
    from convogym.experiments import search_order as searching

    console = Console(json)
    collecting.check_env_options(personas, reward, num_envs, turns)
    size = min(num_envs, episodes)
    env = collecting.make_env(
        load_model(model), size, personas=personas, reward=reward, num_turns=turns, autoreset_mode="Disabled"
    )
    planned = -(-episodes // size) * size * searching.num_turns_played(turns, beam)
    with console.bar(planned, "searching", "turn") as bar:
        found = searching.search_order(env, turns, episodes, seed=seed, beam=beam, tick=bar.update)
    console.result(found, "found")


@app.command(epilog="Example: convogym rescore --store runs/episodes.db --reward 'identification+0.5*coverage' --report r.md")
def rescore(
    store: Store,
    reward: Reward,
    out: Annotated[Path | None, typer.Option(help="New store that gets the episodes with their new rewards.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Markdown page: how the terms go together, and the talks that pay best, to read.")
    ] = None,
    model: Model = "persona-mini",
    personas: Annotated[
        str | None, typer.Option(help="Pool that rewards draw others from; by default the one recorded with.")
    ] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Compute any reward over recorded talks without generating a word. The store itself is not changed."""
    import functools

    from convogym.agents.reader import load_reader
    from convogym.agents.reply_likelihood import load_scorer
    from convogym.envs.rewards import build_reward, parse_reward
    from convogym.experiments import rescore as rescoring
    from convogym.goals import DEFAULT_GOALS
    from convogym.personas import load_personas

    console = Console(json)
    rescoring.check_rescorable(reward)
    check_new(out)
    with open_existing(store) as opened:
        before = [episode for episode in opened.episodes() if episode.turns and episode.persona]
        if not before:
            raise InputError(f"{store} holds no episode with a persona and a turn.")
        pool = load_personas(personas or rescoring.recorded_pool(before))
        needs_features = any(name == "ranking" for _, name in parse_reward(reward))
        embed = load_model(model).responder().embed if needs_features else None
        built = build_reward(
            reward,
            personas=pool,
            goals=DEFAULT_GOALS,
            embed=embed or (lambda texts: np.zeros((len(texts), 0), np.float32)),
            reader=functools.cache(load_reader),
            scorer=functools.cache(load_scorer),
        )
        with console.bar(len(before), "rescoring", "episode") as bar:
            after = list(rescoring.rescore(iter(before), built, embed, bar.update))
    found = rescoring.summary(before, after)
    if out is not None:
        write_store(out, after)
    if report is not None:
        rescoring.write_report(report, reward, found, after)
    console.result({"reward": reward, "store": store, "out": out, "report": report, "seed": seed, **found}, "rescored")


@app.command(epilog="Example: convogym replay --store runs/episodes.db --model runs/tuned --out runs/replayed.db")
def replay(
    store: Store,
    out: Annotated[Path | None, typer.Option(help="New store that gets the replayed talks.")] = None,
    model: Model = "persona-mini",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many episodes.")] = None,
    personas: Annotated[
        str | None, typer.Option(help="Pool that rewards draw others from; by default each episode's own.")
    ] = None,
    num_envs: NumEnvs = 64,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Play recorded goals again with the same seeds and personas: the same talk with the same model, another with another."""
    import itertools

    from convogym.experiments import replay as replaying

    console = Console(json)
    check_new(out)
    with open_existing(store) as opened:
        wanted = (episode for episode in opened.episodes() if episode.turns and episode.persona and episode.seed is not None)
        episodes = list(itertools.islice(wanted, limit))
    if not episodes:
        raise InputError(f"{store} holds no episode with seed, persona and a turn.")
    with console.bar(sum(len(episode.turns) for episode in episodes), "replaying", "turn") as bar:
        again = replaying.replay(episodes, load_model(model), personas=personas, num_envs=num_envs, tick=bar.update)
    if out is not None:
        write_store(out, again)
    found = replaying.differences(episodes, again)
    if not json:
        del found["episodes"]
    console.result({"store": store, "out": out, "model": model, "seed": seed, **found}, "replayed")


@app.command(epilog="Example: convogym diff --store runs/episodes.db --other runs/replayed.db --show 2")
def diff(
    store: Store,
    other: Annotated[Path, typer.Option(help="The store to compare with.")],
    show: Annotated[int, typer.Option(min=0, help="Talks to show side by side, those that differ first.")] = 1,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Compare the talks of two stores that have the same seed and persona, turn by turn."""
    from convogym.experiments import replay as replaying

    console = Console(json)
    with open_existing(store) as first, open_existing(other) as second:
        found = replaying.differences(first.episodes(), second.episodes())
        differing = [each for each in found["episodes"] if each["first_difference"]][:show]
        for each in differing:
            shown = replaying.side_by_side(first.episode(each["a"]), second.episode(each["b"]))
            console.say("\n".join(map(printable, shown.splitlines())) + "\n")
    if not json:
        del found["episodes"]
    console.result({"store": store, "other": other, "seed": seed, **found}, "compared")


@evaluate.command("off-policy", epilog="Example: convogym evaluate off-policy --store runs/episodes.db --policy runs/ppo")
def evaluate_off_policy(
    store: Store,
    policy: Annotated[str, typer.Option(help="Whom to judge: random, cycle:3,1,2, or a policy's folder that sees goals.")],
    recorded_by: Annotated[str | None, typer.Option(help="Only episodes of the policy of this name.")] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Judge the policy's drawn goals instead of its best.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """What a policy would get, from talks that another one steered (importance sampling, doubly robust, fitted Q)."""
    from convogym.experiments import off_policy as judging

    console = Console(json)
    with open_existing(store) as opened:
        episodes = list(opened.episodes(finished=True, policy=recorded_by))
    if not episodes:
        raise InputError(f"{store} holds no finished episode" + (f" of {recorded_by!r}." if recorded_by else "."))
    planned = episodes[0].spec.get("num_turns")
    chosen = make_policy(policy, seed, False)
    turns = planned if isinstance(planned, int) else None
    console.result(judging.evaluate_off_policy(episodes, chosen, turns, seed=seed, deterministic=not sample), "estimated")


@evaluate.command("calibration", epilog="Example: convogym evaluate calibration --episodes 200 --out runs/calibration.png")
def evaluate_calibration(
    policy: Annotated[
        str, typer.Option(help="Who picks the goals: random, cycle, cycle:3,1,2, lookahead, or a folder.")
    ] = "random",
    episodes: Annotated[int, typer.Option(min=2, help="Episodes.")] = 200,
    judge: Annotated[
        str, typer.Option(help="Whose belief: reader (of identification) or lm (of identification_lm; slower).")
    ] = "reader",
    out: Annotated[Path | None, typer.Option(help="PNG file that gets the chart.")] = None,
    model: Model = "persona-mini",
    num_envs: NumEnvs = 64,
    num_turns: NumTurns = 8,
    personas: Personas = "held-out",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Whether the identification reward's judge is as often right as it is sure, and how the chance rises with the turns."""
    from convogym.agents.reader import load_reader
    from convogym.agents.reply_likelihood import load_scorer
    from convogym.experiments import collect as collecting
    from convogym.experiments import evaluate_calibration as calibrating
    from convogym.personas import load_personas

    console = Console(json)
    judges: dict[str, Callable[[], PersonaMatcher]] = {"reader": load_reader, "lm": load_scorer}
    if judge not in judges:
        raise UnknownNameError("judge", judge, list(judges))
    collecting.check_env_options(personas, "repetition", num_envs, num_turns)
    chosen = make_policy(policy, seed, False)
    if out is not None:
        check_out(out.parent)
    size = min(num_envs, episodes)
    seen = getattr(chosen, "observation", "goals")
    reward = "identification" if seen == "belief" else "repetition"
    [env] = collecting.make_envs(load_model(model), [chosen], size, personas=personas, reward=reward, num_turns=num_turns)
    check_fits(chosen, env)
    with console.bar(episodes, "talking", "episode") as bar:
        found = calibrating.evaluate_calibration(
            env, chosen, judges[judge](), load_personas(personas), episodes, seed=seed, tick=bar.update
        )
    if out is not None:
        calibrating.draw_calibration(found, out)
    console.result(found, "calibration")


@app.command(epilog="Example: convogym clone-policy --store runs/episodes.db --recorded-by human --out runs/cloned")
def clone_policy(
    out: Annotated[Path, typer.Option(help="Folder for the policy.")],
    store: Annotated[Path | None, typer.Option(help="Episode store whose goals are to be imitated.")] = None,
    recorded_by: Annotated[str | None, typer.Option(help="Only episodes of the policy of this name, e.g. human.")] = None,
    expert: Annotated[
        str | None, typer.Option(help="Instead of a store: whom to ask in talks (DAgger), e.g. lookahead or cycle:3,1,2.")
    ] = None,
    episodes: Annotated[int, typer.Option(min=1, help="With --expert: episodes of each round.")] = 64,
    rounds: Annotated[int, typer.Option(min=1, help="With --expert: rounds; the learner plays all but the first.")] = 4,
    observation: Seen = "goals",
    model: Model = "persona-mini",
    num_envs: NumEnvs = 64,
    num_turns: NumTurns = 8,
    personas: Personas = "train",
    reward: Reward = "identification",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Learn to steer as somebody else does: from recorded talks, or by asking an expert while talking."""
    from convogym.experiments import collect as collecting

    console = Console(json)
    if (store is None) == (expert is None):
        raise InputError("clone-policy needs --store or --expert, one of the two.")
    check_out(out)
    if store is not None:
        from convogym.experiments.imitate import clone_episodes

        with open_existing(store) as opened:
            talks = [episode for episode in opened.episodes(policy=recorded_by) if episode.turns]
        console.result(clone_episodes(talks, out, seed=seed), "cloned")
        return
    assert expert is not None
    collecting.check_env_options(personas, reward, num_envs, num_turns)
    check_observation(observation)
    teacher = make_policy(expert, seed, False)
    from convogym.experiments.imitate import dagger

    size = min(num_envs, episodes)
    env = collecting.make_env(
        load_model(model),
        size,
        personas=personas,
        reward=reward,
        num_turns=num_turns,
        observation=observation,
        autoreset_mode="Disabled",
    )
    check_fits(teacher, env)
    with console.bar(rounds * -(-episodes // size) * size, "asking", "episode") as bar:
        found = dagger(env, teacher, out, episodes=episodes, rounds=rounds, seed=seed, tick=bar.update)
    console.result(found, "cloned")


@app.command(epilog="Example: convogym fit-reward --store runs/episodes.db --out runs/taste")
def fit_reward(
    store: Store,
    out: Annotated[Path, typer.Option(help="Folder for the reward; use it as --reward learned:FOLDER.")],
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit a reward to what people preferred: their corrections, ratings and comparisons in recorded talks."""
    from convogym.agents.reader import load_reader
    from convogym.experiments import fit_reward as fitting

    console = Console(json)
    with open_existing(store) as opened:
        preferences = fitting.preferences_of(opened.episodes())
    check_out(out)
    reader = load_reader()
    console.result(fitting.fit_reward(preferences, reader, reader.name, out, seed), "fitted")


@app.command(epilog="Example: convogym fit-state --out runs/state")
def fit_state(
    out: Annotated[Path, typer.Option(help="Folder for the estimator; use it as --observation ranking:FOLDER.")],
    model: Model = "persona-mini",
    data: Annotated[
        Path | None, typer.Option(help="Dialogues with personas; those that come with the project by default.")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the dialogues; the original makes one.")] = 5,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Fit the original's state estimator: what was said, mapped so that the speaker's facts lie nearest."""
    from convogym.experiments import fit_state as fitting

    console = Console(json)
    if data is not None:
        check_file(data)
    check_out(out)
    loaded = load_model(model)
    with console.bar(epochs, "fitting", "pass") as bar:
        console.result(fitting.fit_state(loaded, data, out, epochs, seed, bar.update), "fitted")


@app.command(epilog="Example: convogym learning-curves --algo ppo --algo dqn --steps 12288 --out runs/curves")
def learning_curves(
    out: Annotated[Path, typer.Option(help="Folder for the policies, curves.json and curves.png.")],
    steps: Annotated[int, typer.Option(min=1, help="Turns that each run learns from.")],
    algo: Annotated[
        list[str], typer.Option(help="ppo, maskable-ppo, recurrent-ppo, a2c, dqn or qr-dqn; several are drawn together.")
    ],
    seeds: Annotated[int, typer.Option(min=2, help="Runs of each algorithm.")] = 5,
    observation: Seen = "goals",
    model: Model = "persona-mini",
    num_envs: NumEnvs = 64,
    num_turns: NumTurns = 8,
    personas: Personas = "train",
    reward: Reward = "identification",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train each algorithm with several seeds and draw the mean returns with their intervals."""
    import json as encoding

    from convogym.experiments import collect as collecting
    from convogym.experiments import learning_curves as learning
    from convogym.experiments.console import as_json_value

    console = Console(json)
    collecting.check_env_options(personas, reward, num_envs, num_turns)
    for name in algo:
        check_algorithm(name)
    check_observation(observation)
    check_out(out)
    with console.bar(steps * seeds * len(algo), "learning", "turn") as bar:
        found = learning.learning_curves(
            load_model(model),
            algo,
            steps,
            out,
            seeds=seeds,
            seed=seed,
            observation=observation,
            tick=bar.update,
            personas=personas,
            reward=reward,
            num_envs=num_envs,
            num_turns=num_turns,
        )
    (out / "curves.json").write_text(encoding.dumps(as_json_value(found), indent=2) + "\n", "utf-8")
    learning.draw_curves(found, out / "curves.png")
    if not json:
        found["curves"] = {name: points[-1] for name, points in found["curves"].items() if points}
    console.result(found, "learnt")


@evaluate.command("steering", epilog="Example: convogym evaluate steering --num-turns 4 --out runs/steering-4")
def evaluate_steering(
    out: Annotated[Path, typer.Option(help="Folder for the policies, steering.json and curves.png.")],
    algo: Annotated[str, typer.Option(help="What to learn with; see train-policy.")] = "ppo",
    steps: Annotated[
        int | None, typer.Option(min=1, help="Turns that each run learns from; by default the algorithm's.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Runs.")] = 5,
    episodes: Annotated[int, typer.Option(min=2, help="Held-out episodes of each policy, the same for all.")] = 512,
    order: Annotated[
        str | None, typer.Option(help="Fixed order to compare with instead of searching one, e.g. cycle.")
    ] = None,
    observation: Seen = "belief",
    model: Model = "persona-mini",
    num_envs: NumEnvs = 64,
    num_turns: NumTurns = 8,
    reward: Reward = "identification",
    resume: Annotated[bool, typer.Option("--resume", help="Take over the finished runs in --out.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Two short runs and few episodes: shows that it works.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Does learning pay? Several runs, as one, against random goals and the best fixed order, on held-out personas."""
    import json as encoding

    from convogym.agents.reader import load_reader
    from convogym.experiments import evaluate_steering as comparing
    from convogym.experiments.collect import check_env_options
    from convogym.experiments.console import as_json_value
    from convogym.policies.algorithms import budget

    console = Console(json)
    check_env_options("train", reward, num_envs, num_turns)
    check_algorithm(algo)
    check_observation(observation)
    if quick:
        seeds, episodes, steps, order = 2, min(episodes, 32), steps or 512, order or "cycle"
    steps = steps or budget(algo)
    if order is not None:
        make_policy(order, seed, False)
    check_out(out)
    planned = comparing.planned_turns(seeds, steps, episodes, num_turns, order)
    with console.bar(planned, "learning, searching, comparing", "turn") as bar:
        found = comparing.evaluate_steering(
            load_model(model),
            load_reader(),
            out,
            algorithm=algo,
            steps=steps,
            observation=observation,
            seeds=seeds,
            episodes=episodes,
            num_turns=num_turns,
            order=order,
            num_envs=num_envs,
            reward=reward,
            resume=resume,
            seed=seed,
            tick=bar.update,
        )
    (out / "steering.json").write_text(encoding.dumps(as_json_value(found), indent=2) + "\n", "utf-8")
    if json:
        console.result(found, "compared")
    else:
        console.say(comparing.told(found))


@evaluate.command("grid", epilog="Example: convogym evaluate grid --policy runs/ppo --order cycle:1,2,6,7 --out runs/grid.png")
def evaluate_grid(
    policy: Annotated[str, typer.Option(help="The learned policy's folder.")],
    order: Annotated[str, typer.Option(help="The fixed order that search-order found, e.g. cycle:1,2,6.")] = "cycle",
    episodes: Annotated[int, typer.Option(min=2, help="Episodes of each of the twelve pairs.")] = 100,
    out: Annotated[Path | None, typer.Option(help="PNG file that gets the chart.")] = None,
    model: Model = "persona-mini",
    num_envs: NumEnvs = 64,
    num_turns: NumTurns = 8,
    personas: Personas = "held-out",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """The published grid: no goals, random, a fixed order, a policy; against a normal, a weak, a persona-less responder."""
    from convogym.agents.reader import load_reader
    from convogym.experiments import collect as collecting
    from convogym.experiments import grid as crossing

    console = Console(json)
    collecting.check_env_options(personas, "identification", num_envs, num_turns)
    names = {"none": "random", "random": "random", "fixed order": order, "policy": policy}
    policies = {row: make_policy(name, seed, False) for row, name in names.items()}
    if out is not None:
        check_out(out.parent)
    with console.bar(episodes * len(policies) * len(crossing.RESPONDERS), "talking", "episode") as bar:
        found = crossing.run_grid(
            load_model(model),
            policies,
            episodes,
            load_reader(),
            personas=personas,
            num_envs=num_envs,
            num_turns=num_turns,
            seed=seed,
            tick=bar.update,
        )
    if out is not None:
        crossing.draw_grid(found, out)
    console.result(found, "grid")

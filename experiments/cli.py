"""The `convogym` program: its commands, their options and help. What a command does is in the module named after it.

Options are checked before anything long starts. Heavy libraries are imported inside the commands, so that help is quick.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from convogym.errors import InputError, UnknownNameError
from convogym.experiments import people_commands, steering_cli, training_cli
from convogym.experiments.console import Console, Program, check_out, stoppable
from convogym.experiments.options import (
    Candidates,
    Decoding,
    Goals,
    Json,
    Model,
    NumEnvs,
    NumTurns,
    Personas,
    Reward,
    Seed,
    Seen,
    Tensorboard,
    check_algorithm,
    check_file,
    check_observation,
    load_model,
    make_policy,
    open_store,
    policies_and_envs,
    runs_in,
)
from convogym.text import printable

app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Conversations steered by turn-level goals: talk, learn a policy, record, tune, measure. First: convogym demo",
    epilog="Every command has --seed and --json. Exit codes: 0; 2 for input or a machine that fails; 130 after Ctrl-C.",
)
evaluate = typer.Typer(
    no_args_is_help=True, help="Measure policies, models, their judges, teaching, and whether talks repeat."
)
app.add_typer(evaluate, name="evaluate")
app.add_typer(steering_cli.app)
app.add_typer(training_cli.app)
evaluate.add_typer(steering_cli.evaluate)
people_commands.register(app, evaluate)


def main() -> None:
    """Runs the program; its exit code is the process's."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # what a narrow terminal cannot show is spelled out
    app()


# --- talking ----------------------------------------------------------------------------------------------------------------


@app.command(epilog="Example: convogym demo --quick")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for what the demo makes.")] = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="A minute instead of ten, with wider intervals.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """See the whole loop once: talk, learn a policy, record, fine-tune, talk again."""
    console = Console(json)
    check_out(out)
    from convogym.experiments.demo import run_demo, summary

    with stoppable(lambda: f"What the demo had finished is in {out}."):
        found = run_demo(out, seed, quick, console.progress)
    if json:
        console.result(found)
        return
    for name, talk in found["transcripts"].items():
        console.say("\n".join([f"--- {name} ---", *map(printable, talk.splitlines()), ""]))
    console.say(summary(found))


@app.command(epilog="Example: convogym chat --fact 'i have two dogs.' --fact 'i am a nurse.'")
def chat(
    mode: Annotated[str, typer.Option(help="talk: you say the lines. steer: you pick the goals, the models talk.")] = "talk",
    model: Model = "persona-mini",
    fact: Annotated[list[str] | None, typer.Option(help="A fact of the bot's persona; give it several times.")] = None,
    persona_file: Annotated[Path | None, typer.Option(help="Text file with one fact of the persona in each line.")] = None,
    turns: Annotated[int, typer.Option(min=1, help="Turns after which the talk ends.")] = 8,
    store: Annotated[Path | None, typer.Option(help="Episode store that keeps the talk.")] = None,
    top_k: Annotated[
        int | None,
        typer.Option(help="Draw only from the k likeliest tokens; 1 = always the likeliest. Here and below the model's own."),
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Draw only from the fewest tokens that have this share of probability.")
    ] = None,
    temperature: Annotated[float | None, typer.Option(help="Above 0; higher is wilder.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest utterance, in tokens.")] = None,
    candidates: Annotated[
        int | None,
        typer.Option(
            min=1, help="Talking: replies drawn each time, of which the one most like the others is said.  [default: 8]"
        ),
    ] = None,
    reward: Reward = "identification",
    approve: Annotated[
        bool, typer.Option("--approve", help="When steering: accept, rewrite or reject every line first.")
    ] = False,
    policy: Annotated[str | None, typer.Option(help="When steering: who takes a turn when you type /policy.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="No colours, for screen readers; so it is in a pipe.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Talk with a persona bot, or steer an interview with one. /help tells what you can do with what was said.

    Leave with Ctrl-D or Ctrl-C: what was said stays.
    """
    from convogym.dialogue import Persona
    from convogym.experiments import chat as chatting
    from convogym.experiments.collect import check_env_options
    from convogym.personas import load_personas

    console = Console(json)
    check_env_options("train", reward)
    if mode not in chatting.MODES:
        raise UnknownNameError("mode", mode, chatting.MODES)
    if mode == "talk" and (approve or policy is not None):
        raise InputError("--approve and --policy are for --mode steer: in a talk you say the lines yourself.")
    if mode == "steer" and candidates is not None:
        raise InputError("--candidates is for --mode talk: what is steered says its first draw, so that it can be replayed.")
    if fact and persona_file:
        raise InputError("a persona must come from --fact or from --persona-file, got both.")
    persona = Persona(tuple(fact)) if fact else chatting.read_persona(persona_file) if persona_file else None
    import numpy as np

    from convogym.agents.best_of import BestOf
    from convogym.agents.sampling import Sampling
    from convogym.speakers import Speaker

    wanted: dict[str, Any] = {"top_k": top_k, "top_p": top_p, "temperature": temperature, "max_tokens": max_tokens}
    changed = {name: value for name, value in wanted.items() if value is not None}
    Sampling(**changed)  # tells a wrong number before the model is loaded
    if policy is not None:
        make_policy(policy, seed, trust=False)  # tells a wrong name before the model is loaded
    loaded = load_model(model)
    sampling = replace(loaded.sampling, **changed)
    say = console.say if plain else console.say_in_colour
    read = chatting.reader_of(sys.stdin, sys.stderr if json else sys.stdout)
    if mode == "talk":
        drawn = load_personas("train")
        persona = persona or drawn[int(np.random.default_rng(seed).integers(len(drawn)))]
        responder: Speaker = loaded.responder(sampling)
        if candidates != 1:
            responder = BestOf(responder, 8 if candidates is None else candidates)
        with open_store(store) as opened:
            console.say("persona: " + " ".join(map(printable, persona.facts)))
            told = chatting.talk(responder, persona, read, say, turns=turns, seed=seed, store=opened)
    else:
        import gymnasium as gym

        env: Any = gym.make(
            "PersonaChat-v0",
            disable_env_checker=True,
            responder=loaded.responder(sampling),
            goal_speaker=loaded.goal_speaker(sampling),
            num_turns=turns,
            reward=reward,
            goals="taught" if loaded.taught else "published",
        )
        helper = None
        if policy is not None:
            goals, size = env.unwrapped.goals, env.observation_space.shape[0]
            helper = make_policy(policy, seed, trust=False, goals=goals, observation_size=size)
        with open_store(store) as opened:
            told = chatting.steer(env, persona, read, say, seed=seed, store=opened, approve=approve, policy=helper)
    kept = "" if store is None or told.episode is None else f" They are in {store}."
    console.note(f"{len(told.turns)} turn{'s' * (len(told.turns) != 1)}{', then you left' * told.left}.{kept}")
    if json:
        console.result({"mode": mode, "model": model, "store": store, "seed": seed, **vars(told)})


# --- the loop ---------------------------------------------------------------------------------------------------------------


@app.command(epilog="Example: convogym collect --policy random --episodes 200 --store runs/episodes.db")
def collect(
    store: Annotated[Path, typer.Option(help="Episode store; made if it is missing.")],
    policy: Annotated[
        str, typer.Option(help="Who picks the goals: random, cycle, cycle:3,1,2, lookahead, or a policy's folder.")
    ],
    episodes: Annotated[int, typer.Option(min=1, help="How many episodes the run is to have.")],
    model: Model = "persona-mini",
    num_envs: NumEnvs = 64,
    num_turns: NumTurns = 8,
    personas: Personas = "train",
    reward: Reward = "identification",
    goals: Goals = "published",
    resume: Annotated[bool, typer.Option("--resume", help="Complete a run that was stopped or killed.")] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Also load a Stable-Baselines3 zip, which can run code.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Record episodes. Kill it whenever you like: every completed turn is in the store, and --resume goes on."""
    from convogym.experiments import collect as collecting

    console = Console(json)
    collecting.check_env_options(personas, reward, num_envs, num_turns)
    options = {"personas": personas, "reward": reward, "num_turns": num_turns}
    [chosen], [env] = policies_and_envs(model, [policy], goals, min(num_envs, episodes), seed, trust, **options)
    with open_store(store) as opened:
        assert opened is not None
        with console.bar(episodes, "recording", "episode") as bar:
            done = collecting.collect(env, chosen, opened, episodes, seed=seed, resume=resume, tick=bar.update)
        console.result(done, "recorded")


@app.command(epilog="Example: convogym train-policy --algo ppo --steps 20000 --out runs/ppo")
def train_policy(
    out: Annotated[Path, typer.Option(help="Folder for the policy.")],
    steps: Annotated[int, typer.Option(min=1, help="Turns to learn from.")],
    algo: Annotated[str, typer.Option(help="ppo, maskable-ppo, recurrent-ppo, a2c, dqn or qr-dqn.")] = "ppo",
    model: Model = "persona-mini",
    num_envs: NumEnvs = 64,
    num_turns: NumTurns = 8,
    personas: Personas = "train",
    reward: Reward = "identification",
    observation: Seen = "goals",
    gamma: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="Weight of later rewards; by default the algorithm's own.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Policy folder to go on from, e.g. of clone-policy; same --algo and --observation.")
    ] = None,
    tensorboard: Tensorboard = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Learn which goal to pick when, by talking."""
    from convogym.experiments import train_policy as training
    from convogym.experiments.collect import check_env_options

    console = Console(json)
    check_env_options(personas, reward, num_envs, num_turns)
    check_algorithm(algo)
    check_observation(observation)
    loaded = load_model(model)
    for folder in filter(None, (out, tensorboard)):
        check_out(folder)
    with console.bar(steps, "learning", "turn") as bar:
        learnt = training.train_policy(
            loaded,
            algo,
            steps,
            out,
            reward=reward,
            personas=personas,
            num_envs=num_envs,
            num_turns=num_turns,
            observation=observation,
            hyperparameters=None if gamma is None else {"gamma": gamma},
            start=start,
            seed=seed,
            tensorboard=tensorboard,
            tick=bar.update,
        )
    console.result(learnt if json else {**learnt, "curve": None}, "learnt")


@app.command(epilog="Example: convogym finetune --store runs/episodes.db --out runs/tuned")
def finetune(
    store: Annotated[Path, typer.Option(help="Episode store to learn from.")],
    out: Annotated[Path, typer.Option(help="Folder for the tuned model.")],
    model: Model = "persona-mini",
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 120,
    lr: Annotated[float, typer.Option(help="Learning rate.")] = 3e-4,
    rates: Annotated[str, typer.Option(help="one for all, published (PersonaGPT's shares by part) or control.")] = "one",
    lora: Annotated[int, typer.Option(min=0, help="Train adapters of this rank (needs peft) and merge them; 0 = all.")] = 0,
    tolerance: Annotated[float, typer.Option(min=0.0, help="How much worse the model may get before it is refused.")] = 0.02,
    tensorboard: Tensorboard = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Teach the model its own best lines, and your corrections first of all; a model that got worse is not written."""
    console = Console(json)
    if not store.is_file():
        raise InputError(f"--store must be an episode store, found none at {store}; make one with `convogym collect`.")
    check_out(out.parent)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out must be a folder, {out} is a file.")
    from convogym.experiments import finetune as finetuning

    with stoppable(lambda: "Nothing was written: the tuned model is saved only at the end."):
        done = finetuning.finetune(store, model, out, steps, lr, tolerance, seed, tensorboard, console.progress, rates, lora)
    console.result(done if json else {**done, "curve": None}, "fine-tuned")


@app.command(epilog="Example: convogym pretrain --data corpora --out runs/mini --resume")
def pretrain(
    data: Annotated[Path, typer.Option(help="Folder of corpora.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and model.")],
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is in --out.")] = False,
    until: Annotated[int | None, typer.Option(min=1, help="Stop after so many steps in all; --resume goes on.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train a model like persona-mini from nothing. Takes over an hour on two cores; can be killed and resumed."""
    console = Console(json)
    if not data.is_dir():
        raise InputError(f"--data must be a folder of corpora, found {'a file' if data.exists() else 'nothing'} at {data}.")
    check_out(out)
    from convogym.experiments import pretrain as pretraining

    total = pretraining.phases(pretraining.RECIPE)[-1][-1]
    last: dict[str, Any] = {}
    first: dict[str, float] = {}

    with stoppable(lambda: f"{out} has the last checkpoint; go on with --resume."):
        with console.bar(min(total, until or total), "pretraining", "step") as bar:

            def report(phase: str, progress: Any, watch: Any) -> None:
                bar.update(progress.step - bar.n)
                first.setdefault("tokens", progress.tokens)
                first.setdefault("time", time.monotonic())
                speed = (progress.tokens - first["tokens"]) / max(time.monotonic() - first["time"], 1e-9)
                bar.set_postfix(phase=phase, loss=f"{progress.loss:.3f}", tokens_a_second=f"{speed:.0f}", refresh=False)
                last.update(phase=phase, **progress._asdict())
                if watch:
                    last["watch"] = dict(watch)

            model = pretraining.pretrain(
                data, out, seed=seed, resume=resume, until=until, progress_bar=console.progress, report=report
            )
    done = {"model": out / "model", "parameters": model.num_parameters, "planned_steps": total, "seed": seed, **last}
    console.result(done, "pretrained")


@app.command(epilog="Example: convogym train-reader --base runs/mini/model --data corpora --out runs/reader")
def train_reader(
    base: Annotated[Path, typer.Option(help="Model folder whose first layers the reader takes.")],
    out: Annotated[Path, typer.Option(help="Folder for the reader.")],
    data: Annotated[Path | None, typer.Option(help="Folder of corpora with personas to add to those shipped.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 600,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train persona-reader: the judge of goals and the matcher of personas, which rewards come from."""
    console = Console(json)
    if not base.is_dir():
        raise InputError(f"--base must be a model folder, found {'a file' if base.exists() else 'nothing'} at {base}.")
    if data is not None and not data.is_dir():
        raise InputError(f"--data must be a folder of corpora, found {'a file' if data.exists() else 'nothing'} at {data}.")
    check_out(out)
    from convogym.experiments import train_reader as training

    with stoppable(lambda: "Nothing was written: the reader is saved only at the end."):
        console.result(training.train(base, data, out, steps, seed, console.progress), "trained")


# --- measuring --------------------------------------------------------------------------------------------------------------


@evaluate.command("policy", epilog="Example: convogym evaluate policy --policy runs/ppo --policy random --episodes 200")
def evaluate_policy(
    policy: Annotated[
        list[str],
        typer.Option(
            help="random, cycle, cycle:3,1,2, lookahead, a policy's folder, or a folder of those: runs that differ in their "
            "seed alone are compared as one. Several are compared pairwise."
        ),
    ],
    episodes: Annotated[int, typer.Option(min=2, help="Episodes of each policy.")] = 200,
    model: Model = "persona-mini",
    num_envs: NumEnvs = 64,
    num_turns: NumTurns = 8,
    personas: Personas = "held-out",
    reward: Reward = "identification",
    goals: Goals = "published",
    sample: Annotated[bool, typer.Option("--sample", help="Draw a policy's goals instead of taking the best.")] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Also load a Stable-Baselines3 zip, which can run code.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Mean return with a 95 % bootstrap interval; policies given together meet the same personas with the same seeds."""
    from convogym.agents.reader import load_reader
    from convogym.experiments import collect as collecting
    from convogym.experiments import evaluate_policy as evaluating
    from convogym.personas import load_personas

    console = Console(json)
    collecting.check_env_options(personas, reward, num_envs, num_turns)
    names = [each for name in policy for each in runs_in(name)]
    options = {"personas": personas, "reward": reward, "num_turns": num_turns}
    chosen, envs = policies_and_envs(model, names, goals, min(num_envs, episodes), seed, trust, **options)
    reader = load_reader()
    with console.bar(episodes * len(chosen), "evaluating", "episode") as bar:
        found = evaluating.evaluate_policies(
            chosen,
            envs,
            episodes,
            seed=seed,
            deterministic=not sample,
            matcher=reader,
            pool=load_personas(personas),
            judge=reader,
            tick=bar.update,
        )
    if len(chosen) == 1:
        [(name, only)] = found.pop("policies").items()
        del found["differences"], found["methods"]
        found = {"policy": name, **only, **found}
    if not json:
        del found["returns"]
        found.pop("methods", None)
        if "differences" in found:
            found["differences"] = evaluating.as_rows(found["differences"])
    console.result(found, "evaluated")


@evaluate.command("seeds", epilog="Example: convogym evaluate seeds --dialogues 200 --batches 1,7,64")
def evaluate_seeds(
    dialogues: Annotated[int, typer.Option(min=1, help="Episodes, the same in every batch size.")] = 200,
    batches: Annotated[str, typer.Option(help="How many talk side by side; all are compared with the first.")] = "1,7,64",
    num_turns: NumTurns = 8,
    model: Model = "persona-mini",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Whether transcripts depend on how many dialogues run beside them: they must not."""
    from convogym.experiments import evaluate_seeds as evaluating
    from convogym.experiments.benchmark import parse_sizes

    console = Console(json)
    sizes = parse_sizes(batches, "batches")
    loaded = load_model(model)
    with console.bar(dialogues * len(sizes), "talking", "episode") as bar:
        found = evaluating.evaluate_seeds(loaded, dialogues, batches=sizes, turns=num_turns, seed=seed, tick=bar.update)
    console.result(found, "compared")


@evaluate.command("model", epilog="Example: convogym evaluate model --data convai2_dev.txt --format convai2 --limit 100")
def evaluate_model(
    data: Annotated[Path, typer.Option(help="Dialogues to score the replies of.")],
    model: Model = "persona-mini",
    format: Annotated[str | None, typer.Option(help="The file's format, e.g. convai2; told from the file by default.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many dialogues.")] = None,
    hits: Annotated[bool, typer.Option("--hits/--no-hits", help="Rank the true reply among 20, the slow part.")] = True,
    protocol: Annotated[
        str, typer.Option(help="convai2, personagpt (the scores of PersonaGPT's own script), or all.")
    ] = "convai2",
    decoding: Decoding = "mbr",
    candidates: Candidates = 8,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Perplexity, F1 and variety of generated replies, and Hits@1 of a responder."""
    console = Console(json)
    check_file(data)
    from convogym.experiments import evaluate_model as evaluating

    found = evaluating.evaluate_model(model, data, format, seed, limit, hits, console.progress, protocol, decoding, candidates)
    console.result(found, "model")


@evaluate.command("persona", epilog="Example: convogym evaluate persona --dialogues 100 --decoding mbr")
def evaluate_persona(
    model: Model = "persona-mini",
    data: Annotated[
        Path | None, typer.Option(help="Dialogues labelled like steered-talk; held-out grammar ones by default.")
    ] = None,
    dialogues: Annotated[
        int | None, typer.Option(min=1, help="Only the first so many; all of a file, 200 of the grammar's by default.")
    ] = None,
    decoding: Decoding = "greedy",
    candidates: Candidates = 8,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """How often a model states the facts of its persona, or others, and how well its talks show whose they are."""
    console = Console(json)
    if data is not None:
        check_file(data)
    from convogym.experiments import evaluate_persona as evaluating

    found = evaluating.evaluate_persona(model, data, dialogues, seed, decoding, candidates, console.progress)
    console.result(found, "persona")


@evaluate.command("goals", epilog="Example: convogym evaluate goals --contexts 40")
def evaluate_goals(
    model: Model = "persona-mini",
    data: Annotated[
        Path | None, typer.Option(help="Dialogues to take contexts from; held-out grammar ones by default.")
    ] = None,
    contexts: Annotated[int, typer.Option(min=1, help="Contexts in which every goal is tried.")] = 40,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for confusion.csv and .png, goals asked and followed, and lines.jsonl, to label yourself."),
    ] = None,
    decoding: Decoding = "sample",
    candidates: Candidates = 8,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """How often the lines a model says carry out their goal: per goal, on average, at worst."""
    console = Console(json)
    if data is not None:
        check_file(data)
    if out is not None:
        check_out(out)
    from convogym.experiments import evaluate_goals as evaluating

    found = evaluating.evaluate_goals(model, data, contexts, seed, console.progress, out, decoding, candidates)
    console.result(found, "goals followed")


@evaluate.command("goal-judge", epilog="Example: convogym evaluate goal-judge --data labelled.jsonl")
def evaluate_goal_judge(
    data: Annotated[
        Path,
        typer.Option(help='JSON lines: {"previous": text, "text": text, "goals": \\[codes]}; "asked": code tells who obeyed.'),
    ],
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Precision, recall and F1 of the judge that says which goals a line carries out, on lines you labelled."""
    console = Console(json)
    check_file(data)
    from convogym.experiments import evaluate_goals as evaluating

    console.result(evaluating.evaluate_goal_judge(data, seed), "goal judge")


@app.command(epilog="Example: convogym benchmark --num-envs 1,64 --out runs/benchmark")
def benchmark(
    num_envs: Annotated[
        str | None, typer.Option(help="Numbers of dialogues, commas between.", show_default="1,16,64,256")
    ] = None,
    turns: Annotated[int | None, typer.Option(min=1, help="Turns of each dialogue and repetition.", show_default="8")] = None,
    repeats: Annotated[int | None, typer.Option(min=1, help="Repetitions; the median counts.", show_default="3")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A minute instead of many: defaults too small for figures to trust.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for benchmark.json and the chart benchmark.png.")] = None,
    model: Model = "persona-mini",
    shape: Annotated[
        str | None, typer.Option(help="Random weights of this size in place of --model's: gpt2-medium. For a GPU.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where the model is computed: cpu or cuda, there in bfloat16.")] = "cpu",
    reward: Reward = "identification",
    alternatives: Annotated[
        bool,
        typer.Option("--alternatives", help="Instead: microseconds of a decode step by kernels, torch, torch.compile, int8."),
    ] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Turns per second: speakers alone, whole environment, the original's loop, `generate`, and the machine's limit."""
    from convogym.experiments.collect import check_env_options

    console = Console(json)
    check_env_options("train", reward)
    if alternatives and (quick or [x for x in (out, turns, repeats) if x is not None]):
        raise InputError("--alternatives takes none of --out, --turns, --repeats and --quick; --json prints all it finds.")
    from convogym.experiments import benchmark as benchmarking

    sizes = None if num_envs is None else benchmarking.parse_sizes(num_envs)
    given: dict[str, Any] = {"sizes": sizes, "turns": turns, "repeats": repeats}
    wanted = {name: value for name, value in given.items() if value is not None}
    plan = replace(benchmarking.QUICK if quick else benchmarking.Plan(), **wanted)
    from convogym.agents.loading import check_device, load_to_speak
    from convogym.experiments.random_model import random_model

    check_device(device)
    loaded = load_to_speak(model, device) if shape is None else random_model(shape, device, seed)
    if alternatives:
        from convogym.experiments.decode_steps import SIZES, decode_steps

        console.result(decode_steps(loaded, sizes or SIZES, seed), "decode steps")
        return
    if out is not None:
        check_out(out)
    with console.bar(plan.all_turns, "measuring", "turn") as bar:
        found = benchmarking.benchmark(loaded, plan, reward=reward, seed=seed, tick=bar.update)
    if out is not None:
        from convogym.experiments.benchmark_chart import write_benchmark

        write_benchmark(found, out)
    if not json:  # a table has no room for them
        for system in found["measured"].values():
            del system["repetitions"]
    console.result(found, "benchmark")


if __name__ == "__main__":
    main()

"""The commands for people who talk to models, teach them, and serve others; what they do is in the modules they call."""

from __future__ import annotations

import functools
import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from convogym.errors import InputError
from convogym.experiments.console import Console, check_out, stoppable
from convogym.experiments.options import Json, Model, Seed

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def register(app: typer.Typer, evaluate: typer.Typer) -> None:
    """Adds the commands to the program and to its group `evaluate`."""
    app.command(epilog='Example: convogym teach "talk about sports." --out runs/taught')(teach)
    app.command(epilog="Example: convogym serve --store runs/people.db --port 8000")(serve)
    app.command(epilog="Example: convogym benchmark-load --users 50 --minutes 5 --kill")(benchmark_load)
    evaluate.command("teaching", epilog="Example: convogym evaluate teaching --goals 3 --corrections 20")(evaluate_teaching)
    evaluate.command("teaching-table", epilog="Example: convogym evaluate teaching-table --out runs/teaching")(teaching_table)


def teach(
    goal: Annotated[str | None, typer.Argument(help="What lines are to do, as in 'talk about sports.'")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the versions, and for your answers.")] = Path("runs/taught"),
    model: Model = "persona-mini",
    lessons: Annotated[int, typer.Option(help="How many lines to ask you for, 5 to 20.")] = 10,
    lora: Annotated[
        int,
        typer.Option(min=0, help="Rank of low-rank adapters that learn alone (extra lora); 0 = the whole network learns."),
    ] = 0,
    order: Annotated[
        str, typer.Option(help="Which moments are asked: random, or informative, where the model is unsure.")
    ] = "random",
    restore: Annotated[int | None, typer.Option(min=0, help="Put this version in use, 0 = untaught; teach nothing.")] = None,
    plain: Annotated[bool, typer.Option("--plain", help="No colours, for screen readers; so it is in a pipe.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Teach a model a new goal: correct the lines it proposes, see what that changed, keep it or not.

    Without a goal: list the versions. Lines come from a pipe too: one a question, the last one y to keep what was learnt.
    """
    from convogym.experiments.taught_set import TaughtSet

    console = Console(json)
    check_out(out.parent)
    taught = TaughtSet(out, model)
    if restore is not None:
        if goal is not None:
            raise InputError("--restore puts a version in use and teaches nothing; leave the goal out.")
        taught.restore(restore)
    if goal is None:
        console.result(_versions(taught, seed), "taught")
        return
    taught.check_new(goal)
    from convogym.agents.loading import load
    from convogym.agents.reader import load_reader
    from convogym.experiments import chat, teaching
    from convogym.experiments import teach as teaching_at_terminal
    from convogym.experiments.course import Course

    say = console.say if plain else console.say_in_colour
    read = chat.reader_of(sys.stdin, sys.stderr if json else sys.stdout)
    try:
        with stoppable(lambda: f"Your answers are in {out}; the model is as it was."):
            course = Course(goal, taught, load(taught.model), load_reader(), count=lessons, seed=seed, lora=lora, order=order)
            report, kept = teaching_at_terminal.teach(
                course, read, say, steps=teaching.STEPS, bar=lambda steps: console.bar(steps, "learning", "step")
            )
    except teaching_at_terminal.Left as left:
        console.note(str(left))
        if json:
            console.result({"kept": False, "lessons": len(taught.lessons(goal)), **_versions(taught, seed)})
        return
    if json:
        console.result({"kept": kept, "report": report, **_versions(taught, seed)})


def serve(
    store: Annotated[Path, typer.Option(help="Episode store that keeps the talks.")] = Path("runs/people.db"),
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than this computer's own only with --tokens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 = any free one.")] = 8000,
    name: Annotated[list[str] | None, typer.Option(help="Name by which browsers reach this computer; several times.")] = None,
    tokens: Annotated[Path | None, typer.Option(help="Text file with one invite token in each line.")] = None,
    invite: Annotated[int, typer.Option(min=0, help="Add so many fresh tokens to --tokens and show them.")] = 0,
    taught: Annotated[
        Path | None, typer.Option(help="Let people teach the model new goals; versions and answers go to this folder.")
    ] = None,
    model: Model = "persona-mini",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    r"""Serve a web page on which people talk, steer, correct and rate; what they do goes to the store. Stop with Ctrl-C.

    Needs the extra `web`: pip install "convogym\[web]". Scripts find the interface's description at /openapi.json.
    """
    console = Console(json)
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise InputError(f'{error.name} is not installed, run `pip install "convogym[web]"`.') from error
    from convogym.experiments import serving

    if invite and tokens is None:
        raise InputError("--invite adds tokens to the file of --tokens; name one.")
    if host not in LOOPBACK and tokens is None:
        raise InputError(f"--host {host} lets other computers in, so --tokens must say who may come; make some with --invite.")
    if host in ("0.0.0.0", "::") and not name:
        raise InputError(f"--host {host} listens on every address; say with --name by which name browsers call this computer.")
    fresh = serving.add_tokens(tokens, invite) if tokens is not None and invite else []
    known = None if tokens is None else serving.read_tokens(tokens)
    check_out(store.parent)
    from convogym.agents.loading import load
    from convogym.agents.reader import load_reader
    from convogym.agents.shared import SharedSpeaker
    from convogym.experiments.school import School
    from convogym.experiments.taught_set import TaughtSet
    from convogym.experiments.web import make_app
    from convogym.personas import load_personas
    from convogym.store import EpisodeStore

    versions = None if taught is None else TaughtSet(taught, model)
    loaded = load(model if versions is None else versions.model)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with EpisodeStore(store) as opened, socket.create_server((host, port), family=family, backlog=256) as listening:

        def speakers(of: Any) -> tuple[SharedSpeaker, SharedSpeaker]:
            return SharedSpeaker(of.goal_speaker()), SharedSpeaker(of.responder())

        reader = functools.cache(load_reader)
        service = serving.Service(*speakers(loaded), load_personas("train"), opened, known, seed, reader)
        school = None
        if versions is not None:
            school = School(versions, load, reader, lambda chosen: service.speak_with(*speakers(chosen)), seed)
        port = int(listening.getsockname()[1])
        shown = f"[{host}]" if ":" in host else host
        app = make_app(service, [*("[::1]" if each == "::1" else each for each in LOOPBACK), shown, *(name or ())], school)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
        console.result(
            {"url": f"http://{shown}:{port}/", "store": store, "model": model, "tokens": fresh, "seed": seed}, "serving"
        )
        try:
            with stoppable(lambda: f"What people said is in {store}."):
                server.run(sockets=[listening])
        finally:
            if school is not None:
                school.close()


def _versions(taught: Any, seed: int) -> dict[str, Any]:
    return {
        "out": taught.folder,
        "in_use": taught.current,
        "model": taught.model,
        "goals": list(taught.goals),
        "versions": [
            {"version": each.number, "goal": each.goal, "from": each.parent, "created": each.created}
            for each in taught.versions
        ],
        "seed": seed,
    }


def benchmark_load(
    users: Annotated[int, typer.Option(min=1, max=1000, help="People who talk at once.")] = 50,
    minutes: Annotated[float, typer.Option(min=0.01, help="For how long.")] = 5.0,
    pause: Annotated[float, typer.Option(min=0, help="Mean seconds between a reply and the next line.")] = 2.0,
    kill: Annotated[bool, typer.Option("--kill", help="Kill the server in the middle, and start it again.")] = False,
    model: Model = "persona-mini",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Let simulated people talk at once with a server process of its own: errors, lost and crossed turns, latencies.

    Latencies are of people and server together on this machine. Needs the extra `web`.
    """
    import tempfile

    from convogym.experiments import load
    from convogym.experiments.console import machine

    console = Console(json)
    with tempfile.TemporaryDirectory() as folder, console.bar(int(60 * minutes), "talking", "s") as bar:
        found = load.load(Path(folder), users, 60 * minutes, pause, kill, model, seed, bar.update)
    found |= {"pause": pause, "killed": kill, "model": model, "seed": seed, "machine": machine()}
    console.result(found, "load")


def evaluate_teaching(
    goals: Annotated[int, typer.Option(min=1, help="How many of steered-talk's ten extra goals to teach.")] = 10,
    corrections: Annotated[int, typer.Option(min=1, help="Corrections for each.")] = 20,
    order: Annotated[str, typer.Option(help="Which moments are asked first: random, or informative.")] = "random",
    procedure: Annotated[
        str,
        typer.Option(help="How it learns: rehearsed, as `convogym teach`; or original, one new and one old pair a call."),
    ] = "rehearsed",
    model: Model = "persona-mini",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Teach extra goals by a simulated annotator: are they followed, and what do they cost the old goals and the replies?"""
    from convogym.experiments import evaluate_teaching as evaluating
    from convogym.experiments import teaching

    console = Console(json)
    calls = corrections if procedure == "original" else teaching.STEPS
    with console.bar(goals * calls, "learning", "step") as bar:
        found = evaluating.evaluate_teaching(model, goals, corrections, order, seed, bar.update, procedure)
    console.result(found, "taught")


def teaching_table(
    out: Annotated[
        Path, typer.Option(help="Folder for the results, line by line, and the figure; a stopped run goes on there.")
    ],
    goals: Annotated[int, typer.Option(min=1, max=10, help="How many of steered-talk's ten extra goals to teach.")] = 10,
    model: Model = "persona-mini",
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Evaluate teaching with 5, 10 and 20 corrections, in both orders of asking, and by the original's procedure."""
    from convogym.experiments import teaching_table as evaluating

    console = Console(json)
    with console.bar(len(evaluating.CELLS), "evaluating", "line") as bar:
        found = evaluating.teaching_table(model, goals, seed, out, bar.update)
    console.result(found, "taught")

"""The commands that train by a published regime and that measure the trainer; `cli.py` adds them to the program."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from convogym.errors import InputError
from convogym.experiments.console import Console, as_json_value, check_out, stoppable
from convogym.experiments.options import Json, Seed, load_model

app = typer.Typer()


@app.command(epilog="Example: convogym train --regime transfertransfo --base persona-mini --data corpora --out runs/tt")
def train(
    regime: Annotated[str, typer.Option(help="transfertransfo, personagpt or p2bot.")],
    data: Annotated[Path, typer.Option(help="File of dialogues, or folder of them.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, log and model.")],
    base: Annotated[
        str, typer.Option(help="scratch, persona-mini, a folder, or a hub id such as gpt2 or microsoft/DialoGPT-medium.")
    ] = "persona-mini",
    valid: Annotated[
        Path | None, typer.Option(help="File of held-out dialogues.", show_default="the file's own split, or 1 in 40")
    ] = None,
    epochs: Annotated[
        float, typer.Option(help="How often the data is read; by personagpt's control stage once at most.")
    ] = 3.0,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", show_default="the regime's published one")] = None,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Tokens in a batch, padding included.")] = 4096,
    accumulate: Annotated[int, typer.Option(min=1, help="Batches a step, whose gradients are added up.")] = 2,
    dropout: Annotated[float, typer.Option(help="Share of the residual updates dropped while training.")] = 0.1,
    max_norm: Annotated[float, typer.Option(help="Gradients are scaled down to this norm.")] = 1.0,
    max_history: Annotated[int, typer.Option(min=0, help="transfertransfo: exchanges read before the last line.")] = 2,
    candidates: Annotated[int, typer.Option(min=2, help="transfertransfo: replies to choose from in training.")] = 2,
    permutations: Annotated[int, typer.Option(min=1, help="transfertransfo: rotations of each persona.")] = 1,
    lm_coef: Annotated[float, typer.Option(help="transfertransfo: weight of the language loss.")] = 1.0,
    mc_coef: Annotated[float, typer.Option(help="transfertransfo: weight of the choice loss.")] = 1.0,
    receiver_steps: Annotated[int, typer.Option(min=1, help="p2bot: optimiser steps of the receiver.")] = 600,
    episodes: Annotated[int, typer.Option(min=1, help="p2bot: episodes of self-play.")] = 2000,
    self_play_lr: Annotated[float, typer.Option(help="p2bot: learning rate of self-play.")] = 1e-6,
    evaluated: Annotated[int, typer.Option(min=0, help="Held-out dialogues to score the result on; 0 = none.")] = 50,
    score_before: Annotated[bool, typer.Option("--score-before", help="Score the base, too.")] = False,
    bf16: Annotated[bool, typer.Option("--bf16", help="Multiply in bfloat16, where the hardware can.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    checkpoint_minutes: Annotated[float, typer.Option(help="Minutes between checkpoints.")] = 5.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is in --out.")] = False,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Train by TransferTransfo's, PersonaGPT's or P2 Bot's regime; in several processes with `accelerate launch`."""
    console = Console(json)
    from convogym.agents.processes import team_of_launch
    from convogym.experiments import train as training

    plan = training.Plan(
        regime=regime,
        base=base,
        epochs=epochs,
        lr=lr,
        batch_tokens=batch_tokens,
        accumulate=accumulate,
        dropout=dropout,
        max_norm=max_norm,
        max_history=max_history,
        candidates=candidates,
        permutations=permutations,
        lm_coef=lm_coef,
        mc_coef=mc_coef,
        receiver_steps=receiver_steps,
        episodes=episodes,
        self_play_lr=self_play_lr,
        evaluated=evaluated,
        bf16=bf16,
        device=device,
        seed=seed,
    )
    if not data.exists():
        raise InputError(f"--data must be a file or folder of dialogues, found nothing at {data}.")
    check_out(out)
    team = team_of_launch()
    watched = console.progress and not team.rank
    bars: dict[str, Any] = {}

    def report(stage: str, progress: Any, steps: int) -> None:
        if stage not in bars:
            for bar in bars.values():
                bar.close()
            bars[stage] = console.bar(steps, stage, "step")
        bars[stage].update(progress.step - bars[stage].n)
        bars[stage].set_postfix({name: f"{value:.3f}" for name, value in progress.terms.items()}, refresh=False)

    with stoppable(lambda: f"{out} has the last checkpoint; go on with --resume."):
        done = training.train(
            plan,
            data,
            out,
            valid,
            resume,
            checkpoint_minutes,
            score_before,
            report if watched else lambda stage, progress, steps: None,
            team,
            watched,
        )
    for bar in bars.values():
        bar.close()
    if not team.rank:
        console.result(done, "trained")


@app.command(epilog="Example: convogym benchmark-training --dialogues 60")
def benchmark_training(
    dialogues: Annotated[int, typer.Option(min=1, help="Dialogues of steered-talk that both read once.")] = 60,
    model: Annotated[str, typer.Option(help="What is trained: persona-mini, a folder, or a hub id.")] = "persona-mini",
    lr: Annotated[float, typer.Option(min=0.0, help="AdamW's rate, of both.")] = 5e-5,
    out: Annotated[Path | None, typer.Option(help="Folder for benchmark-training.json.")] = None,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Target tokens a second of the trainer and of PersonaGPT's loop, one pair at a time, and what each learns from them."""
    console = Console(json)
    if out is not None:
        check_out(out)
    from convogym.experiments import benchmark_training as benchmarking

    loaded = load_model(model)
    pairs = sum(len(dialogue.utterances) for dialogue in benchmarking.drawn(dialogues, seed))
    with console.bar(2 * pairs, "measuring", "pair") as bar:
        found = benchmarking.benchmark_training(loaded, dialogues, seed, lr, bar.update)
    if out is not None:
        (out / "benchmark-training.json").write_text(jsonlib.dumps(as_json_value(found), indent=2) + "\n", "utf-8")
    console.result(found, "training benchmark")

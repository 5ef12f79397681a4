"""Trains a model by one of three published regimes, from any base. Prints nothing; gives a dict.

    convogym train --regime transfertransfo --base gpt2 --data personachat_self_original.json --out runs/tt

- `transfertransfo` (transfer-learning-conv-ai `train.py`): the likelihood of replies, and picking them among candidates.
- `personagpt` (illidanlab/personaGPT `train.py`): persona talk of both speakers, then goals: `ctrl_loss` and `persona_loss`.
- `p2bot` (Persona-Dialogue-Generation): a transmitter (likelihood, and does this reply come next), a receiver (whose persona
  is this), and self-play in which what the receiver perceives is rewarded.

`out/log.jsonl` gets a line every ten steps, `out/board` the same for TensorBoard, `out/model` the result. What a stage does is
in `regimes.py`; here is what all have in common.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from convogym import transfertransfo
from convogym.agents.folders import replaced
from convogym.agents.gpt2 import GPT2Shape
from convogym.agents.loading import load
from convogym.agents.model import LanguageModel
from convogym.agents.processes import ALONE, Team
from convogym.agents.tokenizer import BPETokenizer
from convogym.agents.training import Progress, Trainer, cut_log, has_bfloat16, write_log
from convogym.dialogue import Dialogue
from convogym.errors import InputError, UnknownNameError
from convogym.experiments import corpora
from convogym.experiments.decodings import decoding_of
from convogym.experiments.evaluate_model import convai2_scores
from convogym.experiments.pretrain import RECIPE, Recipe
from convogym.readers import read_dialogues, read_transfertransfo

REGIMES = ("transfertransfo", "personagpt", "p2bot")
SCRATCH = "scratch"  # the base that is none
SCRATCH_LR = 1e-3  # published rates are for pretrained bases
LOG_EVERY = 10  # steps


@dataclass(frozen=True)
class Plan:
    """All that decides a run, but for its corpora."""

    regime: str
    """one of `REGIMES`"""
    base: str
    """"scratch", a shipped model, a folder or a hub id"""
    epochs: float = 3.0
    """times the data is read; of p2bot by the transmitter"""
    lr: float | None = None
    """AdamW's, falling linearly to 0; None = the regime's published one, 1e-3 from scratch"""
    batch_tokens: int = 4096
    """tokens in a batch, padding included"""
    accumulate: int = 2
    """batches a step"""
    dropout: float = 0.1
    """of the residual updates; GPT-2's own"""
    max_norm: float = 1.0
    """gradient clipping"""
    max_history: int = transfertransfo.MAX_HISTORY
    """transfertransfo: exchanges read before the last line"""
    candidates: int = 2
    """transfertransfo: replies to choose from in training, the true one among them"""
    permutations: int = 1
    """transfertransfo: rotations of the persona in which every dialogue is read"""
    lm_coef: float = 1.0
    """transfertransfo: weight of the language loss"""
    mc_coef: float = 1.0
    """transfertransfo: weight of the choice loss"""
    receiver_steps: int = 600
    """p2bot: optimiser steps of the receiver"""
    episodes: int = 2000
    """p2bot: episodes of self-play (about 2,000 in the paper)"""
    self_play_lr: float = 1e-6
    """p2bot: AdamW's in self-play"""
    evaluated: int = 50
    """held-out dialogues the result is scored on; 0 = none"""
    bf16: bool = False
    """matrix products in bfloat16"""
    device: str = "cpu"
    """where the training happens"""
    seed: int = 0
    """of everything"""
    recipe: Recipe = RECIPE
    """vocabulary and sizes of a model from scratch"""

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        if self.regime not in REGIMES:
            raise UnknownNameError("regime", self.regime, REGIMES)
        whole = ("candidates", "permutations", "receiver_steps", "episodes")
        for name in whole:
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.candidates < 2:
            raise InputError(f"`candidates` must be at least 2, the true one and another, got {self.candidates}.")
        if min(self.max_history, self.evaluated) < 0:
            raise InputError("`max_history` and `evaluated` must be at least 0.")
        for name in ("epochs", "lr", "self_play_lr", "max_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"`{name}` must be positive and finite, got {value}.")
        if self.bf16 and not has_bfloat16(self.device):
            raise InputError(f"`bf16` needs hardware that multiplies in bfloat16, {self.device} here does not; leave it out.")

    @property
    def layout(self) -> str | None:
        """The layout the base is trained in; None = its own."""
        if self.regime == "transfertransfo":
            return transfertransfo.LAYOUT
        return "personagpt" if self.base == SCRATCH else None

    def rate(self, published: float) -> float:
        """AdamW's full rate, given the regime's published one."""
        return self.lr or (SCRATCH_LR if self.base == SCRATCH else published)


def read_parts(data: Path, valid: Path | None) -> tuple[list[Dialogue], list[Dialogue]]:
    """The dialogues to train on and those held out, as they are written, candidates and all.

    Without `valid`, the held-out ones are the file's own split (TransferTransfo's JSON has "train" and "valid"), or every
    `corpora.HELD_BACK`-th dialogue.

    Args:
        data: a file of dialogues, or a folder of them.
        valid: a file of dialogues; None = see above.

    Raises:
        InputError: there is nothing at one of the paths, or a file is not what its format says.
    """
    for path in (data, valid):
        if path is not None and not path.exists():
            raise InputError(f"{path}: expected a file of dialogues, found nothing.")
    if data.is_file() and valid is None and data.name.removesuffix(".gz").endswith(".json"):
        try:
            return read_transfertransfo(data, "train"), read_transfertransfo(data, "valid")
        except UnknownNameError:  # one list without splits
            pass
    read = {"data": read_dialogues(data)} if data.is_file() else corpora.read_raw(data)
    if valid is not None:
        return [d for dialogues in read.values() for d in dialogues], read_dialogues(valid)
    train, held_out = corpora.kept_apart(read)
    return [d for found in train.values() for d in found], [d for found in held_out.values() for d in found]


def base_model(plan: Plan, dialogues: Sequence[Dialogue], folder: Path, keep: bool, team: Team) -> LanguageModel:
    """The model a run starts from.

    Args:
        plan: names it.
        dialogues: what a vocabulary is learnt from where there is no base.
        folder: of that vocabulary.
        keep: take the vocabulary that is there, as a resumed run must.
        team: the first process learns it, the others wait.
    """
    if plan.base != SCRATCH:
        model = load(plan.base, plan.device, plan.layout)
    else:
        recipe, layout = plan.recipe, plan.layout or "inline"
        if not team.rank and not (keep and (folder / "tokenizer.json").is_file()):
            with replaced(folder) as scratch:
                texts = corpora.texts({"train": [corpora.spelled(d) for d in dialogues]})
                BPETokenizer.learn(texts, recipe.vocabulary, layout).save(scratch)
        team.wait()
        tokenizer = BPETokenizer.load(folder, lower=True, layout=layout)
        shape = GPT2Shape(len(tokenizer), recipe.n_positions, recipe.n_embd, recipe.n_layer, recipe.n_head)
        model = LanguageModel.fresh(SCRATCH, shape, tokenizer, layout, plan.seed)
        model.network.to(plan.device)
    model.max_history = plan.max_history
    return model


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan in JSON's own types."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(plan)))
    return values


Report = Callable[[str, Progress, int], None]
"""called after every step with the stage, where it is, and how many steps it has"""


class Run:
    """Where the stages of one run keep their checkpoints and write their log."""

    def __init__(self, plan: Plan, out: Path, resume: bool, minutes: float, report: Report, team: Team) -> None:
        """Opens the folder.

        Args:
            plan: what is run.
            out: its folder.
            resume: go on with the run that is in it.
            minutes: time between checkpoints.
            report: see `Report`.
            team: the processes that train together.

        Raises:
            InputError: `out` holds a run and `resume` was not asked for, or a run of another plan.
        """
        self.plan, self.out, self.resume, self.minutes, self.report, self.team = plan, out, resume, minutes, report, team
        self.last: dict[str, dict[str, Any]] = {}
        self._plan_file = out / "plan.json"
        if not self._plan_file.is_file():
            return
        if not resume:
            raise InputError(f"{out} holds a run already: pass --resume to go on with it, or choose another --out.")
        kept, now = json.loads(self._plan_file.read_text("utf-8")), as_json(plan)
        for name in now:
            if kept.get(name) != now[name]:
                raise InputError(f"{out} holds a run with another `{name}`: {kept.get(name)!r}, not {now[name]!r}.")

    def train(self, name: str, make: Callable[[Path], Trainer[Any]]) -> None:
        """Runs a stage to its end, from its last checkpoint if there is one.

        Args:
            name: of the stage.
            make: makes the trainer, given the folder of its checkpoints.
        """
        trainer = make(self.out / "checkpoints" / name)
        log = self.out / "log.jsonl"
        self.team.wait()  # everybody has looked for another run's plan
        if not self.team.rank:
            self.out.mkdir(parents=True, exist_ok=True)
            self._plan_file.write_text(json.dumps(as_json(self.plan), indent=2) + "\n", "utf-8")
        if self.resume:
            trainer.resume()
            if not self.team.rank:
                cut_log(log, trainer.step, name)
        first: dict[str, float] = {}
        with self._board(name) as board:
            for progress in trainer.run(checkpoint_minutes=self.minutes):
                first = first or progress.terms
                if progress.step % LOG_EVERY == 0 or progress.step in (1, trainer.config.steps):
                    record = {"stage": name, **progress._asdict()}
                    if not self.team.rank:
                        write_log(log, record)
                        for key, value in {"loss": progress.loss, **progress.terms}.items():
                            board.add_scalar(f"{name}/{key}", value, progress.step)
                    self.last[name] = {
                        "steps": progress.step,
                        "first": first,
                        "last": progress.terms,
                        "tokens": progress.tokens,
                    }
                self.report(name, progress, trainer.config.steps)
        self.last.setdefault(name, {"steps": trainer.step, "tokens": trainer.tokens})

    @contextmanager
    def _board(self, name: str) -> Iterator[Any]:
        if self.team.rank:
            yield None
            return
        from torch.utils.tensorboard import SummaryWriter

        board: Any = SummaryWriter(str(self.out / "board"))
        try:
            yield board
        finally:
            board.close()


def train(
    plan: Plan,
    data: Path,
    out: Path,
    valid: Path | None = None,
    resume: bool = False,
    checkpoint_minutes: float = 5.0,
    score_before: bool = False,
    report: Report = lambda stage, progress, steps: None,
    team: Team = ALONE,
    progress: bool = False,
) -> dict[str, Any]:
    """Runs a regime.

    Args:
        plan: what is run.
        data: a file or folder of dialogues.
        out: gets checkpoints, logs and, at the end, `model/`.
        valid: a file of held-out dialogues; None = see `read_parts`.
        resume: go on with the run that is in `out`.
        checkpoint_minutes: time between checkpoints.
        score_before: also score the base, on the same dialogues.
        report: see `Report`.
        team: the processes that train together.
        progress: show bars while scoring.

    Returns:
        What each stage came to, and scores on held-out dialogues.
    """
    from convogym.experiments import regimes

    if plan.regime == "p2bot" and team.size > 1:
        raise InputError("self-play runs in one process; start `convogym train --regime p2bot` without accelerate.")
    train_part, held_out = read_parts(data, valid)
    run = Run(plan, out, resume, checkpoint_minutes, report, team)
    model = base_model(plan, train_part, out / "tokenizer", resume, team)
    scored = scored_dialogues(held_out, plan.evaluated)
    result: dict[str, Any] = {"regime": plan.regime, "base": plan.base, "out": str(out), "seed": plan.seed}
    if score_before and scored:
        result["before"] = _scores(model, scored, plan.seed, progress)
    result |= {"train_dialogues": len(train_part), **regimes.STAGES[plan.regime](run, model, train_part, held_out)}
    model.network.to("cpu").eval()
    if not team.rank:
        model.save(out / "model", extra={"trained_by": as_json(plan)})
    result["stages"] = run.last
    if scored and not team.rank:
        result["scores"] = _scores(model, scored, plan.seed, progress)
    return result


def scored_dialogues(dialogues: Sequence[Dialogue], most: int) -> list[Dialogue]:
    """The first dialogues with a reply, each up to its last one."""
    found = [d for d in dialogues if d.turns[0].reply is not None][:most]
    return [dataclasses.replace(d, turns=tuple(turn for turn in d.turns if turn.reply is not None)) for d in found]


def _scores(model: LanguageModel, dialogues: Sequence[Dialogue], seed: int, progress: bool) -> dict[str, Any]:
    """Perplexity, F1 and Hits@1; without the last where there are too few different replies to choose from."""
    replies = {turn.reply for d in dialogues for turn in d.turns}
    found = convai2_scores(
        model, dialogues, decoding_of("greedy", 2, model.sampling), "greedy", seed, len(replies) > 20, progress
    )
    kept = ("n", "ppl_word", "ppl_token", "f1", "f1_interval", "hits_at_1", "hits_at_1_interval")
    return {"dialogues": len(dialogues), **{name: found[name] for name in kept if name in found}}


def steps_of(lengths: Sequence[int], plan: Plan) -> int:
    """How many optimiser steps the plan's epochs over examples of such lengths make."""
    from convogym.agents.training import batches

    groups = len(batches(lengths, plan.batch_tokens, np.random.default_rng([plan.seed, 0]))) if lengths else 0
    return max(1, round(plan.epochs * groups / plan.accumulate))

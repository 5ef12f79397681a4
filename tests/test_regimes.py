"""The training regimes from command to model folder: what they write, that they can be cut anywhere, and what they refuse."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import tiny_model, tiny_tokenizer

from convogym import grammar
from convogym.agents.double_heads import DoubleHeads
from convogym.agents.loading import load
from convogym.dialogue import Dialogue, Persona
from convogym.errors import InputError, UnknownNameError
from convogym.experiments.pretrain import RECIPE
from convogym.experiments.regimes import both_seats, both_views, with_distractors
from convogym.experiments.train import Plan, read_parts, train
from convogym.readers import write_dialogues
from convogym.transfertransfo import Question, questions_of

PARTNERS = [Persona((f"i live in town {i}.", f"i like to {verb}.")) for i, verb in enumerate(("sing", "run", "cook"))]
QUICK: dict[str, Any] = {"epochs": 0.5, "lr": 1e-3, "batch_tokens": 1500, "evaluated": 2}


def talks(count: int, turns: int = 3) -> list[Dialogue]:
    rng = np.random.default_rng(0)
    made = [grammar.dialogue(rng, "train", turns) for _ in range(count)]
    return [dataclasses.replace(d, partner_persona=PARTNERS[i % 3]) for i, d in enumerate(made)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "talks.jsonl"
    write_dialogues(path, talks(16))
    return path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny_model().save(folder)
    return str(folder)


def weights(out: Path) -> list[torch.Tensor]:
    return list(load(out / "model").network.state_dict().values())


def log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


class Cut(Exception):
    """Ends a run in its middle, as a kill would."""


def cut_at(stage: str, step: int) -> Any:
    def report(name: str, progress: Any, steps: int) -> None:
        if (name, progress.step) == (stage, step):
            raise Cut

    return report


def test_transfertransfo_gives_a_model_with_two_heads_and_scores(data: Path, base: str, tmp_path: Path) -> None:
    plan = Plan("transfertransfo", base, **QUICK, candidates=3, permutations=2, lm_coef=2.0, max_history=1)
    done = train(plan, data, tmp_path / "run", score_before=True)
    assert done["questions"] == 15 * 3 * 2 and done["questions_too_long"] == 0
    model = load(tmp_path / "run" / "model")
    assert isinstance(model.network, DoubleHeads) and (model.layout, model.max_history) == ("transfertransfo", 1)
    assert 1 < done["scores"]["ppl_token"] < done["before"]["ppl_token"]
    first = log(tmp_path / "run")[0]
    assert first["stage"] == "double-heads" and set(first["terms"]) == {"lm_loss", "mc_loss"}
    assert first["loss"] == pytest.approx(2 * first["terms"]["lm_loss"] + first["terms"]["mc_loss"])
    assert first["terms"]["mc_loss"] == pytest.approx(np.log(3), rel=0.2)  # a new head knows nothing


def test_personagpt_logs_both_losses_under_their_names(data: Path, base: str, tmp_path: Path) -> None:
    done = train(Plan("personagpt", base, **QUICK), data, tmp_path / "run")
    assert list(done["stages"]) == ["persona", "control"]
    stages = {entry["stage"]: set(entry["terms"]) for entry in log(tmp_path / "run")}
    assert stages == {"persona": {"loss"}, "control": {"ctrl_loss", "persona_loss"}}
    assert load(tmp_path / "run" / "model").layout == "inline"


def test_p2bot_trains_transmitter_receiver_and_self_play_and_resumes_in_it(data: Path, base: str, tmp_path: Path) -> None:
    """Cut within self-play, whose examples depend on the weights: the resumed run ends where the whole one does."""
    plan = Plan("p2bot", base, **{**QUICK, "epochs": 0.2}, receiver_steps=2, episodes=4, self_play_lr=1e-3)
    done = train(plan, data, tmp_path / "whole")
    assert list(done["stages"]) == ["transmitter", "receiver", "self-play"]
    assert set(done["rewards_last_tenth"]) == {"coherence", "persona", "language", "repetition", "total"}
    with pytest.raises(Cut):
        train(plan, data, tmp_path / "cut", checkpoint_minutes=0, report=cut_at("self-play", 2))
    again = train(plan, data, tmp_path / "cut", resume=True)
    assert all(torch.equal(a, b) for a, b in zip(weights(tmp_path / "whole"), weights(tmp_path / "cut"), strict=True))
    assert again["scores"] == done["scores"]


def test_from_scratch_a_vocabulary_is_learnt_and_kept(data: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, vocabulary=420, n_embd=16, n_layer=1, n_head=2)
    plan = Plan("transfertransfo", "scratch", **QUICK, recipe=recipe)
    with pytest.raises(Cut):
        train(plan, data, tmp_path / "run", checkpoint_minutes=0, report=cut_at("double-heads", 1))
    kept = (tmp_path / "run" / "tokenizer" / "tokenizer.json").read_bytes()
    with pytest.raises(InputError, match="--resume"):
        train(plan, data, tmp_path / "run")
    with pytest.raises(InputError, match="another `seed`: 0, not 1"):
        train(dataclasses.replace(plan, seed=1), data, tmp_path / "run", resume=True)
    train(plan, data, tmp_path / "run", resume=True)
    train(plan, data, tmp_path / "whole")
    assert (tmp_path / "run" / "tokenizer" / "tokenizer.json").read_bytes() == kept
    assert len(load(tmp_path / "run" / "model").tokenizer) == 420
    assert all(torch.equal(a, b) for a, b in zip(weights(tmp_path / "run"), weights(tmp_path / "whole"), strict=True))


def test_a_short_context_leaves_out_what_does_not_fit_and_says_how_much(data: Path, tmp_path: Path) -> None:
    needed = []  # for persona, last line and true reply, with the four tokens around them
    for question in (question for talk in talks(16) for question in questions_of(talk)):
        texts = (*question.facts, question.history[-1], question.candidates[-1])
        needed.append(4 + sum(len(tiny_tokenizer().encode(text)) for text in texts))
    tiny_model(n_positions=int(np.median(needed))).save(tmp_path / "short")
    done = train(Plan("transfertransfo", str(tmp_path / "short"), **QUICK), data, tmp_path / "run")
    assert 0 < done["questions_too_long"] < done["questions"]
    tiny_model(n_positions=8).save(tmp_path / "shorter")
    with pytest.raises(InputError, match="no example that fits the model's context"):
        train(Plan("transfertransfo", str(tmp_path / "shorter"), **QUICK), data, tmp_path / "none")


def test_a_broken_line_is_named(tmp_path: Path, base: str) -> None:
    path = tmp_path / "broken.jsonl"
    write_dialogues(path, talks(2))
    path.write_text(path.read_text() + '{"turns": [', "utf-8")
    with pytest.raises(InputError, match=r"broken\.jsonl:3"):
        train(Plan("transfertransfo", base), path, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"candidates": 1}, "candidates"),
        ({"permutations": 0}, "permutations"),
        ({"lr": float("nan")}, "lr"),
        ({"epochs": 0.0}, "epochs"),
        ({"max_history": -1}, "max_history"),
    ],
)
def test_a_plan_out_of_range_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Plan("transfertransfo", "scratch", **changes)


@pytest.mark.parametrize("has", [True, False])
def test_bfloat16_needs_the_hardware(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr("convogym.experiments.train.has_bfloat16", lambda device: has)
    if has:
        assert Plan("transfertransfo", "scratch", bf16=True).bf16
    else:
        with pytest.raises(InputError, match="leave it out"):
            Plan("transfertransfo", "scratch", bf16=True)


def test_an_unknown_regime_gets_a_hint() -> None:
    with pytest.raises(UnknownNameError, match="'transfertransfo'"):
        Plan("transfertranfo", "scratch")


def test_self_play_without_both_personas_is_refused(tmp_path: Path, base: str) -> None:
    path = tmp_path / "one.jsonl"
    write_dialogues(path, [dataclasses.replace(d, partner_persona=None) for d in talks(3)])
    with pytest.raises(InputError, match="both speakers' personas"):
        train(Plan("p2bot", base), path, tmp_path / "run")


def test_a_files_own_split_is_held_out(tmp_path: Path) -> None:
    def record(fact: str) -> dict[str, Any]:
        return {"personality": [fact], "utterances": [{"history": ["hi"], "candidates": ["no", "hello"]}]}

    path = tmp_path / "tt.json"
    path.write_text(json.dumps({"train": [record("i sing.")] * 3, "valid": [record("i run.")]}))
    train_part, held_out = read_parts(path, None)
    assert (len(train_part), len(held_out)) == (3, 1)
    assert train_part[0].turns[0].candidates == ("no", "hello")
    path.write_text(json.dumps([record("i sing.")] * 3))
    assert [len(part) for part in read_parts(path, None)] == [2, 1]


def test_distractors_are_the_corpus_s_own_and_then_random_ones() -> None:
    asked = [Question((), ("hi",), ("a", "b", "true")), Question((), ("hi",), ("other",))]
    made = with_distractors(asked, 2, np.random.default_rng(0))
    assert made[0].candidates == ("b", "true") and made[1].candidates == ("true", "other")
    with pytest.raises(InputError, match="as many different replies"):
        with_distractors(asked, 4, np.random.default_rng(0))


def test_both_speakers_are_read_with_their_own_persona() -> None:
    (talk,) = talks(1)
    model = tiny_model()
    replies, lines = both_views(model, talk)
    assert sum(replies.learnt) + sum(lines.learnt) == sum(len(model.tokenizer.encode(t)) + 1 for t in talk.utterances)
    assert talk.persona is not None and talk.partner_persona is not None
    assert {q.facts for q in both_seats(talk)} == {talk.persona.facts, talk.partner_persona.facts}
    assert sorted(q.candidates[-1] for q in both_seats(talk)) == sorted(talk.utterances[1:])


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(data: Path, base: str, tmp_path: Path) -> None:
    """`accelerate launch` on two processors, gloo between them; the batches of a step are dealt to the two."""
    words = ["train", "--regime", "transfertransfo", "--base", base, "--data", data, "--lr", "1e-3", "--batch-tokens", "800"]
    words += ["--epochs", "1", "--evaluated", "0", "--json", "--out"]
    module = ["-m", "convogym.experiments.cli", *map(str, words)]
    launch = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1"]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    for name, start in (("one", module), ("two", [*launch, *module])):
        ran = subprocess.run(
            [sys.executable, *start, str(tmp_path / name)], capture_output=True, text=True, timeout=300, check=False
        )
        assert ran.returncode == 0, ran.stderr
        assert len(ran.stdout.splitlines()) == 1 and json.loads(ran.stdout)["regime"] == "transfertransfo"
    one, two = (log(tmp_path / name) for name in ("one", "two"))
    assert [entry["step"] for entry in one] == [entry["step"] for entry in two] and one[-1]["step"] > 3
    for a, b in zip(one, two, strict=True):
        assert a["terms"] == pytest.approx(b["terms"], abs=1e-4)
    for mine, theirs in zip(weights(tmp_path / "one"), weights(tmp_path / "two"), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-3)


@pytest.mark.slow
def test_a_killed_pretraining_resumes_to_the_weights_of_a_whole_one(data: Path, tmp_path: Path) -> None:
    """kill -9 in the middle, then --resume: the very weights of a run that was left alone."""
    code = f"""
        import dataclasses, sys
        from pathlib import Path
        from convogym.experiments.pretrain import RECIPE, pretrain
        tiny = dataclasses.replace(
            RECIPE, vocabulary=500, n_embd=16, n_layer=4, n_head=4, epoch=0.02,
            fact_steps=3, talk_steps=4, answer_steps=2, more_answer_steps=2, line_steps=1, name_steps=1,
            more_name_steps=1, more_steps=1, own_steps=1, own_again_steps=1, last_steps=1, settling_steps=1,
            near_steps=1, told_steps=1, oblique_steps=1, oblique_told_steps=1, own_draws=(2, 2, 2, 2, 2), own_talks=0.002,
        )
        out, resume = Path(sys.argv[1]), len(sys.argv) > 2
        def told(phase, progress, watch):
            print(progress.step, flush=True)
        pretrain(Path({str(data.parent)!r}), out, tiny, 3, resume, checkpoint_minutes=0, report=told)
    """

    def command(*arguments: str) -> list[str]:
        return [sys.executable, "-c", textwrap.dedent(code), *arguments]

    subprocess.run(command(str(tmp_path / "whole")), check=True, capture_output=True, timeout=900)
    with subprocess.Popen(command(str(tmp_path / "cut")), stdout=subprocess.PIPE, text=True) as going:
        assert going.stdout is not None
        for line in going.stdout:
            if int(line) >= 5:
                os.kill(going.pid, signal.SIGKILL)
                break
    assert going.returncode == -signal.SIGKILL
    assert not (tmp_path / "cut" / "model").exists()
    subprocess.run(command(str(tmp_path / "cut"), "resume"), check=True, capture_output=True, timeout=900)
    assert all(torch.equal(a, b) for a, b in zip(weights(tmp_path / "whole"), weights(tmp_path / "cut"), strict=True))


def test_a_full_disk_stops_training_and_keeps_the_checkpoint(data: Path, base: str, tmp_path: Path) -> None:
    """A file may not grow beyond what the log needs: the second checkpoint cannot be written, the first one stays."""
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept: dict[str, bytes] = {}
    path = tmp_path / "run" / "checkpoints" / "double-heads" / "checkpoint.pt"

    def report(name: str, progress: Any, steps: int) -> None:
        if progress.step == 1:
            kept["checkpoint"] = path.read_bytes()
            resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))

    try:
        with pytest.raises(OSError, match=r"checkpoint|File too large"):
            train(Plan("transfertransfo", base, **QUICK), data, tmp_path / "run", checkpoint_minutes=0, report=report)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == kept["checkpoint"]
    assert [file.name for file in path.parent.iterdir()] == ["checkpoint.pt"]
    done = train(Plan("transfertransfo", base, **QUICK), data, tmp_path / "run", resume=True)
    assert done["stages"]["double-heads"]["steps"] > 1

"""The benchmark: what it gives, in which order it measures, what it refuses, and that no run profits from another."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import count_tokens, tiny_model
from typer.testing import CliRunner

from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.errors import InputError
from convogym.experiments import benchmark as benchmarking
from convogym.experiments import decode_steps
from convogym.experiments.benchmark import ForgetfulSpeaker, Plan, benchmark, parse_sizes
from convogym.experiments.cli import app
from convogym.experiments.scripted_talks import Script, Talked, converse, play
from convogym.speakers import Request

PLAN = Plan(sizes=(1, 3), turns=2, repeats=2, least=2, batch=2, early=(1, 1), late=(2, 3))


def brief_model() -> LanguageModel:
    """A tiny random model that likes to end its utterances."""
    model = tiny_model()
    transformer = model.network.transformer
    with torch.no_grad():
        transformer.ln_f.bias.add_(4 * transformer.wte.weight[model.tokenizer.eos])
    return model


@functools.cache
def measured() -> tuple[dict[str, Any], int, list[tuple[str, int]]]:
    """The result, the sum of the ticks, and which runs were made of how many dialogues, in order."""
    order: list[tuple[str, int]] = []
    ticks: list[int] = []

    def watched_play(env: Any, *rest: Any) -> tuple[Talked, Script]:
        order.append(("environment", env.num_envs))
        return play(env, *rest)

    def watched_converse(script: Script, exchange: Any, *rest: Any) -> Talked:
        speaker = getattr(exchange, "__self__", None)
        name = f"ours {speaker.model.layout}" if isinstance(speaker, ForgetfulSpeaker) else "other"
        order.append((name, len(script.lines[0])))
        return converse(script, exchange, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmarking, "play", watched_play)
        patch.setattr(benchmarking, "converse", watched_converse)
        found = benchmark(brief_model(), PLAN, reward="repetition", sampling=Sampling(max_tokens=8), tick=ticks.append)
    return found, sum(ticks), order


def test_everything_promised_is_there() -> None:
    found, _, _ = measured()
    for layout in ("inline", "personagpt"):
        for table in ("engine", "ratio_to_reference", "ratio_to_generate"):
            assert list(found[table][layout]) == ["1", "3"]
            assert min(found[table][layout].values()) > 0
    assert list(found["environment"]) == ["inline"]
    assert list(found["environment"]["inline"]) == list(found["environment_overhead"]) == list(found["floor_fraction"])
    assert found["reference_turns_per_s"] > 0 and found["generate_turns_per_s"] > 0 and found["late_turn_ratio"] > 0
    assert found["late_turns"] == [[1, 1], [2, 3]] and len(found["long_turn_seconds"]) == 3
    assert found["peak_memory_mb"] >= found["peak_memory_environment_mb"] >= found["peak_memory_start_mb"] > 10
    assert found["cache_bytes"] > 0
    assert found["weights_bytes"] == 4 * found["parameters"]
    assert found["machine"]["cores"] >= 1
    json.dumps(found, allow_nan=False)


def test_every_system_has_its_medians_and_repetitions() -> None:
    found, _, _ = measured()
    dialogues = {
        "environment.inline.1": 1, "environment.inline.3": 3, "engine.inline.1": 1, "engine.inline.3": 3,
        "engine.personagpt.1": 1, "engine.personagpt.3": 3, "reference": 1, "generate": 2, "long": 2,
    }  # fmt: skip
    assert {system: run["side_by_side"] for system, run in found["measured"].items()} == dialogues
    for run in found["measured"].values():
        assert len(run["repetitions"]) == PLAN.repeats
        assert min(run["repetitions"]) <= run["turns_per_s"] <= max(run["repetitions"])
        assert 2 <= run["tokens_per_turn"] <= 16
        assert run["tokens_per_s"] > run["turns_per_s"]


def test_what_is_derived_follows_from_what_was_measured() -> None:
    found, _, _ = measured()
    engine, environment = found["engine"]["inline"], found["environment"]["inline"]
    for size in ("1", "3"):
        assert found["environment_overhead"][size] == pytest.approx(1 - environment[size] / engine[size], abs=1e-3)
        assert found["ratio_to_reference"]["inline"][size] == pytest.approx(
            engine[size] / found["reference_turns_per_s"], 1e-3
        )
        assert found["ratio_to_generate"]["inline"][size] == pytest.approx(engine[size] / found["generate_turns_per_s"], 1e-3)
        assert found["floor_fraction"][size] > 0 < found["byte_floor_fraction"][size] < 1
        assert 0 < found["memory_floor_fraction"][size] < 1
    assert list(found["matrix_gflops"]) == ["1", "3", "1024"] and found["memory_gb_per_s"] > 0.1


def test_shares_of_the_environment_are_parts_of_its_time() -> None:
    found, _, _ = measured()
    for share in found["environment_share"].values():
        assert share["speaking"] > 0 and share["reading"] == 0 and share["rest"] > 0  # "repetition" needs no judge
        assert sum(share.values()) == pytest.approx(1, abs=1e-4)


def test_a_judge_takes_its_share() -> None:
    found = benchmark(
        brief_model(), replace(PLAN, sizes=(2,), repeats=1), reward="identification", sampling=Sampling(max_tokens=8)
    )
    assert found["environment_share"]["2"]["reading"] > 0.05


def test_late_turns_are_means_over_their_span() -> None:
    seconds = (9.0, 1.0, 3.0, 5.0)
    assert benchmarking._mean_turn(seconds, (2, 4)) == 3.0 and benchmarking._mean_turn(seconds, (1, 1)) == 9.0


def test_environment_and_engine_say_the_same() -> None:
    """So the difference of their speeds is the environment's own work."""
    measured_tokens = {system: run["tokens_per_turn"] for system, run in measured()[0]["measured"].items()}
    for size in (1, 3):
        assert measured_tokens[f"environment.inline.{size}"] == measured_tokens[f"engine.inline.{size}"]


def test_repetitions_are_interleaved() -> None:
    _, _, order = measured()
    once = [
        *(("environment", size) for size in (1, 1, 3)),
        *((f"ours {layout}", size) for layout in ("personagpt", "inline") for size in (1, 1, 3)),
        *(("other", size) for size in (1, 1, 2)),
        ("ours inline", 2),
    ]
    assert order[-2 * len(once) :] == once * 2


def test_small_numbers_talk_one_after_another() -> None:
    plan = Plan(sizes=(1, 3, 16), least=8)
    assert plan.rounds(1) == [(i, i + 1) for i in range(8)]
    assert plan.rounds(3) == [(0, 3), (3, 6)]
    assert plan.rounds(16) == [(0, 16)]
    assert Plan(sizes=(1, 2), least=8).rounds(1) == [(0, 1), (1, 2)]  # nobody else is in the script


def test_ticks_add_up_to_what_was_planned() -> None:
    assert measured()[1] == PLAN.all_turns


def test_a_speaker_that_forgot_computes_everything_again(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = count_tokens(monkeypatch)
    speaker = ForgetfulSpeaker(brief_model(), Sampling(max_tokens=8))
    request = Request(0, ("i have two dogs.",), ("hello there.",), (), np.random.default_rng(0).random(8))

    def work() -> int:
        computed.clear()
        speaker.speak([request])
        return sum(computed)

    first, known = work(), work()
    speaker.forget()
    assert work() == first > known


@pytest.mark.parametrize(
    "wrong",
    [
        {"turns": 0},
        {"repeats": 0},
        {"sizes": ()},
        {"sizes": (1, 1)},
        {"sizes": (0,)},
        {"batch": 0},
        {"least": 0},
        {"early": (3, 2)},
        {"late": (4, 9)},
    ],
)
def test_a_plan_that_measures_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="at least 1"):
        Plan(**wrong)


def test_sizes_are_read() -> None:
    assert parse_sizes("1,16, 64") == (1, 16, 64)


@pytest.mark.parametrize("text", ["", "0", "1,", "a", "1,1", "-4", "1;2", "1" * 5000])
def test_other_sizes_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="num_envs"):
        parse_sizes(text)


def test_the_command_writes_numbers_and_chart(tmp_path: Path) -> None:
    brief_model().save(tmp_path / "model")
    words = ["benchmark", "--quick", "--num-envs", "1,2", "--reward", "repetition", "--json"]
    result = CliRunner().invoke(app, [*words, "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found["engine"]["personagpt"]) == ["1", "2"]
    assert (found["turns"], found["repeats"]) == (2, 1)
    assert json.loads((tmp_path / "out" / "benchmark.json").read_text("utf-8")) == found
    assert (tmp_path / "out" / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["benchmark.json", "benchmark.png"]


@pytest.mark.parametrize(("words", "told"), [(["--device", "gpu"], "`device`"), (["--shape", "gpt5"], "gpt2-medium")])
def test_devices_and_shapes_that_are_not_there_are_refused(words: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["benchmark", "--quick", *words])
    assert result.exit_code == 2 and told in result.stderr


def test_decode_steps_are_timed_by_every_way_and_what_lacks_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_compiler(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C++ compiler\nwas found")

    monkeypatch.setattr(torch, "compile", no_compiler)  # compiling takes a minute
    brief_model().save(tmp_path / "model")
    words = ["benchmark", "--alternatives", "--num-envs", "1,3", "--model", str(tmp_path / "model")]
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found["step_us"]) == ["kernels", "torch", "torch.compile", "torch int8"]
    assert found["step_us"]["torch.compile"] == {"1": None, "3": None}
    assert found["missing"] == {"torch.compile": "RuntimeError: no C++ compiler was found"}
    for way in ("kernels", "torch", "torch int8"):
        assert all(0 < found["step_us"][way][size] < 1e6 for size in ("1", "3"))
    table = CliRunner().invoke(app, words)
    assert "torch int8" in table.stdout and "no C++ compiler" in table.stdout
    refused = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert refused.exit_code == 2 and "--out" in refused.stderr


def test_the_8_bit_copy_says_nearly_what_the_network_says() -> None:
    network = tiny_model().network
    copied = decode_steps._in_int8(network)
    ids = torch.randint(0, 390, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact, rounded = (each.logits(each.hidden(ids)) for each in (network, copied))
    away = float((exact - rounded).abs().max() / exact.abs().max())
    assert 0 < away < 0.2 and torch.equal(network.logits(network.hidden(ids)), exact)  # the network itself is as before


def test_only_plain_models_with_room_have_their_steps_compared() -> None:
    with pytest.raises(InputError, match="reads 64"):
        decode_steps.decode_steps(tiny_model(n_positions=64))
    halved = tiny_model()
    halved.network.bfloat16()
    with pytest.raises(InputError, match="float32"):
        decode_steps.decode_steps(halved)

"""The program as its users meet it: commands, help, JSON, errors in one line, exit codes."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from fakes import env_kwargs
from tiny import tiny_model
from typer.core import TyperGroup
from typer.testing import CliRunner

from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments.cli import app
from convogym.experiments.console import Console, Stopped, as_json_value, check_out, told
from convogym.experiments.train_policy import learn
from convogym.store import EpisodeStore

SMALL = ("--num-envs", "2", "--num-turns", "3", "--reward", "repetition")  # needs no reader


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny random model that likes to be brief."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny = tiny_model()
    network = tiny.network.transformer
    with torch.no_grad():
        network.ln_f.bias.add_(4 * network.wte.weight[tiny.tokenizer.eos])
    tiny.save(folder)
    return str(folder)


def run(*arguments: str | Path, stdin: str = "") -> Any:
    return CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)


def ok(*arguments: str | Path, stdin: str = "") -> dict[str, Any]:
    """The JSON object that a command prints, all of its standard output."""
    result = run(*arguments, "--json", stdin=stdin)
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert isinstance(found, dict)
    return found


def refused(*arguments: str | Path) -> str:
    """The one line that a command that cannot work says, with and without --json."""
    for more in ((), ("--json",)):
        result = run(*arguments, *more)
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert result.stderr.startswith("convogym: ") and result.stderr.count("\n") == 1, result.stderr
    return str(result.stderr)


def process(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convogym.experiments.cli", *map(str, arguments)]
    return subprocess.run(command, text=True, stderr=subprocess.PIPE, timeout=120, **options)


def commands(group: Any = None, before: Sequence[str] = ()) -> Mapping[tuple[str, ...], Any]:
    """Every command by the words that call it."""
    found: dict[tuple[str, ...], Any] = {}
    parent: Any = group or typer.main.get_command(app)
    for name, command in parent.commands.items():
        words = (*before, name)
        found |= commands(command, words) if isinstance(command, TyperGroup) else {words: command}
    return found


class TestHelp:
    @pytest.mark.parametrize("words", commands(), ids=" ".join)
    def test_every_command_has_seed_json_a_sentence_and_an_example_that_fits(self, words: tuple[str, ...]) -> None:
        command = commands()[words]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {"--seed", "--json"} <= options
        assert command.help
        assert command.epilog.startswith("Example: convogym " + " ".join(words))
        named = {word for word in command.epilog.split() if word.startswith("--")}
        assert named <= options
        assert run(*words, "--help").exit_code == 0

    def test_brackets_in_help_are_shown_as_they_stand(self) -> None:
        for words, text in (("serve", "convogym[web]"), ("evaluate goal-judge", "[codes]"), ("benchmark", "1,16,64,256")):
            assert text in run(*words.split(), "--help").output

    def test_the_commands_are_those_promised(self) -> None:
        assert {words[0] for words in commands()} == {
            "demo", "chat", "collect", "train-policy", "finetune", "evaluate", "pretrain", "train-reader", "benchmark",
            "teach", "serve",
            "search-order", "rescore", "replay", "diff", "clone-policy", "fit-reward", "fit-state", "learning-curves",
            "train", "benchmark-training", "benchmark-load",
        }  # fmt: skip

    def test_help_loads_no_heavy_library(self) -> None:
        code = """
            import sys
            from typer.testing import CliRunner
            from convogym.experiments.cli import app
            assert CliRunner().invoke(app, ["evaluate", "policy", "--help"]).exit_code == 0
            assert not {"torch", "stable_baselines3", "matplotlib", "transformers"} & set(sys.modules), "heavy"
        """
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)

    def test_a_misspelt_command_gets_a_hint(self) -> None:
        result = run("colect")
        assert result.exit_code == 2
        assert "collect" in result.output


class TestWrongInput:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ("chat --model persona-miny", "persona-mini"),
            ("chat --mode tlak", "'talk'"),
            ("chat --reward identificaton", "'identification'"),
            ("collect --policy randon --episodes 2 --store {tmp}/a.db", "'random'"),
            ("collect --policy random --episodes 2 --store {tmp}/a.db --model persona-mni", "'persona-mini'"),
            ("collect --policy random --episodes 2 --store {tmp}/a.db --reward rank", "'ranking'"),
            ("collect --policy random --episodes 2 --store {tmp}/a.db --personas held_out", "'held-out'"),
            ("collect --policy cycle:1,99 --episodes 2 --store {tmp}/a.db", "0..10"),
            ("collect --policy cycle:a --episodes 2 --store {tmp}/a.db", "cycle:3,1,2"),
            ("collect --policy human --episodes 2 --store {tmp}/a.db", "--mode steer"),
            ("collect --policy ./nowhere --episodes 2 --store {tmp}/a.db", "train-policy"),
            ("train-policy --algo pp --steps 9 --out {tmp}/p", "'ppo'"),
            ("evaluate policy --policy cycel", "'cycle'"),
            ("evaluate model --data {tmp}/nothing.txt", "nothing.txt"),
            ("evaluate persona --data {tmp}/nothing.jsonl", "nothing.jsonl"),
            ("evaluate persona --decoding gredy", "'greedy'"),
            ("evaluate goals --data {tmp}", "a folder"),
            ("evaluate goal-judge --data {tmp}/nothing.jsonl", "nothing.jsonl"),
            ("finetune --store {tmp}/no.db --out {tmp}/m", "convogym collect"),
            ("pretrain --data {tmp}/no --out {tmp}/m", "--data"),
            ("train-reader --base {tmp}/no --out {tmp}/m", "--base"),
            ("benchmark --num-envs 1,x", "num_envs"),
            ("evaluate seeds --batches 7", "batches"),
            ("evaluate seeds --batches 7,7", "batches"),
            ("benchmark --model no/../such", "no/../such"),
        ],
    )
    def test_it_is_told_in_one_line_before_anything_is_made(self, tmp_path: Path, arguments: str, says: str) -> None:
        assert says in refused(*arguments.format(tmp=tmp_path).split())
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("facts", [[""], ["a fact."] * 200, ["x" * 400]])
    def test_a_persona_that_is_none_is_refused(self, facts: list[str]) -> None:
        assert "persona" in refused("chat", *(word for fact in facts for word in ("--fact", fact)))

    @pytest.mark.parametrize(
        "option", [("--top-k", "0"), ("--top-p", "1.5"), ("--top-p", "nan"), ("--temperature", "0"), ("--max-tokens", "0")]
    )
    def test_sampling_out_of_range_is_refused(self, option: tuple[str, str]) -> None:
        assert option[0][2:].replace("-", "_") in refused("chat", *option)

    def test_a_number_out_of_range_is_a_usage_error(self, tmp_path: Path) -> None:
        result = run("collect", "--policy", "random", "--episodes", "0", "--store", tmp_path / "a.db")
        assert result.exit_code == 2
        assert "--episodes" in result.output

    def test_a_damaged_model_is_refused(self, tmp_path: Path, model: str) -> None:
        for name, content in (("config.json", b"{"), ("model.safetensors", b"\xff" * 100)):
            broken = tmp_path / name.partition(".")[0]
            broken.mkdir()
            for file in Path(model).iterdir():
                (broken / file.name).write_bytes(content if file.name == name else file.read_bytes())
            assert str(broken) in refused("benchmark", "--model", broken)

    def test_a_zip_is_not_opened_unless_trusted(self, tmp_path: Path, model: str) -> None:
        with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as archive:
            archive.writestr("data", "{}")
        arguments = ("evaluate", "policy", "--policy", tmp_path / "theirs.zip", "--episodes", "2", "--model", model, *SMALL)
        assert "--trust" in refused(*arguments)
        assert "cannot be loaded" in refused(*arguments, "--trust")

    def test_a_damaged_policy_is_refused(self, tmp_path: Path, model: str) -> None:
        folder = tmp_path / "policy"
        folder.mkdir()
        (folder / "policy.json").write_text("{", "utf-8")
        assert "damaged" in refused("evaluate", "policy", "--policy", folder, "--episodes", "2", "--model", model, *SMALL)

    def test_what_is_no_store_is_refused(self, tmp_path: Path, model: str) -> None:
        (tmp_path / "a.db").write_text("hello")
        arguments = (
            "collect",
            "--policy",
            "random",
            "--episodes",
            "2",
            "--store",
            tmp_path / "a.db",
            "--model",
            model,
            *SMALL,
        )
        assert "must be an episode store" in refused(*arguments)
        assert (tmp_path / "a.db").read_text() == "hello"


class TestPlacesThatCannotBeWritten:
    @pytest.mark.parametrize(
        "arguments",
        [
            "collect --policy random --episodes 2 --store {bad}/a.db --reward repetition",
            "train-policy --steps 9 --out {bad}/p",
            "train-policy --steps 9 --out {tmp}/p --tensorboard {bad}/t",
            "demo --out {bad}/demo",
            "chat --store {bad}/a.db --reward repetition",
        ],
    )
    @pytest.mark.parametrize("kind", ["below a file", "read-only"])
    def test_they_are_told_at_once(self, tmp_path: Path, model: str, arguments: str, kind: str) -> None:
        (tmp_path / "file").write_text("")
        bad = tmp_path / "file" if kind == "below a file" else Path("/proc/self")
        if not bad.exists():
            pytest.skip("this system has no /proc")
        words = arguments.format(bad=bad, tmp=tmp_path).split()
        if words[0] != "demo":
            words += ["--model", model]
        assert str(bad) in refused(*words)

    def test_a_disk_that_is_full_at_the_end_is_told(self, model: str) -> None:
        full = Path("/dev/full")
        if not full.exists():
            pytest.skip("this system has no /dev/full")
        with full.open("w") as out:
            arguments = ("benchmark", "--quick", "--num-envs", "1", "--turns", "1", "--repeats", "1", "--reward", "repetition")
            ran = process(*arguments, "--model", model, "--json", stdout=out)
        assert ran.returncode == 2
        assert ran.stderr == "convogym: No space left on device.\n"

    def test_a_store_that_cannot_grow_keeps_what_it_has(self, tmp_path: Path, model: str) -> None:
        resource = pytest.importorskip("resource")

        def limit() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

        path = tmp_path / "a.db"
        arguments = ("collect", "--policy", "random", "--episodes", "400", "--store", path, "--model", model, *SMALL)
        ran = process(*arguments, stdout=subprocess.PIPE, preexec_fn=limit)
        assert ran.returncode == 2, ran.stderr
        assert ran.stderr.startswith(f"convogym: {path}: ") and ran.stderr.count("\n") == 1
        assert ran.stdout == ""
        with EpisodeStore(path) as store:
            assert store.count() > 3
            assert all(
                [turn.turn for turn in episode.turns] == list(range(1, len(episode.turns) + 1)) for episode in store.episodes()
            )


class TestTheLoop:
    def test_collect_records_resumes_and_tells(self, tmp_path: Path, model: str) -> None:
        path = tmp_path / "new" / "a.db"
        words = ("collect", "--policy", "random", "--store", path, "--model", model, *SMALL)
        first = ok(*words, "--episodes", "3")
        assert (first["recorded"], first["turns"]) == (3, 9)
        assert "--resume" in refused(*words, "--episodes", "3")
        assert ok(*words, "--episodes", "5", "--resume")["recorded"] == 2
        with EpisodeStore(path) as store:
            episodes = list(store.episodes())
        assert len(episodes) == 5
        assert all(episode.finished and episode.responder == model for episode in episodes)
        spec = episodes[0].spec
        assert (spec["id"], spec["reward"], spec["num_turns"], spec["personas"]) == (
            "PersonaChat-v0",
            "repetition",
            3,
            "train",
        )
        assert "autoreset_mode" not in spec

    def test_a_run_with_other_settings_is_another_run(self, tmp_path: Path, model: str) -> None:
        words = ("collect", "--policy", "cycle", "--store", tmp_path / "a.db", "--episodes", "2", "--model", model)
        ok(*words, *SMALL)
        ok(*words, "--num-envs", "2", "--num-turns", "2", "--reward", "repetition")
        ok(*words, *SMALL, "--personas", "held-out")
        with EpisodeStore(tmp_path / "a.db") as store:
            assert store.count(finished=True) == 6

    def test_a_policy_is_learnt_evaluated_and_recorded_with(self, tmp_path: Path, model: str) -> None:
        out = tmp_path / "policies" / "mine"
        learnt = ok("train-policy", "--algo", "dqn", "--steps", "40", "--out", out, "--model", model, *SMALL)
        assert learnt["out"] == str(out) and learnt["steps"] == 40
        found = ok("evaluate", "policy", "--policy", out, "--episodes", "4", "--model", model, *SMALL)
        assert found["policy"].startswith("mine@") and (found["n"], found["seed"]) == (4, 0)
        assert found["mean_return_interval"][0] <= found["mean_return"] <= found["mean_return_interval"][1]
        assert len(found["turn_rewards"]) == 3
        assert 0 <= found["terms"]["repetition"] <= 3
        assert found["environment"]["personas"] == "held-out"
        assert ok("collect", "--policy", out, "--store", tmp_path / "a.db", "--episodes", "2", "--model", model, *SMALL)

    def test_policies_are_compared_on_the_same_episodes(self, model: str) -> None:
        words = ("evaluate", "policy", "--policy", "cycle", "--policy", "cycle:0,1,2,3", "--episodes", "3", "--model", model)
        found = ok(*words, *SMALL)
        assert list(found["policies"]) == ["cycle", "cycle:0,1,2,3"]
        assert found["differences"][0]["winner"] is None
        assert found["differences"][0]["mean"] == 0

    def test_a_policy_of_another_model_is_refused(self, tmp_path: Path, model: str) -> None:
        learn(PersonaChatVectorEnv(2, **env_kwargs()), "dqn", 20, tmp_path / "other", environment={})
        words = ("collect", "--policy", tmp_path / "other", "--episodes", "2", "--store", tmp_path / "a.db", "--model", model)
        assert "observations of 28 numbers" in refused(*words, *SMALL)

    def test_the_benchmark_gives_turns_per_second_by_layout_and_number(self, model: str) -> None:
        words = (
            "benchmark",
            "--quick",
            "--num-envs",
            "1,3",
            "--turns",
            "2",
            "--repeats",
            "1",
            "--reward",
            "repetition",
            "--model",
            model,
        )
        found = ok(*words)
        assert list(found["engine"]["inline"]) == ["1", "3"]
        assert min(found["engine"]["inline"].values()) > 0

    def test_transcripts_do_not_depend_on_the_batch(self, model: str) -> None:
        words = ("evaluate", "seeds", "--dialogues", "9", "--batches", "1,4,9", "--num-turns", "3", "--model", model)
        found = ok(*words)
        assert found["identical"] == {"4": 9, "9": 9} and found["differences"] == []

    def test_without_json_results_are_tables(self, model: str) -> None:
        result = run("evaluate", "policy", "--policy", "cycle", "--episodes", "2", "--model", model, *SMALL)
        assert result.exit_code == 0
        assert "mean_return" in result.stdout and "{" not in result.stdout
        assert result.stderr == ""

    def test_ctrl_c_says_what_is_kept_and_exits_with_130(self, tmp_path: Path, model: str) -> None:
        path = tmp_path / "a.db"
        arguments = ("collect", "--policy", "random", "--episodes", "5000", "--store", path, "--model", model, *SMALL)
        command = [sys.executable, "-m", "convogym.experiments.cli", *map(str, arguments)]

        def heed() -> None:
            signal.signal(
                signal.SIGINT, signal.SIG_DFL
            )  # a test run in the background ignores Ctrl-C, and so would its children

        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=heed) as going:
            until = time.monotonic() + 60
            while not (path.exists() and path.stat().st_size and _episodes(path) > 2) and time.monotonic() < until:
                time.sleep(0.05)
            going.send_signal(signal.SIGINT)
            out, error = going.communicate(timeout=60)
        assert going.returncode == 130, error
        assert out == ""
        assert error.startswith("convogym: stopped. ") and "--resume" in error and "of 5000 episodes" in error


def _episodes(path: Path) -> int:
    with EpisodeStore(path) as store:
        return store.count(finished=True)


class TestChat:
    def test_a_pipe_is_a_talk(self, tmp_path: Path, model: str) -> None:
        words = ("chat", "--model", model, "--fact", "i have two dogs.", "--store", tmp_path / "a.db")
        result = run(*words, stdin="hello\nnul\0byte\n<|act|>ask about pets.\n")
        assert result.exit_code == 0, result.output
        lines = result.stdout.splitlines()
        assert lines[0] == "persona: i have two dogs."
        assert [line[:3] for line in lines[1:]] == ["b: ", "a l", "b: "]
        assert "2 turns, then you left" in result.stderr
        with EpisodeStore(tmp_path / "a.db") as store:
            [episode] = store.episodes()
        assert [turn.line for turn in episode.turns] == ["hello", "<|act|>ask about pets."]
        assert episode.responder.endswith(", best of 8")

    def test_of_one_candidate_the_first_is_said_as_steered_talks_do(self, model: str) -> None:
        words = ("chat", "--model", model, "--turns", "3", "--temperature", "2", "--top-k", "300")
        first, best = (ok(*words, "--candidates", n, stdin="hello\nwhat now?\nand then?\n")["turns"] for n in ("1", "5"))
        assert first[0]["line"] == best[0]["line"] and first != best
        assert "--candidates is for --mode talk" in refused("chat", "--mode", "steer", "--candidates", "2")

    def test_json_keeps_the_conversation_off_standard_output(self, model: str) -> None:
        found = ok("chat", "--model", model, "--turns", "2", stdin="hello\nhow are you?\nmore\n")
        assert [turn["line"] for turn in found["turns"]] == ["hello", "how are you?"]
        assert (found["left"], found["store"], found["mode"]) == (False, None, "talk")
        assert found == ok("chat", "--model", model, "--turns", "2", stdin="hello\nhow are you?\nmore\n")

    def test_steering_over_a_pipe(self, tmp_path: Path, model: str) -> None:
        facts = tmp_path / "facts.txt"
        facts.write_text("i have two dogs.\ni am a nurse.\n")
        words = ("chat", "--mode", "steer", "--model", model, "--persona-file", facts, "--reward", "repetition")
        found = ok(*words, stdin="pets\nbanana\n8\n")
        assert [turn["goal"] for turn in found["turns"]] == ["ask about pets.", "talk about movies."]
        assert found["persona"] == ["i have two dogs.", "i am a nurse."]
        assert found["left"]

    def test_two_sources_of_a_persona_are_refused(self, tmp_path: Path) -> None:
        assert "--persona-file" in refused("chat", "--fact", "i am a nurse.", "--persona-file", tmp_path / "facts.txt")

    def test_a_real_process_survives_a_megabyte_and_the_end_of_input(self, tmp_path: Path, model: str) -> None:
        ran = process("chat", "--model", model, input="x" * 1_000_000 + "\nhello 🐕\n", stdout=subprocess.PIPE)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.count("\nb: ") == 1
        assert "at most 2000 characters" in ran.stdout


class TestConsole:
    def test_json_has_no_infinite_numbers(self, capsys: pytest.CaptureFixture[str]) -> None:
        Console(as_json=True).result({"a": float("nan"), "b": [float("inf"), 1.5], "c": Path("x/y"), "d": {1: (True, None)}})
        assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": "x/y", "d": {"1": [True, None]}}

    def test_arrays_become_lists(self) -> None:
        import numpy as np

        assert as_json_value({"a": np.arange(2), "b": np.float32(0.5), "c": np.bool_(True)}) == {
            "a": [0, 1],
            "b": 0.5,
            "c": True,
        }

    def test_tables_show_intervals_beside_their_values(self, capsys: pytest.CaptureFixture[str]) -> None:
        rows = [{"a": "ppo", "mean": 1.25, "mean_interval": [1.0, 1.5], "winner": None}]
        Console().result(
            {"n": 3, "share": 0.5, "share_interval": [0.25, 0.75], "differences": rows, "terms": {"x": 1.0}}, "title"
        )
        shown = capsys.readouterr().out
        assert "0.5  [0.25, 0.75]" in shown and "1.25  [1, 1.5]" in shown
        assert "_interval" not in shown
        assert shown.startswith("title")

    def test_markup_and_control_characters_in_values_are_shown_not_obeyed(self, capsys: pytest.CaptureFixture[str]) -> None:
        Console().result({"path": "[red]/tmp[/red]", "evil": "\x1b[2J"})
        shown = capsys.readouterr().out
        assert "[red]/tmp[/red]" in shown and "\x1b" not in shown

    @pytest.mark.parametrize(
        ("error", "code", "line"),
        [
            (InputError("a `thing` must be\nx"), 2, "convogym: a `thing` must be x\n"),
            (OSError(28, "No space left on device", "/x/y"), 2, "convogym: /x/y: No space left on device.\n"),
            (OSError("the weights could not be written"), 2, "convogym: the weights could not be written\n"),
            (Stopped("3 are kept."), 130, "convogym: stopped. 3 are kept.\n"),
            (KeyboardInterrupt(), 130, "convogym: stopped; nothing was kept.\n"),
            (BrokenPipeError(), 1, ""),
        ],
    )
    def test_errors_are_one_line_and_an_exit_code(
        self, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
    ) -> None:
        with pytest.raises(typer.Exit) as left, told():
            raise error
        assert left.value.exit_code == code
        captured = capsys.readouterr()
        assert (captured.err, captured.out) == (line, "")

    def test_a_bug_is_not_hidden(self) -> None:
        with pytest.raises(ZeroDivisionError), told():
            1 // 0  # noqa: B018  # raises

    def test_an_output_folder_is_made_and_left_empty(self, tmp_path: Path) -> None:
        assert list(check_out(tmp_path / "a" / "b").iterdir()) == []
        assert os.access(tmp_path / "a" / "b", os.W_OK)

"""Teaching a goal: which questions, whose judgement, what is learnt and kept; with tiny real models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from quick_teaching import make_quick
from tiny import tiny_model
from typer.testing import CliRunner

from convogym import steered_talk
from convogym.agents.finetuning import Pair
from convogym.agents.goal_head import _threshold, fit_goal_head
from convogym.agents.informative import most_informative
from convogym.agents.loading import load
from convogym.agents.model import LanguageModel
from convogym.agents.original_learning import learn_as_the_original
from convogym.agents.reader import Reader
from convogym.agents.reader_training import fresh_reader
from convogym.agents.sampling import Sampling
from convogym.agents.scoring import Context, said_lines
from convogym.errors import InputError
from convogym.experiments import evaluate_teaching, teach, teaching, teaching_table
from convogym.experiments.cli import app
from convogym.experiments.console import ignore_ticks
from convogym.experiments.corpora import spelled
from convogym.experiments.course import Asking
from convogym.experiments.taught_set import Lesson, TaughtSet
from convogym.goals import DEFAULT_GOALS
from convogym.speakers import Request

GOAL = "talk about sports."


@pytest.fixture(scope="module")
def reader() -> Reader:
    return fresh_reader(tiny_model(), 1, 0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
    make_quick(monkeypatch, reader)


def question(said: str, proposed: str) -> teaching.Question:
    return teaching.Question(Context((), ("hi.", said), (None,)), proposed)


QUESTIONS = [question(f"reply {number}", f"proposal {number}") for number in range(6)]


def answering(*answers: str | type[BaseException]) -> Callable[[str], str]:
    left = iter(answers)

    def read(prompt: str) -> str:
        answer = next(left, EOFError)
        if isinstance(answer, str):
            return answer
        raise answer

    return read


def asked(*answers: str | type[BaseException], count: int = 4, known: tuple[Lesson, ...] = ()) -> tuple[Any, Any, str]:
    kept: list[Lesson] = []
    shown: list[str] = []
    asking = Asking(QUESTIONS, count, GOAL, known, kept.append)
    teach.ask(asking, answering(*answers), shown.append)
    return asking.lessons, kept, "\n".join(shown)


class TestMostInformative:
    def test_the_unsure_come_first_and_those_like_them_later(self) -> None:
        features = [[1.0, 0.0], [1.0, 0.01], [0.0, 1.0], [1.0, 1.0]]
        assert most_informative([3.0, 2.9, 1.0, 0.1], features, 4) == [0, 2, 3, 1]

    def test_without_differences_in_place_only_the_unsure_count_and_ties_go_to_the_first(self) -> None:
        assert most_informative([1.0, 3.0, 2.0], np.eye(3), 3) == [1, 2, 0]
        assert most_informative([1.0, 1.0, 1.0], np.eye(3), 2) == [0, 1]

    def test_what_does_not_fit_is_refused(self) -> None:
        wrong: list[tuple[Any, Any, int]] = [([1.0], np.eye(2), 1), ([1.0, 2.0], np.eye(2), 3), ([1.0], [1.0], 1)]
        for uncertainty, features, count in wrong:
            with pytest.raises(InputError):
                most_informative(uncertainty, features, count)


class TestGoalHead:
    def test_it_learns_from_words_and_its_worth_is_told_on_other_lines(self, reader: Reader) -> None:
        sports = [("", f"do you {verb} {game}?") for verb in ("like", "play") for game in ("ball games", "ball", "the ball")]
        others = [("", f"do you {verb} {food}?") for verb in ("like", "eat") for food in ("soup", "red soup", "dogs", "cats")]
        head = fit_goal_head(reader, sports, others)
        assert (head.probabilities(sports) > 0.5).all() and (head.probabilities(others) < 0.5).all()
        quality = head.quality([("hello.", "do you watch ball games?")], [("hello.", "do you cook soup?")])
        assert (quality.recall, quality.false_alarms, quality.positives, quality.negatives) == (1.0, 0.0, 1, 1)
        assert head.quality([], []).recall is None
        assert head.probabilities([]).shape == (0,)

    def test_its_threshold_is_where_lines_left_out_are_told_apart_best_and_never_above_an_even_chance(self) -> None:
        follows = np.array([True] * 4 + [False] * 6)
        unsure = np.array([3.0, -1.0, -2.0, -8.0, -3.0, -4.0, -4.0, -5.0, -9.0, -9.0], np.float32)
        assert _threshold(unsure, follows) == -2.0  # knows 3 of 4, and takes none of the others for such
        assert _threshold(np.array([5.0, 4.0, 3.0, 2.0] + [-1.0] * 6, np.float32), follows) == 0.0
        assert _threshold(unsure[:4], follows[:4]) == _threshold(unsure[4:], follows[4:]) == 0.0

    def test_it_needs_lines_of_both_kinds(self, reader: Reader) -> None:
        with pytest.raises(InputError, match="1 and 0"):
            fit_goal_head(reader, [("", "a")], [])


class TestQuestions:
    def test_the_order_is_a_function_of_the_seed_and_of_its_name(self) -> None:
        model = tiny_model()
        contexts = [Context((), ("hi.", f"i like {what}."), (None,)) for what in ("soup", "dogs", "work", "rain", "music")]
        first = teaching.questions(model, GOAL, contexts, 5, 0)
        assert first == teaching.questions(model, GOAL, contexts, 5, 0)
        assert sorted(i for i, _ in first) == list(range(5)) and all(contexts[i] == q.context for i, q in first)
        orders = [[i for i, _ in teaching.questions(model, GOAL, contexts, 5, seed, "random")] for seed in range(4)]
        assert len(set(map(tuple, orders))) > 1
        assert [i for i, _ in teaching.questions(model, GOAL, contexts, 2, 0)] == [i for i, _ in first][:2]

    def test_accepting_correcting_passing_over_and_reading_on(self) -> None:
        lessons, kept, shown = asked("", "+", "?", "do you play football?", "x" * 2001, "better", EOFError)
        assert [(lesson.proposed, lesson.line) for lesson in lessons] == [
            ("proposal 0", "proposal 0"),
            ("proposal 2", "do you play football?"),
            ("proposal 3", "better"),
        ]
        assert kept == lessons
        assert [lesson.is_correction for lesson in lessons] == [False, True, True]
        assert "b: reply 2" in shown and "Type another line." in shown

    def test_it_ends_after_so_many_answers(self) -> None:
        assert len(asked(*["ok?"] * 6, count=4)[0]) == 4

    def test_answers_given_before_are_not_asked_again(self) -> None:
        first, kept, _ = asked("one?", "two?")
        again, new, shown = asked("three?", "four?", known=tuple(kept))
        assert [lesson.line for lesson in again] == ["one?", "two?", "three?", "four?"]
        assert len(new) == 2 and "proposal 0" not in shown
        assert first == again[:2]

    def test_ctrl_c_leaves_and_keeps_the_answers(self) -> None:
        kept: list[Lesson] = []
        with pytest.raises(KeyboardInterrupt):
            asking = Asking(QUESTIONS, 6, GOAL, (), kept.append)
            teach.ask(asking, answering("one?", KeyboardInterrupt), lambda text: None)
        assert [lesson.line for lesson in kept] == ["one?"]

    def test_what_people_and_models_say_cannot_command_the_terminal(self) -> None:
        shown: list[str] = []
        asking = Asking([question("\x1b[2J", "\x1b[3J")], 1, GOAL, (), lambda lesson: None)
        teach.ask(asking, answering(""), shown.append)
        assert "\x1b" not in "".join(shown)


class TestJudge:
    def test_of_a_goal_that_steered_talk_labels_it_learns_from_train_and_is_tested_on_dev(
        self, quick: None, reader: Reader
    ) -> None:
        judge = teaching.judge_of(reader, GOAL, [])
        assert f"{len(evaluate_teaching.labelled_places(GOAL))} steered-talk lines with this goal" in judge.fitted_on
        assert "steered-talk dev" in judge.tested_on and judge.recall is not None and judge.false_alarms is not None

    def test_of_another_goal_it_learns_from_the_persons_lines_but_every_fourth(self, quick: None, reader: Reader) -> None:
        lessons = [q.answered("ask about anime.", f"which anime {n}?") for n, q in enumerate(QUESTIONS)]
        judge = teaching.judge_of(reader, "ask about anime.", lessons)
        assert judge.fitted_on.startswith("5 of your own lines") and judge.tested_on.startswith("1 of your own lines")
        assert judge.head.probabilities([("reply 0", "which anime 0?")])[0] > 0.5


class TestLearning:
    def test_learning_changes_the_model_and_reports_what_it_did(self, quick: None, reader: Reader) -> None:
        model = tiny_model()
        contexts = teaching.teaching_contexts(0)
        lessons = [teaching.Question(context, "?").answered(GOAL, "do you play ball?") for context in contexts[:6]]
        judges = {GOAL: teaching.judge_of(reader, GOAL, lessons)}
        before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
        old = said_lines(model, contexts[:3], DEFAULT_GOALS.goals, 0)
        report = teaching.learn(model, reader, judges, GOAL, lessons, [], seed=0, steps=4)
        assert (report.goal, report.lessons, report.corrections) == (GOAL, 6, 6)
        assert 0 <= report.after.new <= 1 and 0 <= report.after.worst <= report.after.old <= 1
        assert model.taught == (GOAL,) and model.taught_network is not None
        learnt = model.taught_network.state_dict()
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())
        assert any(not torch.equal(tensor, before[name]) for name, tensor in learnt.items())
        assert [line.text for line in said_lines(model, contexts[:3], DEFAULT_GOALS.goals, 0)] == [line.text for line in old]
        assert report.after.old == report.before.old and report.after.ppl_word == report.before.ppl_word > 1

    def test_lessons_take_the_place_of_some_lines_under_their_own_goals(self) -> None:
        model, rng = tiny_model(), np.random.default_rng(0)
        place = Context((), (), ())
        lessons = [teaching.Question(place, "?").answered(GOAL, "do you play ball?")]
        earlier = [teaching.Question(place, "?").answered("talk about books.", "what do you read?")]
        talks = [spelled(talk) for talk in steered_talk.load("dev")[:20]]
        read = [
            model.tokenizer.decode(e.ids) for t in talks for e in teaching.lesson_examples(model, t, lessons, earlier, rng)
        ]
        put_in = teaching.SHARE * sum(len(talk.turns) for talk in talks)
        said = {GOAL: "do you play ball?", "talk about books.": "what do you read?"}
        new, old = (sum(text.count(goal + line) for text in read) for goal, line in said.items())
        assert abs(new - put_in * 2 / 3) < 12 and abs(old - put_in / 3) < 12

    def test_a_learnt_network_says_taught_lines_alone_here_and_after_a_journey_through_a_folder(self, tmp_path: Path) -> None:
        model, other = tiny_model(), tiny_model(seed=1)
        model.taught, model.taught_network = (GOAL,), other.network
        model.save(tmp_path / "taught")
        loaded = LanguageModel.load(tmp_path / "taught")
        noise = np.random.default_rng(0).random((8, Sampling().max_tokens))

        def said(speaker: LanguageModel, goal: str) -> list[tuple[str, str]]:
            requests = [Request(slot, ("i like tea.",), ("hi.", "hello."), (None, goal), noise[slot]) for slot in range(3)]

            def answer(place: int, line: str) -> Request:
                return Request(place, (), ("hi.", "hello.", line), (), noise[3 + place])

            lines, replies = speaker.responder(Sampling()).exchange(requests, answer)
            return [(line.text, reply.text) for line, reply in zip(lines, replies, strict=True)]

        assert (
            [a for a, _ in said(model, GOAL)] == [a for a, _ in said(other, GOAL)] != [a for a, _ in said(tiny_model(), GOAL)]
        )
        assert said(model, "ask about pets.") == said(tiny_model(), "ask about pets.") != said(other, "ask about pets.")
        assert said(loaded, GOAL) == said(model, GOAL)
        mixed = model.responder(Sampling()).speak(
            [Request(n, (), (), (goal,), noise[n]) for n, goal in enumerate((GOAL, "ask about pets.", GOAL))]
        )
        alone = [
            speaker.responder(Sampling()).speak([Request(0, (), (), (goal,), noise[n])])[0].text
            for n, (speaker, goal) in enumerate(((other, GOAL), (tiny_model(), "ask about pets."), (other, GOAL)))
        ]
        assert [utterance.text for utterance in mixed] == alone


def run(*arguments: str, stdin: str = "") -> Any:
    return CliRunner().invoke(app, list(arguments), input=stdin)


class TestCommand:
    @pytest.fixture
    def base(self, tmp_path: Path) -> str:
        tiny_model().save(tmp_path / "base")
        return str(tmp_path / "base")

    def test_a_goal_is_taught_over_a_pipe_kept_listed_and_undone(self, quick: None, tmp_path: Path, base: str) -> None:
        words = ("--model", base, "--out", str(tmp_path / "taught"))
        answers = "do you play ball?\n\n+\nwho won?\nany sports?\nfootball?\ny\n"
        result = run("teach", GOAL, *words, "--lessons", "5", "--json", stdin=answers)
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert found["kept"] and found["report"]["lessons"] == 5 and found["report"]["corrections"] == 4
        assert found["in_use"] == 1 and found["goals"] == [GOAL]
        assert load(found["model"]).taught == (GOAL,)
        assert "is a goal already" in run("teach", GOAL, *words).stderr
        listed = json.loads(run("teach", *words, "--restore", "0", "--json").stdout)
        assert listed["in_use"] == 0 and [each["goal"] for each in listed["versions"]] == [GOAL]

    def test_what_is_not_wanted_is_not_kept_but_the_answers_are(self, quick: None, tmp_path: Path, base: str) -> None:
        words = ("--model", base, "--out", str(tmp_path / "taught"), "--lessons", "5")
        result = run("teach", GOAL, *words, stdin="a?\nb?\nc?\nd?\ne?\nn\n")
        assert result.exit_code == 0, result.output
        taught = TaughtSet(tmp_path / "taught", base)
        assert taught.current == 0 and not taught.versions and len(taught.lessons(GOAL)) == 5
        assert "held-out moments" in result.stdout and "judged by" in result.stdout

    def test_leaving_early_keeps_the_answers_for_the_next_time(self, quick: None, tmp_path: Path, base: str) -> None:
        words = ("--model", base, "--out", str(tmp_path / "taught"), "--lessons", "5")
        result = run("teach", GOAL, *words, stdin="a?\nb?\n")
        assert result.exit_code == 0 and "2 of at least 5 answers are kept" in result.stderr
        result = run("teach", GOAL, *words, stdin="c?\nd?\ne?\ny\n")
        assert [lesson.line for lesson in TaughtSet(tmp_path / "taught", base).lessons(GOAL)] == ["a?", "b?", "c?", "d?", "e?"]
        assert "kept as version 1" in result.stdout

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["ask about pets."], "is a goal already"),
            (["<|act|>"], "without '<|'"),
            (["--restore", "7"], "no version 7"),
            ([GOAL, "--restore", "0"], "leave the goal out"),
            ([GOAL, "--lessons", "3"], "5..20"),
        ],
    )
    def test_what_cannot_be_is_told_in_one_line(self, tmp_path: Path, base: str, arguments: list[str], says: str) -> None:
        result = run("teach", *arguments, "--model", base, "--out", str(tmp_path / "taught"))
        assert result.exit_code == 2 and says in result.stderr and result.stderr.count("\n") == 1

    def test_the_simulated_annotator_teaches_goal_after_goal(self, quick: None, base: str) -> None:
        result = run("evaluate", "teaching", "--goals", "2", "--corrections", "3", "--model", base, "--json")
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert [row["goal"] for row in found["rows"]] == list(steered_talk.EXTRA_GOALS[:2])
        assert set(found["taught_in_the_end"]) == set(steered_talk.EXTRA_GOALS[:2])
        assert found["largest_old_loss"] == -min(row["old_change"] for row in found["rows"])
        assert found["ppl_word_in_the_end"] > 1

    def test_the_originals_procedure_is_measured_beside_it(self, quick: None, base: str) -> None:
        words = ("--goals", "1", "--corrections", "9", "--procedure", "original", "--model", base, "--json")
        result = run("evaluate", "teaching", *words)
        assert result.exit_code == 0, result.output
        [row] = json.loads(result.stdout)["rows"]
        assert row["seconds"] > 0 and 0 <= row["copied"] <= 1
        assert "original" in run("evaluate", "teaching", "--procedure", "another").stderr

    def test_the_table_has_all_ways_and_goes_on_where_it_was_stopped(
        self, quick: None, base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(teaching_table, "CELLS", ((2, "informative", "rehearsed"), (2, "random", "rehearsed")))
        words = ("evaluate", "teaching-table", "--goals", "1", "--model", base, "--out", str(tmp_path / "table"), "--json")
        first = json.loads(run(*words).stdout)
        assert [(row["corrections"], row["order"]) for row in first["rows"]] == [(2, "informative"), (2, "random")]
        assert (tmp_path / "table" / "curve.png").read_bytes().startswith(b"\x89PNG")
        kept = tmp_path / "table" / "2-informative-rehearsed-1-0.json"
        kept.write_text(kept.read_text().replace('"corrections": 2', '"corrections": 3'))
        assert [row["corrections"] for row in json.loads(run(*words).stdout)["rows"]] == [3, 2]  # read, not done again
        kept.write_text("{")
        assert "delete it" in run(*words).stderr


class TestOriginal:
    def test_eight_corrections_are_one_step_of_a_warming_rate_and_seven_are_none(self) -> None:
        model = tiny_model()
        old = [spelled(dialogue) for dialogue in steered_talk.load("dev")[:3]]
        pair = Pair((), (), (GOAL,), "do you play ball?", is_correction=True)
        first = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
        learn_as_the_original(model, [pair] * 15, old, 0, ignore_ticks)  # the first step's rate is 0
        assert all(torch.equal(tensor, first[name]) for name, tensor in model.network.state_dict().items())
        learn_as_the_original(model, [pair] * 16, old, 0, ignore_ticks)
        moved = [float((tensor - first[name]).abs().max()) for name, tensor in model.network.state_dict().items()]
        assert 0 < max(moved) < 3e-8  # Adam moves no weight by more than the rate, 5e-5 / 4000, and float32 rounds
        with pytest.raises(InputError, match="without replies"):
            learn_as_the_original(model, [pair], [], 0, ignore_ticks)


@pytest.mark.parametrize(
    ("share", "recall", "alarms", "true"), [(0.8, 0.9, 0.1, 0.875), (1.0, 0.9, 0.1, 1.0), (0.05, 0.9, 0.1, 0.0)]
)
def test_a_share_is_adjusted_for_the_judges_errors(share: float, recall: float, alarms: float, true: float) -> None:
    assert evaluate_teaching.adjusted(share, recall, alarms) == pytest.approx(true)
    assert evaluate_teaching.adjusted(share, None, alarms) is None
    assert evaluate_teaching.adjusted(share, 0.1, 0.1) is None

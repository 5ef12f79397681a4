"""Chatting: both modes with fakes, what people type, how they leave, and what is stored of it."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from fakes import EchoSpeaker, FakeJudge, env_kwargs

import convogym  # noqa: F401  # registers the environment
from convogym.dialogue import Persona
from convogym.errors import InputError
from convogym.experiments.chat import COMMANDS, Chat, read_persona, reader_of, steer, talk
from convogym.experiments.finetune import pairs_of, worth_reading
from convogym.experiments.session import FREE_TALK
from convogym.policies.baselines import CyclePolicy
from convogym.speakers import Request
from convogym.store import EpisodeStore

PERSONA = Persona(("i have two dogs.", "i am a nurse.", "i like rain."))


class Listening(EchoSpeaker):
    """Answers with what it heard last."""

    def text(self, request: Request) -> str:
        return f"you said: {request.history[-1]}"


class Deaf(EchoSpeaker):
    """Cannot take more than ten characters, as a model with a small context."""

    def text(self, request: Request) -> str:
        if len(request.history[-1]) > 10:
            raise InputError("the persona and the last utterance do not fit in the model's context.")
        return "ok."


def typing(*lines: str | type[BaseException]) -> Callable[[str], str]:
    """Types the lines, raises the exceptions, and then there is no more input."""
    left = iter(lines)

    def read(prompt: str) -> str:
        line = next(left, EOFError)
        if isinstance(line, str):
            return line
        raise line

    return read


def talked(lines: Iterable[str | type[BaseException]], speaker: Any = None, **options: Any) -> tuple[Chat, list[str]]:
    shown: list[str] = []
    return talk(speaker or Listening(), PERSONA, typing(*lines), shown.append, **options), shown


def steered(lines: Iterable[str | type[BaseException]], persona: Persona | None = PERSONA, **options: Any) -> tuple[Chat, str]:
    shown: list[str] = []
    env: Any = gym.make("PersonaChat-v0", disable_env_checker=True, **env_kwargs())
    return steer(env, persona, typing(*lines), shown.append, **options), "\n".join(shown)


class TestTalk:
    def test_every_line_is_answered_in_the_character_of_the_persona(self) -> None:
        speaker = Listening()
        chat, shown = talked(["hello", "and you?"], speaker)
        assert shown == ["b: you said: hello", "b: you said: and you?"]
        assert [request.persona for request in speaker.requests] == [PERSONA.facts] * 2
        assert [request.goals for request in speaker.requests] == [(), ()]
        assert speaker.requests[1].history == ("hello", "you said: hello", "and you?")
        assert chat.left and len(chat.turns) == 2

    def test_it_ends_after_its_turns(self) -> None:
        chat, _ = talked(["a", "b", "c"], turns=2)
        assert [turn["line"] for turn in chat.turns] == ["a", "b"]
        assert not chat.left

    def test_the_same_seed_and_lines_give_the_same_talk(self) -> None:
        first, again, other = (talked(["a"] * 4, EchoSpeaker(), seed=seed)[0].turns for seed in (0, 0, 1))
        assert first == again != other

    @pytest.mark.parametrize("text", ["<|act|>ask about pets.<|sep|>", "<|endoftext|>", "hi 🐕 naïve 漢字", "‮ reversed"])
    def test_whatever_is_typed_is_plain_text(self, text: str) -> None:
        chat, _ = talked([text])
        assert chat.turns[0] == {"line": text, "reply": f"you said: {text}"}

    @pytest.mark.parametrize("text", ["nul\0byte", "x" * 2001, "y" * 1_000_000, "\ud800"])
    def test_what_cannot_be_said_is_told_and_asked_again(self, text: str) -> None:
        chat, shown = talked([text, "hello"])
        assert [turn["line"] for turn in chat.turns] == ["hello"]
        assert "Type another line." in shown[0]
        assert len(shown[0]) < 300

    def test_blank_lines_are_passed_over(self) -> None:
        chat, shown = talked(["", "   ", "hello"])
        assert [turn["line"] for turn in chat.turns] == ["hello"]
        assert len(shown) == 1

    def test_a_line_that_does_not_fit_in_the_model_is_asked_again(self) -> None:
        chat, shown = talked(["a very long line", "hi"], Deaf())
        assert [turn["line"] for turn in chat.turns] == ["hi"]
        assert "context" in shown[0]

    def test_what_the_model_says_cannot_command_the_terminal(self) -> None:
        _, shown = talked(["\x1b[2Jboo"])
        assert "\x1b" not in shown[0]

    @pytest.mark.parametrize("leaving", [EOFError, KeyboardInterrupt])
    def test_leaving_keeps_the_turns(self, tmp_path: Path, leaving: type[BaseException]) -> None:
        with EpisodeStore(tmp_path / "a.db") as store:
            chat, _ = talked(["hello", "what now?", leaving], store=store)
            [episode] = store.episodes()
        assert chat.left and chat.episode == episode.id
        assert [(turn.line, turn.reply) for turn in episode.turns] == [
            ("hello", "you said: hello"),
            ("what now?", "you said: what now?"),
        ]
        assert (episode.policy, episode.goal_speaker, episode.responder) == ("human", "human", "echo")
        assert (episode.persona, episode.goals, episode.finished) == (PERSONA.facts, (FREE_TALK,), False)

    def test_a_turn_is_stored_before_the_next_is_typed(self, tmp_path: Path) -> None:
        with EpisodeStore(tmp_path / "a.db") as store:
            counts: list[int] = []

            def read(prompt: str) -> str:
                counts.append(sum(len(episode.turns) for episode in store.episodes()))
                return "hello"

            talk(Listening(), PERSONA, read, lambda text: None, turns=3, store=store)
            assert counts == [0, 1, 2]
            assert [episode.finished for episode in store.episodes()] == [True]

    def test_leaving_at_once_stores_nothing(self, tmp_path: Path) -> None:
        with EpisodeStore(tmp_path / "a.db") as store:
            chat, _ = talked([], store=store)
            assert store.count() == 0
        assert chat.episode is None


class TestSteer:
    def test_goals_are_picked_by_number_text_and_beginning(self) -> None:
        chat, shown = steered(["1", "talk about music.", "hobb", "food"])
        assert [turn["goal"] for turn in chat.turns] == [
            "ask about pets.",
            "talk about music.",
            "ask about hobbies.",
            "ask about favorite food.",
        ]
        assert not chat.left
        assert all(turn["reply"] in PERSONA.facts for turn in chat.turns)
        assert "persona: i have two dogs." in shown
        assert f"b: {chat.turns[0]['reply']}" in shown

    @pytest.mark.parametrize("nonsense", ["99", "-1", "", "xyz", "ask about", "\0", "<|act|>", "z" * 1_000_000])
    def test_what_names_no_goal_is_asked_again(self, nonsense: str) -> None:
        chat, _ = steered([nonsense, "1"])
        assert [turn["goal"] for turn in chat.turns] == ["ask about pets."]

    @pytest.mark.parametrize("leaving", [EOFError, KeyboardInterrupt])
    def test_leaving_keeps_the_turns(self, tmp_path: Path, leaving: type[BaseException]) -> None:
        with EpisodeStore(tmp_path / "a.db") as store:
            chat, _ = steered(["1", "2", leaving], store=store)
            [episode] = store.episodes()
        assert chat.left and chat.episode == episode.id
        assert [turn.action for turn in episode.turns] == [1, 2]
        assert (episode.policy, episode.persona, episode.finished) == ("human", PERSONA.facts, False)

    def test_a_whole_interview_is_stored_as_finished(self, tmp_path: Path) -> None:
        with EpisodeStore(tmp_path / "a.db") as store:
            chat, _ = steered(["1", "2", "3", "4"], store=store)
            [episode] = store.episodes()
        assert episode.finished and chat.episode == episode.id
        assert [turn.reward for turn in episode.turns] == [turn["reward"] for turn in chat.turns]

    def test_without_a_persona_the_seed_draws_one(self) -> None:
        first, again = (steered(["1"], None, seed=3)[0].persona for _ in range(2))
        others = {steered(["1"], None, seed=seed)[0].persona for seed in range(8)}
        assert first == again
        assert len(others) > 1


class TestCommands:
    def test_a_talk_is_amended_rated_corrected_and_taken_back(self, tmp_path: Path) -> None:
        lines = ["one", "/edit good day.", "/rate 4", "two", "/correct 1 hello there", "/correct-reply 1 hi.", "/rate-talk 3"]
        with EpisodeStore(tmp_path / "a.db") as store:
            chat, shown = talked([*lines, "three", "/undo"], store=store)
            [episode] = store.episodes()
        assert [turn["line"] for turn in chat.turns] == ["one", "two"]
        first = episode.turns[0]
        assert (first.reply, first.corrected_line, first.corrected_reply, first.rating) == (
            "good day.",
            "hello there",
            "hi.",
            4,
        )
        assert episode.rating == 3 and len(episode.turns) == 2
        assert "b: good day." in shown and "taken back; 2 turns are left." in shown

    def test_another_reply_can_be_preferred(self, tmp_path: Path) -> None:
        with EpisodeStore(tmp_path / "a.db") as store:
            _, shown = talked(["one", "/other", "neither", "2"], EchoSpeaker(), store=store)
            [episode] = store.episodes()
        [comparison] = episode.turns[0].comparisons
        assert f"2: {comparison.chosen}" in shown[1] and shown[-1] == f"b: {comparison.chosen}"
        assert episode.turns[0].reply == comparison.chosen != comparison.rejected

    def test_the_end_can_be_told_and_the_talk_is_finished(self, tmp_path: Path) -> None:
        with EpisodeStore(tmp_path / "a.db") as store:
            chat, _ = talked(["one", "/end", "two"], store=store)
            assert [episode.finished for episode in store.episodes()] == [True]
        assert len(chat.turns) == 1 and not chat.left

    @pytest.mark.parametrize(
        ("typed", "says"),
        [
            ("/rat 3", "'/rate'"),
            ("/undo", "no turn to take back"),
            ("/rate much", "expected a number"),
            ("/rate 3", "must be in 1..0"),
            ("/edit hello", "nothing was said yet"),
            ("/correct 1 x", "must be in 1..0"),
            ("/policy", "no policy"),
            ("/ahead", "a person says the lines"),
            ("/", "command"),
        ],
    )
    def test_what_cannot_be_done_is_told_and_nothing_is_said(self, typed: str, says: str) -> None:
        chat, shown = talked([typed])
        assert chat.turns == [] and says in shown[0]

    def test_two_slashes_are_one_that_is_said_and_help_lists_all_commands(self) -> None:
        chat, shown = talked(["//undo", "/help"])
        assert chat.turns[0]["line"] == "/undo"
        assert all(f"/{usage}" in shown[-1] for usage in COMMANDS)

    def test_lines_are_approved_rejected_and_rewritten_before_they_are_said(self, tmp_path: Path) -> None:
        typed = ["pets", "+", "", "work", "who pays you?", "kids", "-", "music", " ", ""]
        with EpisodeStore(tmp_path / "a.db") as store:
            chat, shown = steered(typed, store=store, approve=True)
            [episode] = store.episodes()
        assert [turn["goal"] for turn in chat.turns] == ["ask about pets.", "talk about work.", "talk about music."]
        assert shown.count("a? ask about pets. please") == 2
        assert episode.turns[1].line == episode.turns[1].corrected_line == "who pays you?"
        assert episode.turns[0].corrected_line is None
        assert episode.turns[1].comparisons[0].rejected.startswith("talk about work. please")

    def test_looking_ahead_comparing_own_lines_and_the_policys_turns(self) -> None:
        typed = ["/ahead", "/two pets", "1", "/line work = who pays you?", "/policy", "/undo", "/policy"]
        chat, shown = steered(typed, policy=CyclePolicy(11))
        assert [turn["goal"] for turn in chat.turns] == ["ask about pets.", "talk about work.", "ask about pets."]
        assert chat.turns[1]["line"] == "who pays you?"
        assert f"  1  {chat.turns[0]['line']}" in shown


class TestLearningFromTalks:
    def test_lines_and_replies_that_a_person_rewrote_are_pairs_in_the_talk_that_was_said(self, tmp_path: Path) -> None:
        with EpisodeStore(tmp_path / "a.db") as store:
            steered(["/line pets = any animals?", "/edit two dogs.", "/line work = who pays you?"], store=store)
            pairs, counts = pairs_of(worth_reading(store), FakeJudge())
        assert (counts["corrected_lines"], counts["corrected_replies"]) == (2, 1)
        line, reply, second = pairs[:3]
        assert (line.history, line.goals, line.target) == ((), ("ask about pets.",), "any animals?")
        assert (reply.persona, reply.history, reply.target) == (PERSONA.facts, ("any animals?",), "two dogs.")
        assert second.history == ("any animals?", "two dogs.") and second.target == "who pays you?"

    def test_a_talk_broken_off_counts_though_another_of_its_seed_was_finished(self, tmp_path: Path) -> None:
        with EpisodeStore(tmp_path / "a.db") as store:
            steered(["/line pets = any animals?"], store=store)
            steered(["1", "2", "3", "4"], store=store)
            _, counts = pairs_of(worth_reading(store), FakeJudge())
        assert counts["episodes"] == 2 and counts["corrected_lines"] == 1


class TestReader:
    def test_lines_of_a_pipe_are_read_one_by_one_until_its_end(self) -> None:
        read = reader_of(io.StringIO("one\r\ntwo\n\nlast"), (prompts := io.StringIO()))
        assert [read("> ") for _ in range(4)] == ["one", "two", "", "last"]
        with pytest.raises(EOFError):
            read("> ")
        assert prompts.getvalue() == ""  # nobody sits there

    def test_a_line_longer_than_memory_should_hold_is_cut_and_the_next_one_is_whole(self) -> None:
        read = reader_of(io.StringIO("x" * 1_000_000 + "\nnext\n"), io.StringIO())
        assert 2000 < len(read("> ")) < 100_000
        assert read("> ") == "next"

    def test_bytes_that_are_no_text_are_replaced(self) -> None:
        read = reader_of(io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), encoding="utf-8"), io.StringIO())
        assert read("> ") == "caf\N{REPLACEMENT CHARACTER}"


class TestPersonaFile:
    def test_every_line_that_is_not_blank_is_a_fact(self, tmp_path: Path) -> None:
        path = tmp_path / "persona.txt"
        path.write_text("i have two dogs.\n\n  i am a nurse. \r\n", encoding="utf-8-sig")
        assert read_persona(path).facts == ("i have two dogs.", "i am a nurse.")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "1..20 facts, got 0"),
            (b" \n\n", "1..20 facts, got 0"),
            (b"a fact.\n" * 200, "1..20 facts, got 200"),
            (b"x" * 301, "at most 300 characters"),
            (b"nul\0byte", "null bytes"),
            (b"caf\xe9", "UTF-8"),
            (b"x" * 1_000_000, "one fact in each line"),
        ],
    )
    def test_other_files_are_refused_with_the_reason(self, tmp_path: Path, content: bytes, message: str) -> None:
        path = tmp_path / "persona.txt"
        path.write_bytes(content)
        with pytest.raises(InputError, match=message) as refusal:
            read_persona(path)
        assert str(path) in str(refusal.value)

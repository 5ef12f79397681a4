"""The readers give every dialogue of a file with the right speakers and personas, or say what is wrong and where."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from shared_data import shared_path

from convogym import steered_talk
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import CorpusError, UnknownNameError
from convogym.goals import PUBLISHED_GOALS
from convogym.readers import FORMATS, read_convai2, read_dialogues, read_personas, read_transfertransfo, write_dialogues

CONVAI2 = """1 your persona: i have two dogs.
2 your persona: i am a baker.
3 partner's persona: i sail.
4 hi , how are you ?\ttired , i baked all night .
5 do you have pets ?\ttwo dogs !
1 your persona: i ski.
2 __SILENCE__\thello there .
3 hi ! what do you do ?\ti ski .
"""

SYNTHETIC = """user 1 personas,user 2 personas,Best Generated Conversation
"I sail.
I bake.","I ski.","User 2: Hi, ""you""!
User 1: Hello.
It is late.
User 1: Bye?
User 2: Bye."
"""


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def complete() -> Dialogue:
    return Dialogue(
        (
            Turn("Hi  THERE , “you” 🙂", "ha, <|act|>!", (), (0, 1), ("no.", "ha, <|act|>!")),
            Turn("pets?", "two\u2028dogs", ("ask about pets.", "talk about work."), ()),
            Turn("bye", None),
        ),
        Persona(("i have two dogs.", "i am a baker.")),
        None,
        "by hand",
    )


@pytest.mark.parametrize("name", ["talk.jsonl", "talk.jsonl.gz"])
def test_what_is_written_is_read_back_equal(tmp_path: Path, name: str) -> None:
    dialogues = [complete(), Dialogue.from_utterances(("a", "b", "c"), None, Persona(("i sail.",)))]
    write_dialogues(tmp_path / name, dialogues)
    assert read_dialogues(tmp_path / name) == dialogues
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_equal_dialogues_make_equal_files(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_dialogues(tmp_path / name, [complete()])
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = written(tmp_path, "old.jsonl", "old")

    def half() -> Iterator[Dialogue]:
        yield complete()
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError):
        write_dialogues(path, half())
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_jsonl_of_plain_turns_gives_the_second_persona_to_the_responder(tmp_path: Path) -> None:
    record = {"source": "x", "personas": [["i sail."], ["i ski."]], "turns": ["Hi !", "hello", "bye"], "topic": "t"}
    (dialogue,) = read_dialogues(written(tmp_path, "x.jsonl", json.dumps(record)))
    assert dialogue == Dialogue((Turn("Hi !", "hello"), Turn("bye", None)), Persona(("i ski.",)), Persona(("i sail.",)), "x")


def test_convai2_text_gives_personas_and_the_owner_of_yours_replies(tmp_path: Path) -> None:
    first, second = read_dialogues(written(tmp_path, "dev.txt", CONVAI2))
    assert first.persona == Persona(("i have two dogs.", "i am a baker."))
    assert first.partner_persona == Persona(("i sail.",))
    assert first.turns[1] == Turn("do you have pets ?", "two dogs !")
    # the owner breaks the silence, so the owner is speaker 1
    assert second.utterances == ("hello there .", "hi ! what do you do ?", "i ski .")
    assert second.persona is None and second.partner_persona == Persona(("i ski.",))


def test_convai2_without_personas_and_with_windows_line_ends_is_read(tmp_path: Path) -> None:
    (dialogue,) = read_dialogues(written(tmp_path, "none.txt", "1 hi\thello\r\n2 bye\tciao\r\n"))
    assert dialogue.utterances == ("hi", "hello", "bye", "ciao") and dialogue.persona is None


def test_convai2_candidates_are_kept_with_their_turn(tmp_path: Path) -> None:
    (dialogue,) = read_convai2(written(tmp_path, "c.txt", "1 your persona: i ski.\n2 hi\thello\t\tno|maybe so|hello\n"))
    assert dialogue.turns == (Turn("hi", "hello", candidates=("no", "maybe so", "hello")),)


def test_candidates_for_lines_of_a_silence_breaker_are_left_out(tmp_path: Path) -> None:
    text = "1 __SILENCE__\thello\t\thello|no\n2 hi\tbye\t\tbye|no\n"
    (dialogue,) = read_convai2(written(tmp_path, "c.txt", text))
    assert dialogue.turns == (Turn("hello", "hi"), Turn("bye", None))


def transfertransfo(silent: bool) -> dict[str, object]:
    history = ["__ SILENCE __"] if silent else ["hi"]
    return {
        "personality": ["i ski .", "i sail ."],
        "utterances": [
            {"candidates": ["no", "hello"], "history": history},
            {"candidates": ["why", "i ski"], "history": [*history, "hello", "what now ?"]},
        ],
    }


def test_transfertransfo_takes_the_last_candidate_as_said(tmp_path: Path) -> None:
    data = {"train": [transfertransfo(False)], "valid": [transfertransfo(True), transfertransfo(False)]}
    path = written(tmp_path, "p.json", json.dumps(data, indent=1))
    dialogues = read_dialogues(path)
    assert len(dialogues) == 3 and dialogues[0] == dialogues[2]
    assert dialogues[0].turns == (
        Turn("hi", "hello", candidates=("no", "hello")),
        Turn("what now ?", "i ski", candidates=("why", "i ski")),
    )
    assert dialogues[0].persona == Persona(("i ski .", "i sail ."))
    assert dialogues[1].utterances == ("hello", "what now ?", "i ski")
    assert dialogues[1].persona is None and dialogues[1].partner_persona == dialogues[0].persona
    assert len(read_transfertransfo(path, "train")) == 1
    with pytest.raises(UnknownNameError, match="valid"):
        read_transfertransfo(path, "vlid")


def test_transfertransfo_may_be_a_bare_list(tmp_path: Path) -> None:
    path = written(tmp_path, "p.json", json.dumps([transfertransfo(False)]))
    assert len(read_dialogues(path)) == 1


def test_synthetic_persona_chat_joins_what_one_speaker_says_in_a_row(tmp_path: Path) -> None:
    (dialogue,) = read_dialogues(written(tmp_path, "s.csv", SYNTHETIC))
    assert dialogue.utterances == ('Hi, "you"!', "Hello. It is late. Bye?", "Bye.")
    # user 2 opens, so user 1 is the responder
    assert dialogue.persona == Persona(("I sail.", "I bake."))
    assert dialogue.partner_persona == Persona(("I ski.",))


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("a", CONVAI2, "convai2"),
        ("a", SYNTHETIC, "synthetic-persona-chat"),
        ("a.data", json.dumps([transfertransfo(False)]), "transfertransfo"),
        ("a.txt", json.dumps({"source": "", "turns": ["hi", "you"]}), "jsonl"),
        ("a", json.dumps({"id": "1", "persona": ["i ski."], "turns": [{"line": "hi", "reply": "you"}]}), "steered-talk"),
    ],
)
def test_the_format_is_told_from_the_content(tmp_path: Path, name: str, text: str, format: str) -> None:
    plain = written(tmp_path, name, text)
    packed = written(tmp_path, name + ".gz", gzip.compress(text.encode()))
    expected = read_dialogues(plain, format)
    assert expected and read_dialogues(plain) == expected == read_dialogues(packed)


BROKEN: dict[str, tuple[str, str | bytes, int | None, str]] = {
    "text without a number": ("x.txt", CONVAI2 + "hi\thello\n", 9, "number"),
    "a number left out": ("x.txt", "1 a\tb\n3 a\tb\n", 2, "1 or 2"),
    "no first number": ("x.txt", "2 a\tb\n", 1, "1 or 1"),
    "a text without a reply": ("x.txt", "1 a\tb\n2 a\n", 2, "reply"),
    "a blank reply": ("x.txt", "1 a\tb\n2 a\t \n", 2, "not blank"),
    "a late persona": ("x.txt", "1 a\tb\n2 your persona: i ski.\n", 2, "before the talk"),
    "personas only": ("x.txt", "1 your persona: i ski.\n1 a\tb\n", 1, "text and reply"),
    "a late silence": ("x.txt", "1 a\tb\n2 __SILENCE__\tb\n", 2, "start"),
    "candidates without the reply": ("x.txt", "1 a\tb\t\tc|d\n", 1, "among them"),
    "half an object": ("x.jsonl", '{"turns": ["a", "b"]}\n{"turns": ["a"', 2, "JSON"),
    "a number without end": (
        "x.jsonl",
        '{"turns": ["a"]}\n{"turns": ["a"], "id": ' + "1" * 5000 + "}\n",
        2,
        "one JSON object",
    ),
    "such a number at once": ("x.jsonl", "{" + f'"turns": {"1" * 5000}' + "}\n", 1, "one JSON object"),
    "such a number in JSON": ("x.json", "[" + "1" * 5000 + "]", None, "few digits"),
    "such a line number": ("x.txt", "1 a\tb\n" + "2" * 5000 + " a\tb\n", 2, "a line number"),
    "no turns": ("x.jsonl", '{"turns": []}\n', 1, "turns"),
    "another object": ("x.jsonl", '{"text": "a"}\n', 1, "turns"),
    "mixed turns": ("x.jsonl", '{"turns": ["a", {"line": "b"}]}\n', 1, "all texts or all objects"),
    "a blank utterance": ("x.jsonl", '{"turns": ["a", " "]}\n', 1, "not blank"),
    "half a character": ("x.jsonl", '{"turns": ["a \\ud83d"]}\n', 1, "half character"),
    "a number for a text": ("x.jsonl", '{"turns": [{"line": 3, "reply": "a"}]}\n', 1, "text"),
    "a text for goals": ("x.jsonl", '{"turns": [{"line": "a", "reply": "b", "goals": "c"}]}\n', 1, "list"),
    "a truth for a fact": ("x.jsonl", '{"turns": [{"line": "a", "reply": "b", "facts": [true]}]}\n', 1, "integers"),
    "a fact that is not there": ("x.jsonl", '{"turns": [{"line": "a", "reply": "b", "facts": [0]}]}\n', 1, "reveals"),
    "a missing reply": ("x.jsonl", '{"turns": [{"line": "a", "reply": null}, {"line": "a", "reply": "b"}]}\n', 1, "lack"),
    "one persona of two": ("x.jsonl", '{"personas": [null], "turns": ["a"]}\n', 1, "personas"),
    "too many facts": ("x.jsonl", json.dumps({"persona": ["a"] * 21, "turns": ["a"]}), 1, "facts"),
    "too few columns": ("x.csv", SYNTHETIC + "a,b\n", 8, "3 columns"),
    "another table": ("x.csv", "a,b\nc,d\n", 1, "user 1 personas"),
    "no speaker": ("x.csv", "user 1 personas,user 2 personas,Best Generated Conversation\na,b,hello\n", 2, "User 1"),
    "half a table cell": ("x.csv", SYNTHETIC + '"a,b,User 1: c\n', 8, "CSV"),
    "half a list": ("x.json", "[\n{", 2, "JSON"),
    "no utterances": ("x.json", '[{"personality": ["a"]}]', None, "dialogue 0"),
    "no candidates": ("x.json", '{"v": [{"personality": [], "utterances": [{"history": ["a"]}]}]}', None, "split 'v'"),
    "not UTF-8": ("x.txt", b"1 a\tb\n2 caf\xe9\tb\n", 2, "UTF-8"),
    "half a gzip file": ("x.jsonl.gz", gzip.compress(b'{"turns": ["a", "b"]}\n' * 500, mtime=0)[:-20], None, "whole gzip"),
    "an empty file": ("x.jsonl", b"", None, "empty"),
    "blank lines only": ("x.jsonl", b"\n\n", None, "at least one dialogue"),
    "nothing known": ("x.bin", "hello\n", 1, "known format"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    name, text, line, said = BROKEN[case]
    path = written(tmp_path, name, text)
    with pytest.raises(CorpusError) as error:
        read_dialogues(path)
    assert said in str(error.value)
    assert str(error.value).startswith(f"{path}:{line}: " if line else str(path))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="nothing at this path"):
        read_dialogues(tmp_path / "none.jsonl")
    with pytest.raises(CorpusError, match="a directory"):
        read_dialogues(tmp_path)


def test_an_unknown_format_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'convai2'"):
        read_dialogues(written(tmp_path, "x.txt", CONVAI2), "convai")
    assert set(FORMATS) == {"jsonl", "convai2", "transfertransfo", "synthetic-persona-chat", "steered-talk"}


def test_persona_csv_may_lack_later_facts_and_end_them_with_a_token(tmp_path: Path) -> None:
    text = 'Fact 1,Fact 2,Fact 3,Fact 4,Fact 5\ni ski.<|endoftext|>,"i bake, often.",i sail.,i nap.,\na.,b.,c.,d.,e.\n'
    personas = read_personas(written(tmp_path, "p.csv", text))
    assert personas == [Persona(("i ski.", "i bake, often.", "i sail.", "i nap.")), Persona(("a.", "b.", "c.", "d.", "e."))]


def test_personas_of_a_dialogue_file_are_distinct(tmp_path: Path) -> None:
    records = [
        {"personas": [["i ski.", "i sail."], None], "turns": ["a", "b"]},
        {"personas": [["i nap."], ["i sail.", "i ski."]], "turns": ["a", "b"]},
    ]
    path = written(tmp_path, "d.jsonl", "\n".join(map(json.dumps, records)))
    assert read_personas(path) == [Persona(("i ski.", "i sail.")), Persona(("i nap.",))]


def test_a_file_without_personas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="persona"):
        read_personas(written(tmp_path, "d.jsonl", '{"turns": ["a", "b"]}'))
    with pytest.raises(CorpusError, match="at least one fact"):
        read_personas(written(tmp_path, "p.csv", "Fact 1,Fact 2\n,\n"))


def test_steered_talk_ships_whole_and_labelled() -> None:
    splits = {split: steered_talk.load(split) for split in steered_talk.SPLITS}
    counts = {
        "train": 578,
        "more": 1194,
        "asked": 1225,
        "near": 1400,
        "plain": 500,
        "oblique": 997,
        "turned": 1013,
        "dev": 109,
    }
    assert {split: len(dialogues) for split, dialogues in splits.items()} == counts
    turns = [turn for dialogues in splits.values() for dialogue in dialogues for turn in dialogue.turns]
    for split in steered_talk.SPLITS[:-1]:
        assert not {d.persona for d in splits[split]} & {d.persona for d in splits["dev"]}
    assert sum(len(dialogue.utterances) for dialogue in splits["train"]) == 9942
    labels = {goal for turn in turns for goal in turn.goals or ()}
    assert labels == {*PUBLISHED_GOALS, *steered_talk.EXTRA_GOALS}
    assert all(turn.goals is not None and turn.facts is not None and turn.reply for turn in turns)
    assert all(dialogue.source == "steered-talk" and dialogue.persona for dialogue in splits["dev"])
    with pytest.raises(UnknownNameError):
        steered_talk.load("test")


def test_without_extra_goals_a_line_with_nothing_else_is_unsteered() -> None:
    turns = (
        Turn("a", "b", ("talk about cars.",)),
        Turn("a", "b", ("talk about cars.", "ask about kids.")),
        Turn("a", "b", ()),
        Turn("a", "b"),
    )
    (dialogue,) = steered_talk.without_extra_goals([Dialogue(turns)])
    assert [turn.goals for turn in dialogue.turns] == [(), ("ask about kids.",), (), None]


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "dialogues", "utterances"),
    [
        ("personachat_train_part.jsonl.gz", 2072, 29462),
        ("synthetic_persona_chat.jsonl.gz", 967, 26644),
        ("topical_chat.jsonl.gz", 2156, 46903),
        ("redial.jsonl.gz", 2342, 28098),
        ("casino.jsonl.gz", 1030, 11859),
        ("chatterbot.jsonl.gz", 2026, 4403),
        ("convai2_dev_both_original_no_cands.txt", 500, 7816),
    ],
)
def test_public_corpora_are_read_whole(name: str, dialogues: int, utterances: int) -> None:
    read = read_dialogues(shared_path("data", name))
    assert (len(read), sum(len(dialogue.utterances) for dialogue in read)) == (dialogues, utterances)


@pytest.mark.shared
def test_persona_files_are_read_whole() -> None:
    train = read_personas(shared_path("data", "personas", "train_personas.csv"))
    test = read_personas(shared_path("data", "personas", "test_personas.csv"))
    assert (len(train), len(test)) == (1184, 118)
    assert {len(persona.facts) for persona in train} == {3, 4, 5}

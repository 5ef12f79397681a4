"""Both prompt layouts: published ids, masks, round trips, and people's text that never becomes a control token."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shared_data import shared_path
from tiny import tiny_tokenizer

from convogym.agents.tokenizer import EOS, BPETokenizer
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import InputError, UnknownNameError
from convogym.layouts import (
    ACT,
    CONTROL_TOKENS,
    LAYOUTS,
    P1,
    P2,
    SEP,
    START,
    header,
    line_examples,
    plain_examples,
    prompt,
    responder_examples,
)

PERSONA = ("i have two dogs.", "i am a nurse.")
TALK = Dialogue(
    (
        Turn("hello there!", "hi, how are you?", ()),
        Turn("fine. do you have any pets?", "yes, two dogs.", ("ask about pets.",), (0,)),
        Turn("what do you do for a living?", "i am a nurse.", ("talk about work.",), (1,)),
    ),
    Persona(PERSONA),
)


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> BPETokenizer:
    """The GPT-2 tokenizer with the control tokens added, as the published models have it."""
    folder = tmp_path_factory.mktemp("gpt2")
    shutil.copy(shared_path("data", "gpt2-bpe", "encoder.json"), folder / "vocab.json")
    shutil.copy(shared_path("data", "gpt2-bpe", "vocab.bpe"), folder / "merges.txt")
    return BPETokenizer.load(folder, lower=False)


@pytest.mark.shared
def test_control_tokens_get_the_published_ids(gpt2: BPETokenizer) -> None:
    assert [gpt2.eos, *(gpt2.control(token) for token in CONTROL_TOKENS)] == list(range(50256, 50263))
    assert len(gpt2) == 50263


@pytest.mark.shared
def test_goal_prefix_has_the_published_ids(gpt2: BPETokenizer) -> None:
    """`<|act|>ask about hobbies.<|p1|><|sep|><|start|>`: 2093 is `ask` with no space before it."""
    ids = prompt("personagpt", gpt2, (), (), ("ask about hobbies.",), 900).ids
    assert list(ids) == [50262, 2093, 546, 45578, 13, 50260, 50257, 50259]


@pytest.mark.shared
def test_persona_prefix_has_the_published_form(gpt2: BPETokenizer) -> None:
    ids = prompt("personagpt", gpt2, ("i have two dogs.",), ("hi",), (), 900).ids
    fact = list(gpt2.encode("i have two dogs."))
    assert list(ids) == [50261, *fact, 50256, 50257, 50259, *gpt2.encode("hi"), 50256]


def test_inline_layout_puts_the_goal_before_its_line() -> None:
    t = tiny_tokenizer()
    history = ("hello there!", "hi, how are you?")
    ids = prompt("inline", t, (), history, (None, "ask about pets."), 400).ids
    said = [i for text in history for i in (*t.encode(text), t.eos)]
    marker = [t.control(ACT), *t.encode("ask about pets."), t.control(SEP)]
    assert list(ids) == [t.control(P1), t.control(SEP), t.control(START), *said, *marker]


def test_inline_prompts_only_ever_grow() -> None:
    """What makes a turn cost its new tokens only: the last prompt and the line are the beginning of the next prompt."""
    t = tiny_tokenizer()
    goals = ("ask about pets.", "talk about work.", None)
    said = TALK.utterances
    for turn in range(2):
        now = prompt("inline", t, (), said[: 2 * turn], goals[: turn + 1], 400).ids
        later = prompt("inline", t, (), said[: 2 * turn + 2], goals[: turn + 2], 400).ids
        assert later[: len(now)] == now


@pytest.mark.parametrize("layout", ["inline", "personagpt"])
def test_training_examples_agree_with_prompts(layout: str) -> None:
    """Before every line that is learnt stands exactly what the speaker is shown at that moment."""
    t = tiny_tokenizer()
    goals = tuple(turn.goals[0] if turn.goals else None for turn in TALK.turns)
    examples = line_examples(layout, t, TALK, 400, lambda found: found[0])
    for turn in range(3):
        shown = prompt(layout, t, (), TALK.utterances[: 2 * turn], goals[: turn + 1], 400).ids
        line = (*t.encode(TALK.turns[turn].line), t.eos)
        example = examples[0] if layout == "inline" else examples[turn]
        assert example.ids[: len(shown) + len(line)] == (*shown, *line)
        assert all(example.learnt[len(shown) : len(shown) + len(line)])


def test_mask_covers_exactly_the_replies() -> None:
    t = tiny_tokenizer()
    (example,) = responder_examples(t, TALK, 400)
    learnt = [i for i, target in zip(example.ids, example.learnt, strict=True) if target]
    assert learnt == [i for turn in TALK.turns for i in (*t.encode(turn.reply or ""), t.eos)]


def test_labelled_replies_cite_their_facts() -> None:
    tokenizer = tiny_tokenizer()
    turns = (
        Turn("do you have pets?", "yes, a cat.", (), (0,)),
        Turn("and besides?", "a nurse with a cat.", (), (0, 1)),
        Turn("how nice.", "thanks.", (), ()),
        Turn("bye!", "bye."),
    )
    dialogue = Dialogue(turns, Persona(("i have a cat.", "i am a nurse.")))
    (example,) = responder_examples(tokenizer, dialogue, 400)
    cited = [
        (
            tokenizer.decode(example.ids[each.start : each.stop - 1]),
            [tokenizer.decode(example.ids[start:stop]) for start, stop in each.sources],
        )
        for each in example.citations
    ]
    assert cited[:2] == [("yes, a cat.", ["i have a cat."]), ("a nurse with a cat.", ["i have a cat.", "i am a nurse."])]
    assert cited[2][0] == "thanks." and example.citations[2].sources == ((0, 1),)
    assert len(cited) == 3  # of the last reply nothing is known
    assert all(example.learnt[each.start : each.stop] == (True,) * (each.stop - each.start) for each in example.citations)


def test_plain_pass_learns_every_utterance() -> None:
    t = tiny_tokenizer()
    (example,) = plain_examples(t, TALK, 400)
    assert sum(example.learnt) == sum(len(t.encode(text)) + 1 for text in TALK.utterances)


def test_long_talks_are_cut_into_windows_that_lose_no_reply() -> None:
    t = tiny_tokenizer()
    long = Dialogue(TALK.turns * 10, Persona(PERSONA))
    examples = responder_examples(t, long, 120)
    assert len(examples) > 1 and all(len(example.ids) <= 120 for example in examples)
    assert sum(sum(example.learnt) for example in examples) == 10 * sum(responder_examples(t, TALK, 400)[0].learnt)


def test_oldest_turns_are_dropped_and_the_header_stays() -> None:
    t = tiny_tokenizer()
    history = TALK.utterances * 10 + ("and now?",)
    shown = prompt("inline", t, PERSONA, history, (), 150)
    head = header(t, P2, PERSONA)
    tail = [*t.encode("and now?"), t.eos]
    assert shown.dropped_turns > 0 and len(shown.ids) <= 150
    assert list(shown.ids[: len(head)]) == head and list(shown.ids[-len(tail) :]) == tail


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("side", [0, 1])
def test_a_full_context_is_cut_to_a_quarter_and_then_filled_again(layout: str, side: int) -> None:
    """So what was read is read anew rarely: between drops a prompt is the one before with something added."""
    t = tiny_tokenizer()
    texts = (TALK.utterances * 20)[:60]
    room, drops, sizes = 260, [], []
    bare = len(header(t, (P1, P2)[side], PERSONA))
    for turn in range(30):
        goals = tuple("ask about pets." if i % 3 else None for i in range(turn + 1))
        shown = prompt(layout, t, PERSONA, texts[: 2 * turn + side], () if side else goals, room)
        drops.append(shown.dropped_turns)
        sizes.append(len(shown.ids))
        assert len(shown.ids) <= room
    changes = [i for i in range(1, 30) if drops[i] != drops[i - 1]]
    assert drops == sorted(drops) and len(changes) >= 2
    longest = max(len(t.encode(a)) + len(t.encode(b)) for a, b in zip(texts[::2], texts[1::2], strict=True)) + 20
    for i in changes:
        assert sizes[i] <= bare + (room - bare) / 4 + 20 and sizes[i - 1] > room - longest
        assert drops[i] - drops[i - 1] >= 2


def test_what_cannot_fit_is_refused() -> None:
    with pytest.raises(InputError, match="need more than the 30 tokens"):
        prompt("inline", tiny_tokenizer(), PERSONA * 5, ("hello",), (), 30)


def test_unknown_layout_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="personagpt"):
        prompt("personagtp", tiny_tokenizer(), (), (), (None,), 100)


def test_wrong_number_of_goals_is_refused() -> None:
    with pytest.raises(InputError, match="must have 2 entries"):
        prompt("inline", tiny_tokenizer(), (), ("a", "b"), (None,), 100)


nasty = st.lists(
    st.one_of(st.text(max_size=12), st.sampled_from([*CONTROL_TOKENS, EOS, "\0", "\U0001f600", " <|act|> ", "<|endoftext|"])),
    max_size=6,
).map("".join)


@given(nasty)
@settings(max_examples=200, deadline=None)
def test_no_text_becomes_a_control_token(text: str) -> None:
    t = tiny_tokenizer()
    assert not set(t.encode(text)) & set(t.control_ids)


@given(nasty, nasty, nasty)
@settings(max_examples=60, deadline=None)
def test_prompts_hold_only_the_control_tokens_the_layout_puts_there(fact: str, line: str, reply: str) -> None:
    t = tiny_tokenizer()
    ids = prompt("inline", t, (fact,), (line, reply), (None, "ask about pets."), 5000).ids
    controls = [i for i in ids if i in t.control_ids]
    wanted = [t.control(P1), t.eos, t.control(SEP), t.control(START), t.eos, t.eos, t.control(ACT), t.control(SEP)]
    assert controls == wanted


@given(st.text(alphabet="abcdefghij klmnop.,?!'", min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_text_survives_the_round_trip(text: str) -> None:
    from convogym.text import normalise

    t = tiny_tokenizer()
    assert t.decode(t.encode(text)) == normalise(text)


@pytest.mark.shared
def test_case_survives_the_published_vocabulary(gpt2: BPETokenizer) -> None:
    text = "Hi <|sep|> There! \U0001f600"
    assert gpt2.decode(gpt2.encode(text)) == text


def test_vocabulary_survives_saving(tmp_path: Path) -> None:
    t = tiny_tokenizer()
    t.save(tmp_path)
    again = BPETokenizer.load(tmp_path, lower=True)
    assert again.control_ids == t.control_ids and len(again) == len(t)
    assert again.encode("Do you have <|act|> pets?") == t.encode("Do you have <|act|> pets?")

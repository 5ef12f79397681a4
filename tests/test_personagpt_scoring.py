"""PersonaGPT's own protocol against computations by hand, token by token."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny import tiny_model

from convogym.agents.personagpt_scoring import Forced, set_f1, teacher_forced
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import InputError
from convogym.layouts import P1, P2, header

TALK = Dialogue(
    (Turn("hello there.", "hi, how are you?"), Turn("fine.", "good to hear.")),
    Persona(("i have two dogs.",)),
    Persona(("i am a nurse.",)),
)


def by_hand(context: list[int], utterance: str, is_opening: bool) -> tuple[float, int, list[int], list[int]]:
    """(mean NLL, scored tokens, guesses, truth) of an utterance after a context, each token from a pass of its own."""
    model = tiny_model()
    losses, guesses = [], []
    ids = list(context)
    wanted = [*model.tokenizer.encode(utterance), model.tokenizer.eos]
    for token in wanted:
        with torch.no_grad():
            logits = model.network.logits(model.network.hidden(torch.tensor([ids]))[0, -1])
        losses.append(-float(torch.log_softmax(logits, -1)[token]))
        guesses.append(int(logits.argmax()))
        ids.append(token)
    first = 0 if is_opening else 1
    return float(np.mean(losses[first:])), len(wanted) - first, guesses[first:], wanted[first:-1]


def test_every_utterance_is_scored_after_its_speakers_persona_without_its_first_token() -> None:
    t = tiny_model().tokenizer
    said = [[*t.encode(text), t.eos] for text in TALK.utterances]
    heads = [header(t, P1, ("i am a nurse.",)), header(t, P2, ("i have two dogs.",))]
    [found] = teacher_forced(tiny_model(), [TALK])
    assert len(found) == 4
    for place, which in enumerate((1, 3, 0, 2)):  # speaker 2's utterances come first
        context = [*heads[which % 2], *(i for ids in said[:which] for i in ids)]
        nll, tokens, guesses, truth = by_hand(context, TALK.utterances[which], is_opening=which == 0)
        assert found[place].nll == pytest.approx(nll, rel=1e-4)
        assert found[place].tokens == tokens
        before_end = guesses[: guesses.index(t.eos)] if t.eos in guesses else guesses
        assert found[place].f1 == pytest.approx(set_f1(before_end, truth))


def test_f1_is_of_sets_over_lengths_with_a_thousandth_below() -> None:
    """Guess 5 5 7 (3 tokens), truth 5 8 (2): one id in both; P 1/3, R 1/2."""
    assert set_f1([5, 5, 7], [5, 8]) == pytest.approx(2 / 6 / (5 / 6 + 1e-3))
    assert set_f1([1, 2], [1, 2]) == pytest.approx(2 / 2.001)
    assert set_f1([], [3]) == set_f1([4], [3]) == 0.0


def test_a_second_end_for_nothing_lowers_the_mean() -> None:
    assert Forced(nll=3.0, tokens=4, f1=None).nll_two_ends == pytest.approx(12 / 5)


def test_only_twenty_utterances_of_a_dialogue_count() -> None:
    long = Dialogue(tuple(Turn(f"line {i}.", f"reply {i}.") for i in range(12)))
    assert len(teacher_forced(tiny_model(), [long])[0]) == 20


def test_an_utterance_of_one_token_has_no_f1() -> None:
    t = tiny_model().tokenizer
    word = next(w for w in ("i", "a", ".", "!", "?") if len(t.encode(w)) == 1)
    [[reply, _]] = teacher_forced(tiny_model(), [Dialogue((Turn("hello.", word),))])
    assert reply.f1 is None and reply.tokens == 1


def test_a_turn_longer_than_the_context_is_refused() -> None:
    with pytest.raises(InputError, match="longer than the 128 tokens"):
        teacher_forced(tiny_model(n_positions=128), [Dialogue((Turn("hello.", "very " * 300 + "long."),))])

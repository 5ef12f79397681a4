"""One speaker for many threads: batches, rows, errors; and nobody's answer depends on who else asks."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from fakes import EchoSpeaker
from tiny import tiny_model

from convogym.agents.sampling import Sampling
from convogym.agents.shared import SharedSpeaker
from convogym.errors import InputError
from convogym.speakers import Request, Utterance


def request(slot: int, text: str = "hi", seed: int = 0) -> Request:
    return Request(slot, ("i have a dog.", "i am a nurse."), (text,), (), np.random.default_rng([slot, seed]).random(12))


class Slow(EchoSpeaker):
    """Waits at its first call until it is let go; refuses the word "bad"."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.may_go = threading.Event(), threading.Event()

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        self.has_begun.set()
        assert self.may_go.wait(20)
        if any(each.history[-1] == "bad" for each in requests):
            raise InputError("bad")
        return super().speak(requests)


def ask_while_it_speaks(speaker: Slow, later: Sequence[Sequence[Request]], rows: int = 64) -> list[object]:
    """Asks once, and the rest while that is being answered; gives the answers' texts or the errors of the rest."""
    shared = SharedSpeaker(speaker, rows)

    def ask(requests: Sequence[Request]) -> object:
        try:
            return [each.text for each in shared.speak(requests)]
        except InputError as error:
            return error

    with ThreadPoolExecutor(16) as threads:
        first = threads.submit(ask, [request(0)])
        assert speaker.has_begun.wait(20)
        rest = [threads.submit(ask, each) for each in later]
        while len(shared._waiting) < len(later):
            pass
        speaker.may_go.set()
        first.result(20)
        return [each.result(20) for each in rest]


def alone(each: Request) -> str:
    return EchoSpeaker().speak([each])[0].text


def test_what_is_asked_meanwhile_is_answered_in_one_batch_each_to_who_asked() -> None:
    speaker = Slow()
    later = [[request(slot)] for slot in range(1, 6)] + [[request(6), request(7)]]
    answers = ask_while_it_speaks(speaker, later)
    assert speaker.batches == [1, 7]
    assert answers == [[alone(each) for each in requests] for requests in later]


def test_one_who_asks_badly_alone_gets_the_error() -> None:
    answers = ask_while_it_speaks(Slow(), [[request(1)], [request(2, "bad")], [request(3)]])
    assert answers[0] == [alone(request(1))] and answers[2] == [alone(request(3))]
    assert isinstance(answers[1], InputError)


def test_two_requests_for_one_slot_are_answered_one_after_the_other() -> None:
    speaker = Slow()
    answers = ask_while_it_speaks(speaker, [[request(1)], [request(1, seed=1)]])
    assert speaker.batches == [1, 1, 1]
    assert answers == [[alone(request(1))], [alone(request(1, seed=1))]]


def test_batches_and_rows_stay_within_the_bound() -> None:
    speaker = Slow()
    later = [[request(slot)] for slot in range(1, 11)]
    answers = ask_while_it_speaks(speaker, later, rows=4)
    assert sum(speaker.batches) == 11 and max(speaker.batches) == 4
    assert {each.slot for each in speaker.requests} <= set(range(4))
    assert answers == [[alone(each) for each in requests] for requests in later]
    with pytest.raises(InputError, match="at most 4"):
        SharedSpeaker(EchoSpeaker(), 4).speak([request(slot) for slot in range(5)])


def test_a_talk_keeps_its_row_as_long_as_no_other_needs_it() -> None:
    speaker = EchoSpeaker()
    shared = SharedSpeaker(speaker, 2)
    for slot in (7, 9, 7, 5, 7, 9):
        shared.speak([request(slot)])
    assert [each.slot for each in speaker.requests] == [0, 1, 0, 1, 0, 1]  # 9 lost its row to 5, and took it back


def test_a_real_model_says_to_many_threads_what_it_says_to_one() -> None:
    model = tiny_model()
    sampling = Sampling(max_tokens=8)
    requests = [request(slot, text) for slot, text in enumerate(["hello", "how are you?", "any pets?"] * 5)]
    expected = [model.responder(sampling).speak([each])[0].text for each in requests]
    shared = SharedSpeaker(model.responder(sampling), rows=6)
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda each: shared.speak([each])[0].text, requests))
    assert said == expected


def test_everybody_hears_their_own_utterance_grow_and_listening_changes_nothing() -> None:
    model = tiny_model()
    sampling = Sampling(max_tokens=12)
    heard: dict[int, list[str]] = {0: [], 1: [], 2: []}
    silent = [request(slot) for slot in range(4)]
    listening = [replace(each, heard=heard[each.slot].append if each.slot in heard else None) for each in silent]
    said = SharedSpeaker(model.responder(sampling)).speak(listening)
    assert [each.text for each in said] == [each.text for each in model.responder(sampling).speak(silent)]
    for slot, texts in heard.items():
        assert len(texts) >= said[slot].tokens - 1 > 1
        assert texts == sorted(texts, key=len) and said[slot].text.startswith(texts[-1])
    assert listening[0] == replace(silent[0], noise=listening[0].noise)  # who listens is no part of what is asked

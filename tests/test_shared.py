"""One speaker for many threads: batches, rows, errors; and nobody's answer depends on who else asks."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from fakes import EchoSpeaker, Key
from tiny import tiny_model

from convogym.agents import speaking
from convogym.agents.sampling import Sampling
from convogym.agents.shared import PASSING, SharedSpeaker
from convogym.errors import InputError
from convogym.speakers import Request, Utterance


def request(slot: int, text: str = "hi", seed: int = 0) -> Request:
    return Request(slot, ("i have a dog.", "i am a nurse."), (text,), (), np.random.default_rng([slot, seed]).random(12))


class Slow(EchoSpeaker):
    """Waits at its first call until it is let go; refuses the word "bad", and breaks at the word "broken"."""

    def __init__(self) -> None:
        super().__init__()
        self.has_begun, self.may_go = threading.Event(), threading.Event()
        self.joined: list[int] = []  # how many, each time somebody did

    def attend(
        self, asked: Callable[[], Iterable[tuple[Key, Request]]], answered: Callable[[Key, Utterance | Exception], None]
    ) -> None:
        def counted() -> Iterable[tuple[Key, Request]]:
            joining = list(asked())
            self.joined += [len(joining)] if joining else []
            return joining

        super().attend(counted, answered)

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        self.has_begun.set()
        assert self.may_go.wait(20)
        if any(each.history[-1] == "bad" for each in requests):
            raise InputError("bad")
        if any(each.history[-1] == "broken" for each in requests):
            raise RuntimeError("broken")
        return super().speak(requests)


def ask_while_it_speaks(speaker: Slow, later: Sequence[Sequence[Request]], rows: int = 64) -> list[object]:
    """Asks once, and the rest while that is being answered; gives the answers' texts or the errors of the rest."""
    shared = SharedSpeaker(speaker, rows)

    def ask(requests: Sequence[Request]) -> object:
        try:
            return [each.text for each in shared.speak(requests)]
        except (InputError, RuntimeError) as error:
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


def test_all_who_asked_meanwhile_join_at_once_and_each_gets_their_own_answer() -> None:
    speaker = Slow()
    later = [[request(slot)] for slot in range(1, 6)] + [[request(6), request(7)]]
    answers = ask_while_it_speaks(speaker, later)
    assert speaker.joined == [1, 7]
    assert answers == [[alone(each) for each in requests] for requests in later]


def test_one_who_asks_badly_alone_gets_the_error() -> None:
    answers = ask_while_it_speaks(Slow(), [[request(1)], [request(2, "bad")], [request(3)]])
    assert answers[0] == [alone(request(1))] and answers[2] == [alone(request(3))]
    assert isinstance(answers[1], InputError)


def test_a_speaker_that_breaks_is_told_to_all_whom_it_was_answering_and_answers_who_comes_next() -> None:
    speaker = Slow()
    answers = ask_while_it_speaks(speaker, [[request(1, "broken")], [request(2)]])
    assert [type(each) for each in answers] == [RuntimeError, RuntimeError]
    assert answers[0] is not answers[1]  # two threads that raise one would write into each other's traceback
    shared = SharedSpeaker(speaker)
    for text in ("broken", "hi", "broken", "hi"):
        with pytest.raises(RuntimeError, match="broken") if text == "broken" else nullcontext():
            assert shared.speak([request(1, text)])[0].text == alone(request(1))


def test_who_waits_for_a_slot_makes_nobody_else_wait() -> None:
    speaker = Slow()
    answers = ask_while_it_speaks(
        speaker, [[request(1)], [request(1, seed=1), request(2)], [request(2, seed=1)], [request(3)]]
    )
    assert speaker.joined == [1, 2, 2, 1]  # 0; 1 and 3; 1 again with 2; 2 again
    assert answers[2] == [alone(request(2, seed=1))]


def test_two_requests_for_one_slot_are_answered_one_after_the_other() -> None:
    speaker = Slow()
    answers = ask_while_it_speaks(speaker, [[request(1)], [request(1, seed=1)]])
    assert speaker.joined == [1, 1, 1]
    assert answers == [[alone(request(1))], [alone(request(1, seed=1))]]


def test_batches_and_rows_stay_within_the_bound() -> None:
    speaker = Slow()
    later = [[request(slot)] for slot in range(1, 11)]
    answers = ask_while_it_speaks(speaker, later, rows=4)
    assert sum(speaker.joined) == 11 and max(speaker.joined) == 4
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


def test_lines_that_may_never_be_said_share_half_of_the_rows_and_no_talk_loses_its_own_to_them() -> None:
    """Each talk's eleven lines looked ahead at had rows of their own: six people took all the 64."""
    speaker = EchoSpeaker()
    shared = SharedSpeaker(speaker, 8)
    shared.speak([request(slot) for slot in range(4)])
    kept = {each.slot for each in speaker.requests}
    for place in (1, 2, 3):
        shared.speak([request(PASSING * place + number) for number in range(4)])
    shared.speak([request(slot) for slot in range(4)])
    assert {each.slot for each in speaker.requests[-4:]} == kept
    shared.speak([request(PASSING + number) for number in range(8)])  # more than half at one time are answered all the same
    assert len({each.slot for each in speaker.requests[-8:]}) == 8
    shared.speak([request(9)])
    assert [slot for slot in shared._row_of if slot < PASSING] == [9]  # and lose first what is more than half
    shared.speak([request(slot) for slot in range(10, 13)])
    assert [slot for slot in shared._row_of if slot < PASSING] == [9, 10, 11, 12]


def test_what_is_wrong_with_one_request_ends_nobody_elses() -> None:
    """Too little noise, a text that is none, a listener that raises: each ended all who were being answered."""
    model = tiny_model()
    sampling = Sampling(max_tokens=8)
    expected = [model.responder(sampling).speak([request(slot)])[0].text for slot in range(6)]
    ends = list[str]()

    def fail(text: str) -> None:
        ends.append(text)
        raise OSError("nobody is there")

    asked = [
        request(0),
        replace(request(1), noise=np.zeros(7)),
        request(2),
        replace(request(3), history=(None,)),  # type: ignore[arg-type]  # the mistake
        replace(request(4), heard=fail),
        request(5),
    ]
    answers = dict[int, Utterance | Exception]()
    queue = deque(enumerate(asked))

    def joining() -> Iterable[tuple[int, Request]]:
        return [queue.popleft()] if queue else []

    model.responder(sampling).attend(joining, lambda key, answer: answers.update({key: answer}))
    said = {key: answer.text for key, answer in answers.items() if isinstance(answer, Utterance)}
    assert said == {key: expected[key] for key in (0, 2, 4, 5)}
    assert isinstance(answers[1], InputError) and "at least 8" in str(answers[1])
    assert isinstance(answers[3], Exception) and len(ends) == 1


def test_a_speaker_asks_again_after_all_who_asked_were_refused() -> None:
    model = tiny_model()
    queue = deque([(0, replace(request(0), noise=np.zeros(1))), (1, request(1))])
    answers = dict[int, Utterance | Exception]()
    model.responder(Sampling(max_tokens=8)).attend(
        lambda: [queue.popleft()] if queue else [], lambda key, answer: answers.update({key: answer})
    )
    assert isinstance(answers[0], InputError) and isinstance(answers[1], Utterance)


def test_two_threads_on_one_taught_speaker_do_not_wait_for_each_other_for_ever() -> None:
    """One spoke a taught line and wanted the network of replies, the other spoke a reply and wanted that of taught lines."""
    model, goal = tiny_model(), "talk about sports."
    model.taught, model.taught_network = (goal,), tiny_model(seed=1).network
    speaker, noise = model.responder(Sampling(max_tokens=12)), np.random.default_rng(0).random((4, 12))
    begun, other_begun, said = threading.Event(), threading.Event(), list[int]()

    def wait(text: str) -> None:
        if not begun.is_set():
            begun.set()
            other_begun.wait(0.5)  # in vain where one waits until the other has ended

    def first() -> None:
        line = Request(0, (), (), (goal,), noise[0], wait)
        coming = deque([[(0, line)], [(1, Request(1, ("i have a dog.",), ("hi",), (), noise[1]))]])  # one a step
        speaker.attend(lambda: coming.popleft() if coming else [], lambda key, answer: said.append(key))

    def second() -> None:
        assert begun.wait(20)
        line = Request(2, (), (), ("ask about pets.",), noise[2], lambda text: other_begun.set())
        speaker.speak([line, Request(3, (), (), (goal,), noise[3])])
        said.append(2)

    threads = [threading.Thread(target=each, daemon=True) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(said) == [0, 1, 2]


def test_only_the_texts_asked_for_last_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "FACTS", 3)
    speaker = tiny_model().responder()
    texts = [f"i have {number} dogs." for number in range(7)]
    together = speaker.embed(texts)
    assert speaker._embedded.cache_info().currsize == 3
    assert together.tobytes() == np.stack([speaker.embed([text])[0] for text in texts]).tobytes()


def test_a_real_model_says_to_many_threads_what_it_says_to_one() -> None:
    model = tiny_model()
    sampling = Sampling(max_tokens=8)
    requests = [request(slot, text) for slot, text in enumerate(["hello", "how are you?", "any pets?"] * 5)]
    expected = [model.responder(sampling).speak([each])[0].text for each in requests]
    shared = SharedSpeaker(model.responder(sampling), rows=6)
    with ThreadPoolExecutor(8) as threads:
        said = list(threads.map(lambda each: shared.speak([each])[0].text, requests))
    assert said == expected


def test_who_asks_in_the_middle_of_others_utterances_joins_them_and_is_said_what_is_said_to_one_alone() -> None:
    """Every token that anybody hears lets another ask, who must be heard before those who spoke then have ended."""
    model = tiny_model()
    sampling = Sampling(max_tokens=12)
    requests = [request(slot, "hello there. " * slot) for slot in range(12)]
    expected = [model.responder(sampling).speak([each])[0] for each in requests]
    shared = SharedSpeaker(model.responder(sampling), rows=8)
    hears, heard = [threading.Event() for _ in range(13)], list[int]()

    def ask(number: int) -> Utterance:
        def hear(text: str) -> None:
            heard.append(number)
            if not hears[number].is_set():
                hears[number].set()
                while number < 11 and not any(job.requests[0].slot == number + 1 for job in list(shared._waiting)):
                    pass  # the next one asks before this step is over

        assert number == 0 or hears[number - 1].wait(20)
        return shared.speak([replace(requests[number], heard=hear)])[0]

    with ThreadPoolExecutor(12) as threads:
        said = list(threads.map(ask, range(12)))
    for one, other in zip(said, expected, strict=True):
        assert (one.text, one.log_prob) == (other.text, other.log_prob)
        assert one.features.tobytes() == other.features.tobytes()
    last = {number: place for place, number in enumerate(heard)}
    assert sum(heard.index(number + 1) < last[number] for number in range(11)) > 6  # they spoke at one time


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

"""The least time talks can take: what has to be computed is counted right, and so is what it costs."""

import itertools

import numpy as np
import pytest
from tiny import count_tokens, tiny_model

from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.agents.speaking import ModelSpeaker
from convogym.experiments.matrix_floor import (
    RowCost,
    Work,
    floor_seconds,
    memory_rate,
    memory_seconds,
    needed_work,
    row_operations,
    row_seconds,
)
from convogym.experiments.scripted_talks import Script, Talked, converse
from convogym.layouts import P1, P2, goal_marker, header
from convogym.speakers import Request

FACTS = ("i have two dogs.", "i am a nurse.")
GOALS = ("ask about pets.", "talk about work.", "talk about music.")
SAID = ("do you have pets?", "yes, two dogs.", "what do you do?", "i am a nurse.", "do you like music?", "i sing.")


def script(max_tokens: int = 8) -> Script:
    rng = np.random.default_rng(0)
    return Script(
        tuple((Request(0, (), (), GOALS[: turn + 1], rng.random(max_tokens)),) for turn in range(3)),
        tuple((Request(0, FACTS, (), (), rng.random(max_tokens)),) for _ in range(3)),
    )


def lengths(model: LanguageModel) -> list[int]:
    """Tokens of every utterance, its eos included."""
    return [len(model.tokenizer.encode(text)) + 1 for text in SAID]


def test_a_tiny_network_has_the_operations_counted_by_hand() -> None:
    network = tiny_model().network  # 400 ids, 32 wide, 2 layers
    assert row_operations(network) == RowCost(2 * 2 * (32 * 96 + 32 * 32 + 2 * 32 * 128), 2 * 400 * 32)


@pytest.mark.parametrize("in_bytes", [False, True])
def test_a_row_takes_time(in_bytes: bool) -> None:
    cost = row_seconds(tiny_model().network, 4, in_bytes)
    assert 0 < cost.layers < 1 and 0 < cost.output < 1


def test_the_floor_is_reading_and_drawing() -> None:
    work = Work(read=100, drawn=30, seen=0, utterances=10)
    assert floor_seconds(work, 2.0, RowCost(5.0, 7.0)) == 100 * 2 + (30 - 10) * 5 + 30 * 7


def test_memory_is_read_once_a_step_and_once_a_look() -> None:
    """By hand: 100 tokens read at 2 s; 3 steps of ten rows read all weights, 50 looks a key and a value of each layer."""
    model = tiny_model()  # two layers, 32 wide, four heads
    weights = model.num_parameters + 3 * 32 * 512  # the matrices' in a byte each, the places' in four
    work = Work(read=100, drawn=30, seen=50, utterances=10)
    expected = 100 * 2 + (3 * weights + 50 * 2 * (2 * 32 + 2 * 4 * 4)) / 1e6  # numbers of a byte, and each head's steps
    assert memory_seconds(model.network, work, 2.0, 10, 1e6) == pytest.approx(expected, rel=0.002)  # columns are padded
    assert memory_rate(model.device) > 1e8


def test_inline_everything_is_read_once_by_each_speaker() -> None:
    """Of an own utterance only the eos that ended it has to be read: what drew it knows the rest."""
    model, n = tiny_model("inline"), lengths(tiny_model())
    talked = Talked((SAID,), tokens=sum(n), seconds=(1.0,) * 3)
    goal_speaker = len(header(model.tokenizer, P1, ())) + sum(len(goal_marker(model.tokenizer, goal)) for goal in GOALS)
    goal_speaker += 2 + n[1] + n[3]
    responder = len(header(model.tokenizer, P2, FACTS)) + n[0] + n[2] + n[4] + 2
    work = needed_work(model, script(), talked, 8)
    assert (work.read, work.drawn, work.utterances) == (goal_speaker + responder, sum(n), 6)
    prompts = [model.prompt((), SAID[: 2 * turn], GOALS[: turn + 1], 500).ids for turn in range(3)]
    prompts += [model.prompt(FACTS, SAID[: 2 * turn + 1], (), 500).ids for turn in range(3)]
    contexts = zip(prompts, (n[0], n[2], n[4], n[1], n[3], n[5]), strict=True)
    assert work.seen == sum(len(ids) + drawn for ids, count in contexts for drawn in range(count))


def test_personagpt_reads_all_behind_its_goal_again() -> None:
    model, n = tiny_model("personagpt"), lengths(tiny_model())
    talked = Talked((SAID,), tokens=sum(n), seconds=(1.0,) * 3)
    tokenizer = model.tokenizer
    prompts = [header(tokenizer, P1, (), goal) for goal in GOALS]
    whole = sum(map(len, prompts)) + (n[0] + n[1]) + sum(n[:4])
    shared = sum(next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y) for a, b in itertools.pairwise(prompts))
    responder = len(header(tokenizer, P2, FACTS)) + n[0] + n[2] + n[4] + 2
    assert needed_work(model, script(), talked, 8).read == whole - shared + responder


@pytest.mark.parametrize("layout", ["inline", "personagpt"])
def test_the_decoder_computes_at_least_what_is_needed(layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(layout)
    computed = count_tokens(monkeypatch)
    sampling = Sampling(max_tokens=8)
    talked = converse(script(), ModelSpeaker(model, sampling).exchange)
    work = needed_work(model, script(), talked, 8)
    needed = work.read + work.drawn - work.utterances
    assert 0.5 * sum(computed) < needed <= sum(computed)  # text read back has other tokens than those drawn, now and then

"""Scores of a model against computations by hand, and the commands' functions around them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fakes import FakeJudge
from tiny import tiny_model

from convogym import grammar
from convogym.agents import scoring
from convogym.agents.sampling import Sampling
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import CorpusError, InputError
from convogym.experiments.evaluate_goals import read_labelled_lines
from convogym.experiments.evaluate_model import evaluate_model
from convogym.experiments.finetune import pairs_of
from convogym.goals import DEFAULT_GOALS
from convogym.layouts import P2, header
from convogym.readers import write_dialogues

TALK = Dialogue((Turn("hello there.", "hi, how are you?"), Turn("fine.", "good to hear.")), Persona(("i have two dogs.",)))


def reply_log_prob(context: list[int], reply: str) -> float:
    """log p of a reply and its eos after a context, token by token."""
    model = tiny_model()
    ids, total = list(context), 0.0
    for token in (*model.tokenizer.encode(reply), model.tokenizer.eos):
        with torch.no_grad():
            logits = model.network.logits(model.network.hidden(torch.tensor([ids]))[0, -1])
        total += float(torch.log_softmax(logits, -1)[token])
        ids.append(token)
    return total


def contexts() -> list[list[int]]:
    t = tiny_model().tokenizer
    head = header(t, P2, ("i have two dogs.",))
    first = [*head, *t.encode("hello there."), t.eos]
    return [first, [*first, *t.encode("hi, how are you?"), t.eos, *t.encode("fine."), t.eos]]


def test_word_perplexity_is_total_nll_over_words_and_ends() -> None:
    """Two replies of 4 and 3 white-space words: 4 + 1 + 3 + 1 = 9 in the denominator."""
    nll = -sum(reply_log_prob(c, r) for c, r in zip(contexts(), ("hi, how are you?", "good to hear."), strict=True))
    found = scoring.likelihood(tiny_model(), [TALK])
    assert found.words.tolist() == [9]
    assert found.nll[0] == pytest.approx(nll, rel=1e-4)
    assert found.ppl_word == pytest.approx(np.exp(nll / 9), rel=1e-3)


def test_a_turn_longer_than_the_context_is_refused() -> None:
    long = Dialogue((Turn("hello.", "very " * 300 + "long."),))
    with pytest.raises(InputError, match="longer than the 128 tokens"):
        scoring.likelihood(tiny_model(n_positions=128), [long])


def test_candidates_are_scored_by_what_the_context_adds() -> None:
    model = tiny_model()
    candidates = ["hi, how are you?", "no.", "i have a cat and a dog and a bird."]

    def alone(text: str) -> float:
        return scoring.unconditional_log_prob(model, text)

    scores = scoring.candidate_scores(model, TALK, 0, candidates, alone)
    bare = header(model.tokenizer, P2, ())
    expected = [reply_log_prob(contexts()[0], c) - reply_log_prob(bare, c) for c in candidates]
    np.testing.assert_allclose(scores, expected, atol=2e-3)


def test_generated_replies_do_not_depend_on_how_many_run_together() -> None:
    rng = np.random.default_rng(0)
    talks = [grammar.dialogue(rng, "train", 3) for _ in range(5)]
    a = scoring.generated_replies(tiny_model(), talks, Sampling(max_tokens=8), 1, rows=1)
    b = scoring.generated_replies(tiny_model(), talks, Sampling(max_tokens=8), 1, rows=5)
    assert a == b and [len(each) for each in a] == [3] * 5


def test_every_goal_is_tried_in_every_context() -> None:
    rng = np.random.default_rng(0)
    moments = scoring.contexts_of([grammar.dialogue(rng, "train", 4) for _ in range(3)], 4, rng)
    lines = scoring.steered_lines(tiny_model(), FakeJudge(), moments, DEFAULT_GOALS, 0, Sampling(max_tokens=6), rows=7)
    assert [(line.context, line.action) for line in lines] == [(c, a) for c in range(4) for a in range(11)]
    assert all(line.text for line in lines)


def test_evaluate_model_reports_every_score(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_dialogues(tmp_path / "talks.jsonl", [grammar.dialogue(rng, "held-out", 4) for _ in range(8)])
    tiny_model().save(tmp_path / "model")
    found = evaluate_model(str(tmp_path / "model"), tmp_path / "talks.jsonl", None, 0)
    assert found["n"] == 32 and found["dialogues"] == 8
    assert 0 <= found["f1"] <= 1 and 0 <= found["hits_at_1"] <= 1 and found["ppl_word"] > 1
    low, high = found["ppl_word_interval"]
    assert low <= found["ppl_word"] <= high
    json.dumps(found, allow_nan=False)


def test_ranking_needs_enough_replies(tmp_path: Path) -> None:
    write_dialogues(tmp_path / "talks.jsonl", [TALK])
    tiny_model().save(tmp_path / "model")
    with pytest.raises(InputError, match="more than 19 different replies"):
        evaluate_model(str(tmp_path / "model"), tmp_path / "talks.jsonl", None, 0)


def test_labelled_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(
        '{"previous": "hi.", "text": "any pets?", "goals": [1]}\n\n{"previous": null, "text": "hm", "goals": []}\n'
    )
    assert read_labelled_lines(path) == [("hi.", "any pets?", (1,)), ("", "hm", ())]


@pytest.mark.parametrize(
    "bad",
    [
        '{"text": "x"}',
        "nonsense",
        '{"previous": "", "text": "x", "goals": [11]}',
        '{"previous": "", "text": 3, "goals": []}',
        "[1]",
    ],
)
def test_bad_labelled_lines_name_file_and_line(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text('{"previous": "", "text": "x", "goals": []}\n' + bad + "\n")
    with pytest.raises(CorpusError, match=r"lines\.jsonl:2: expected"):
        read_labelled_lines(path)


def test_pairs_take_corrections_whatever_they_say_and_lines_that_followed() -> None:
    from convogym.episodes import Episode, TurnRecord

    def turn(number: int, action: int, line: str, **more: object) -> TurnRecord:
        return TurnRecord(number, action, DEFAULT_GOALS.text(action), line, "well.", 0.0, **more)  # type: ignore[arg-type]

    episode = Episode(
        id="a" * 32,
        schema=1,
        created="2026-01-01T00:00:00+00:00",
        seed=0,
        policy="random",
        responder="m",
        goal_speaker="m",
        persona=("i have two dogs.",),
        goals=DEFAULT_GOALS.goals,
        turns=(
            turn(1, 1, "do you have pets?"),
            turn(2, 2, "zzz", corrected_line="what is your job?"),
            turn(3, 6, "zzz", corrected_reply="i knit."),
            turn(4, 1, "any cats?", faults={"cut_off": True}),
        ),
    )

    class Judge:
        """Sure that a line with a question mark asks about pets."""

        def probabilities(self, previous: Sequence[str], lines: Sequence[str]) -> npt.NDArray[np.float64]:
            chances = np.zeros((len(lines), 11))
            chances[:, 1] = ["?" in line for line in lines]
            return chances

    pairs, counts = pairs_of([episode], Judge())
    assert counts == {"episodes": 1, "corrected_lines": 1, "corrected_replies": 1, "followed_lines": 1}
    assert sorted(pair.target for pair in pairs) == ["do you have pets?", "i knit.", "what is your job?"]
    corrected = next(pair for pair in pairs if pair.target == "what is your job?")
    assert corrected.history == ("do you have pets?", "well.") and corrected.goals == ("ask about pets.", "talk about work.")
    reply = next(pair for pair in pairs if pair.target == "i knit.")
    assert reply.persona == ("i have two dogs.",) and len(reply.history) % 2 == 1

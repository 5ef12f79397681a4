"""Scores of a model against computations by hand, and the commands' functions around them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fakes import FakeJudge, FakeMatcher
from tiny import tiny_model

from convogym import grammar
from convogym.agents import scoring
from convogym.agents.personagpt_scoring import teacher_forced
from convogym.agents.sampling import Sampling
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.episodes import SCHEMA
from convogym.errors import CorpusError, InputError
from convogym.experiments.confusion import write_confusion
from convogym.experiments.evaluate_goals import read_labelled_lines
from convogym.experiments.evaluate_model import evaluate_model
from convogym.experiments.finetune import pairs_of
from convogym.goals import DEFAULT_GOALS
from convogym.layouts import P2, header, prompt
from convogym.metrics import consensus
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


def test_the_matcher_helps_to_find_the_true_reply() -> None:
    """Every true reply has the words of its own persona alone, which the fake matcher counts and random weights do not see."""
    own = [" ".join(f"{animal}{i}" for animal in ("cat", "dog", "cow", "hen", "pig", "ant")) for i in range(12)]
    talks = [Dialogue((Turn("any pets?", text),), Persona((text,))) for text in own]
    ranked = scoring.ranks_of_gold(tiny_model(), FakeMatcher(), talks, seed=0, distractors=5)
    assert all(each.with_matcher.all() for each in ranked)
    assert np.concatenate([each.by_model for each in ranked]).mean() < 0.7


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


def test_mbr_keeps_the_candidate_the_others_agree_with_most() -> None:
    """The candidates are the draws of the dialogue's generator, one after the other at each turn."""
    rng = np.random.default_rng(0)
    talks = [grammar.dialogue(rng, "train", 2) for _ in range(3)]
    sampling = Sampling(max_tokens=8)
    found = scoring.generated_replies(tiny_model(), talks, sampling, 1, candidates=4)
    assert found == scoring.generated_replies(tiny_model(), talks, sampling, 1, rows=1, candidates=4)
    model = tiny_model()
    for i, talk in enumerate(talks):
        draws = np.random.default_rng([1, i])
        for turn in range(2):
            ids = prompt(
                "inline", model.tokenizer, talk.persona.facts if talk.persona else (), talk.utterances[: 2 * turn + 1], (), 500
            ).ids
            texts = []
            for _ in range(4):  # a decoder for each, so that nothing is shared
                [said] = model.decoder().generate([0], [ids], draws.random((1, 8)), sampling)
                texts.append(" ".join(model.tokenizer.decode(said.ids).split()))
            assert found[i][turn] == texts[consensus(texts, found[i][:turn])]


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
    found = evaluate_model(str(tmp_path / "model"), tmp_path / "talks.jsonl", None, 0, decoding="greedy")
    assert found["n"] == 32 and found["dialogues"] == 8
    assert 0 <= found["f1"] <= 1 and 0 <= found["hits_at_1"] <= 1 and found["ppl_word"] > 1
    for name in (
        "ppl_word",
        "ppl_token",
        "f1",
        "hits_at_1",
        "hits_at_1_with_matcher",
        "distinct_1",
        "distinct_2",
        "repetition",
        "reply_words",
    ):
        low, high = found[f"{name}_interval"]
        assert low <= found[name] <= high
    assert {"ppl_word", "ppl_token", "f1", "hits_at_1", "distinct", "repetition", "reply_words"} <= set(found["protocol"])
    assert found["protocol"]["decoding"] == "greedy" and not any(name.startswith("personagpt") for name in found)
    json.dumps(found, allow_nan=False)


def test_replies_of_a_stuck_model_repeat_and_lack_variety(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two talks of 3 replies, "i ski" each time but once "no": 3 of the 4 later ones repeat, whatever their punctuation."""
    talks = [Dialogue(tuple(Turn(f"line {i}.", f"reply {i}.") for i in range(3))) for _ in range(2)]
    write_dialogues(tmp_path / "talks.jsonl", talks)
    tiny_model().save(tmp_path / "model")
    said = [["i ski", "I ski.", "the i ski!"], ["i ski", "no", "i ski"]]
    monkeypatch.setattr(scoring, "generated_replies", lambda *args, **options: [each[:] for each in said])
    found = evaluate_model(str(tmp_path / "model"), tmp_path / "talks.jsonl", None, 0, hits=False)
    assert found["repetition"] == pytest.approx(3 / 4)
    assert found["distinct_1"] == pytest.approx(6 / 12)  # i, ski, ski., the, ski!, no
    assert found["distinct_2"] == pytest.approx(4 / 6)  # i ski, i ski., the i, i ski!; i ski comes three times
    assert found["reply_words"] == pytest.approx(12 / 6)


def test_personagpts_protocol_stands_alone_or_beside_the_others(tmp_path: Path) -> None:
    write_dialogues(tmp_path / "talks.jsonl", [TALK])
    tiny_model().save(tmp_path / "model")
    alone = evaluate_model(str(tmp_path / "model"), tmp_path / "talks.jsonl", None, 0, protocol="personagpt")
    assert "f1" not in alone and alone["personagpt_n"] == 4
    [forced] = teacher_forced(tiny_model(), [TALK])
    assert alone["personagpt_ppl"] == pytest.approx(np.exp(np.mean([each.nll for each in forced])))
    assert alone["personagpt_ppl_two_ends"] < alone["personagpt_ppl"]
    assert alone["personagpt_f1"] == pytest.approx(np.mean([each.f1 for each in forced if each.f1 is not None]))
    both = evaluate_model(str(tmp_path / "model"), tmp_path / "talks.jsonl", None, 0, hits=False, protocol="all")
    assert both["n"] == 2 and {name: both[name] for name in alone if name != "protocol"} == {
        name: value for name, value in alone.items() if name != "protocol"
    }
    for options in ({"protocol": "persona"}, {"decoding": "beam"}, {"decoding": "mbr", "candidates": 1}):
        with pytest.raises(InputError):
            evaluate_model(str(tmp_path / "model"), tmp_path / "talks.jsonl", None, 0, **options)


def test_decodings_say_how_they_draw(tmp_path: Path) -> None:
    write_dialogues(tmp_path / "talks.jsonl", [TALK])
    tiny_model().save(tmp_path / "model")
    found = {
        name: evaluate_model(
            str(tmp_path / "model"), tmp_path / "talks.jsonl", None, 3, hits=False, decoding=name, candidates=2
        )
        for name in ("greedy", "sample", "mbr")
    }
    assert found["sample"]["protocol"]["decoding"] == "sampled (top-k 10, top-p 0.92, temperature 1.0)"
    assert found["mbr"]["protocol"]["f1"] == "ParlAI word F1, mbr reply after the true history"
    assert found["greedy"]["protocol"]["f1"] == "ParlAI word F1, greedy reply after the true history"
    assert len({each["ppl_word"] for each in found.values()}) == 1


def test_confusion_is_written_as_csv_and_png(tmp_path: Path) -> None:
    written = write_confusion(tmp_path, [[3, 1], [0, 2]], ["ask.", "talk."], 4)
    assert (tmp_path / "confusion.csv").read_text().splitlines() == ["asked for,lines,ask.,talk.", "ask.,4,3,1", "talk.,4,0,2"]
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert written == [tmp_path / "confusion.csv", tmp_path / "confusion.png"]


def test_ranking_needs_enough_replies(tmp_path: Path) -> None:
    write_dialogues(tmp_path / "talks.jsonl", [TALK])
    tiny_model().save(tmp_path / "model")
    with pytest.raises(InputError, match="more than 19 different replies"):
        evaluate_model(str(tmp_path / "model"), tmp_path / "talks.jsonl", None, 0)


def test_labelled_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(
        '{"previous": "hi.", "text": "any pets?", "goals": [1]}\n\n'
        '{"previous": null, "text": "hm", "goals": [], "asked": 3, "context": 5}\n'
    )
    assert read_labelled_lines(path) == [("hi.", "any pets?", (1,), None, None), ("", "hm", (), 3, 5)]


@pytest.mark.parametrize(
    "bad",
    [
        '{"text": "x"}',
        "nonsense",
        '{"previous": "", "text": "x", "goals": [11]}',
        '{"previous": "", "text": 3, "goals": []}',
        '{"previous": "", "text": "x", "goals": [], "asked": "pets"}',
        '{"previous": "", "text": "x", "goals": "2"}',
        '{"previous": "", "text": "x", "asked": 1, "context": 0, "judged": [1]}',
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
        schema=SCHEMA,
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


def test_of_several_lines_the_one_most_like_the_others_is_said() -> None:
    model, wild = tiny_model(), Sampling(top_k=300, top_p=1.0, temperature=1.5, max_tokens=8)
    moments = [scoring.Context((), (), ()), scoring.Context((), ("hi.", "hello."), (None,))]
    goals = DEFAULT_GOALS.goals[:2]
    best = scoring.said_lines(model, moments, goals, 3, wild, candidates=5)
    first = scoring.said_lines(model, moments, goals, 3, wild)
    assert [line[:2] for line in best] == [line[:2] for line in first] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [line.text for line in best] != [line.text for line in first]
    decoder, room = model.decoder(), model.network.shape.n_positions - wild.max_tokens
    context = model.prompt((), moments[1].history, (None, goals[1]), room).ids
    noise = np.random.default_rng([3, 1, 1]).random((5, wild.max_tokens))
    drawn = [decoder.generate([0], [context], each[None], wild)[0].ids for each in noise]
    texts = [" ".join(model.tokenizer.decode(ids).split()) for ids in drawn]
    assert best[3].text == texts[consensus(texts, ["hi."])] and first[3].text == texts[0]

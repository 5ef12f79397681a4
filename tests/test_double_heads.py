"""TransferTransfo's input and two losses: against the transformers library, the published layout, and the decoder."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeMatcher
from tiny import tiny_tokenizer

from convogym import grammar
from convogym.agents.double_heads import (
    HEAD,
    Choosing,
    DoubleHeads,
    NextUtterance,
    choice_of,
    choices_of,
    head_scores,
    with_head,
)
from convogym.agents.gpt2 import GPT2Shape
from convogym.agents.loading import load
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.agents.scoring import likelihood, ranks_of_gold
from convogym.agents.tokenizer import BPETokenizer
from convogym.agents.training import Trainer, TrainingConfig
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import InputError
from convogym.speakers import Request
from convogym.transfertransfo import BOS, SPEAKER1, SPEAKER2, Question, prompt, questions_of, reply_example, rotated

FACTS = ("i have two dogs.", "i am a nurse.")
HISTORY = ("hello there.", "hi.", "do you have pets?")


def tt_model(outputs: int = 1, n_positions: int = 256) -> LanguageModel:
    """A tiny random model in the layout, its weights lively enough for its input to matter."""
    bpe = BPETokenizer.learn(
        [text for text in grammar.dialogue(np.random.default_rng(0), "train").utterances], 400, "transfertransfo"
    )
    model = LanguageModel.fresh("tt", GPT2Shape(len(bpe), n_positions, 32, 2, 4), bpe, "transfertransfo", 0)
    with torch.no_grad():
        for name, parameter in model.network.named_parameters():
            if parameter.dim() == 2 and "wpe" not in name:
                parameter.mul_(8.0)
    model.network = with_head(model.network, outputs, seed=1).eval()
    return model


def question(*candidates: str) -> Question:
    return Question(FACTS, HISTORY, candidates)


def head_of(model: LanguageModel) -> DoubleHeads:
    assert isinstance(model.network, DoubleHeads)
    return model.network


def test_segments_are_those_of_the_original() -> None:
    """The worked example of `build_input_from_segments`: the reply is speaker 1, the line before it speaker 2, and so on."""
    t = tt_model().tokenizer
    example = reply_example(t, FACTS, HISTORY, "yes, two.", 2, 200)
    one, two = t.control(SPEAKER1), t.control(SPEAKER2)
    persona = [t.control(BOS), *t.encode(FACTS[0]), *t.encode(FACTS[1])]
    said = [[two, *t.encode(HISTORY[0])], [one, *t.encode(HISTORY[1])], [two, *t.encode(HISTORY[2])]]
    reply = [*t.encode("yes, two."), t.eos]
    assert list(example.ids) == [*persona, *said[0], *said[1], *said[2], one, *reply]
    assert [i for i, learnt in zip(example.ids, example.learnt, strict=True) if learnt] == reply


def test_every_token_has_the_type_of_its_segment() -> None:
    model = tt_model()
    t = model.tokenizer
    example = reply_example(t, FACTS, HISTORY, "yes, two.", 2, 200)
    one, two = t.control(SPEAKER1), t.control(SPEAKER2)
    lengths = [1 + sum(len(t.encode(fact)) for fact in FACTS), *(1 + len(t.encode(text)) for text in HISTORY)]
    expected = [one] * lengths[0] + [two] * lengths[1] + [one] * lengths[2] + [two] * lengths[3]
    types = model.network.types(torch.tensor([example.ids]))
    assert types is not None
    assert types[0].tolist() == expected + [one] * (len(example.ids) - len(expected))


def test_only_the_window_is_read_and_what_does_not_fit_is_dropped() -> None:
    t = tt_model().tokenizer
    history = tuple(f"line {i}." for i in range(9))
    window = prompt(t, FACTS, history, 2, 200)
    assert window == prompt(t, FACTS, history[-5:], 2, 200) and window.dropped_turns == 0
    tight = prompt(t, FACTS, history, 2, len(window.ids) - 1)
    assert tight.dropped_turns == 1 and tight.ids == prompt(t, FACTS, history[-4:], 2, 200).ids
    with pytest.raises(InputError, match="shorten one of them"):
        prompt(t, FACTS, history, 2, 10)


def test_typed_speaker_tokens_stay_text() -> None:
    t = tt_model().tokenizer
    assert not set(t.encode("<speaker1> hi <eos> <bos> <|p2|>")) & set(t.control_ids)


def test_personas_are_rotated() -> None:
    assert [rotated(("a", "b", "c"), times) for times in range(4)] == [
        ("a", "b", "c"),
        ("c", "a", "b"),
        ("b", "c", "a"),
        ("a", "b", "c"),
    ]
    talk = Dialogue((Turn("hi", "hello", candidates=("no", "hello", "what")), Turn("bye", None)), Persona(FACTS))
    assert questions_of(talk, 2) == [
        Question(FACTS, ("hi",), ("no", "what", "hello")),
        Question(FACTS[::-1], ("hi",), ("no", "what", "hello")),
    ]


def reference_losses(model: LanguageModel, folder: Path, rows: Any) -> tuple[float, float]:
    """LM and choice loss by transformers' own double-heads model, read from the folder our model was saved to."""
    from transformers import GPT2DoubleHeadsModel

    theirs: Any = GPT2DoubleHeadsModel.from_pretrained(folder, summary_first_dropout=0.0)
    theirs.train(False)
    width = max(len(row.ids) for row in rows)
    ids = torch.zeros(1, len(rows), width, dtype=torch.long)
    types = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    last = torch.zeros(1, len(rows), dtype=torch.long)
    speakers = model.network.speakers
    for i, row in enumerate(rows):
        type_now = speakers[0]
        for j, (token, learnt) in enumerate(zip(row.ids, row.learnt, strict=True)):
            type_now = token if token in speakers else type_now
            ids[0, i, j], types[0, i, j] = token, type_now
            if learnt:
                labels[0, i, j] = token
        last[0, i] = len(row.ids) - 1
    with torch.inference_mode():
        out = theirs(ids, token_type_ids=types, labels=labels, mc_token_ids=last, mc_labels=torch.tensor([len(rows) - 1]))
    return float(out.loss), float(out.mc_loss)


def test_both_losses_equal_those_of_transformers(tmp_path: Path) -> None:
    model = tt_model()
    model.save(tmp_path / "tt")
    objective = Choosing(head_of(model), lm_coef=2.0, mc_coef=1.0)
    choice = choice_of(model, question("no.", "i like long walks by the sea.", "yes, two dogs."))
    counts = objective.counts([choice])
    terms = {name: float(term.detach()) / counts[name] for name, term in objective.sums([choice], 0.0, 0).items()}
    assert (terms["lm_loss"], terms["mc_loss"]) == pytest.approx(
        reference_losses(model, tmp_path / "tt", choice.rows), rel=1e-4
    )
    assert objective.shares == {"lm_loss": 2.0, "mc_loss": 1.0}


def test_losses_of_a_batch_are_those_of_its_choices() -> None:
    model = tt_model()
    objective = Choosing(head_of(model))
    some = [choice_of(model, question("no.", "yes.")), choice_of(model, question("a b c.", "d.", "i have two."))]
    alone = [objective.sums([choice], 0.0, 0) for choice in some]
    both = objective.sums(some, 0.0, 0)
    for name in ("lm_loss", "mc_loss"):
        torch.testing.assert_close(both[name], alone[0][name] + alone[1][name], rtol=1e-4, atol=1e-4)


def test_next_utterance_loss_by_hand() -> None:
    """Two candidates judged apart, the true one smoothed: each number computed from the network's bare outputs."""
    model = tt_model(outputs=2)
    network = head_of(model)
    objective = NextUtterance(network)
    choice = choice_of(model, question("no.", "yes, two."))
    lm, nup = 0.0, 0.0
    with torch.no_grad():
        for wanted, row in enumerate(choice.rows):
            hidden = network.hidden(torch.tensor([row.ids]))[0]
            head = network.multiple_choice_head.summary
            nup -= float(torch.log_softmax(head(hidden[-1]), -1)[wanted])
            for position, learnt in enumerate(row.learnt):
                if learnt:
                    log = torch.log_softmax(network.logits(hidden[position - 1]), -1)
                    lm -= 0.95 * float(log[row.ids[position]]) + 0.05 * float(log.mean())
    sums = objective.sums([choice], 0.0, 0)
    assert (float(sums["lm_loss"].detach()), float(sums["nup_loss"].detach())) == pytest.approx((lm, nup), rel=1e-4)
    assert objective.counts([choice]) == {"lm_loss": sum(choice.rows[-1].learnt), "nup_loss": 2}
    assert objective.shares == {"lm_loss": 0.6, "nup_loss": 0.4}


def test_both_heads_learn() -> None:
    model = tt_model()
    rng = np.random.default_rng(3)
    questions = [q for _ in range(6) for q in questions_of(grammar.dialogue(rng, "train", 3))]
    pool = [q.candidates[-1] for q in questions]
    asked = [dataclasses.replace(q, candidates=(pool[int(rng.integers(len(pool)))], q.candidates[-1])) for q in questions]
    choices, left_out = choices_of(model, asked)
    assert left_out == 0
    objective = Choosing(head_of(model))
    config = TrainingConfig(steps=90, batch_tokens=1500, warmup=4, other_lr=1e-2, matrix_lr=1e-2)
    seen = list(Trainer(objective, lambda number: choices, config).run())
    first, last = seen[0].terms, seen[-1].terms
    assert last["lm_loss"] < 0.6 * first["lm_loss"] and last["mc_loss"] < 0.6 * first["mc_loss"]
    right = np.mean([head_scores(head_of(model), choice).argmax() == 1 for choice in choices])
    assert right > 0.75


def test_what_does_not_fit_the_context_is_counted_not_cut() -> None:
    model = tt_model(n_positions=48)
    long = question("no.", " ".join(["dog"] * 60))
    assert choices_of(model, [question("no.", "yes."), long])[1] == 1


def test_a_saved_model_comes_back_with_its_head_window_and_types(tmp_path: Path) -> None:
    model = tt_model()
    model.max_history = 4
    model.save(tmp_path / "tt")
    again = load(tmp_path / "tt")
    assert isinstance(again.network, DoubleHeads) and again.max_history == 4
    assert again.layout == "transfertransfo" and again.network.speakers == model.network.speakers
    choice = choice_of(model, question("no.", "yes."))
    np.testing.assert_allclose(head_scores(head_of(again), choice), head_scores(head_of(model), choice), rtol=1e-5)


def test_decoding_token_by_token_computes_what_one_pass_does() -> None:
    """Types carry over from the cache: the speaker token stands in the prompt, the words come later."""
    model = tt_model()
    speaker = model.responder(Sampling(top_k=1, max_tokens=8))
    history = list(HISTORY)
    for _ in range(3):
        (said,) = speaker.speak([Request(0, FACTS, tuple(history), (), np.zeros(8))])
        ids = list(model.prompt(FACTS, history, (), 250).ids)
        expected = []
        for step in range(8):
            with torch.no_grad():
                logits = model.network.logits(model.network.hidden(torch.tensor([ids]))[0, -1])
            logits[[i for i in model.tokenizer.control_ids if i != model.tokenizer.eos]] = -math.inf
            if step == 0:
                logits[model.tokenizer.eos] = -math.inf
            ids.append(int(logits.argmax()))
            if ids[-1] == model.tokenizer.eos:
                break
            expected.append(ids[-1])
        assert " ".join(model.tokenizer.decode(expected).split()) == said.text
        history += [said.text, "and what do you do?"]


def test_a_goal_is_refused_where_the_layout_has_none() -> None:
    speaker = tt_model().goal_speaker(Sampling(max_tokens=8))
    with pytest.raises(InputError, match="no goals"):
        speaker.speak([Request(0, (), (), ("ask about pets.",), np.zeros(8))])


def test_scores_of_models_use_layout_and_head() -> None:
    model = tt_model()
    rng = np.random.default_rng(5)
    talks = [grammar.dialogue(rng, "train", 3) for _ in range(10)]
    found = likelihood(model, talks)
    assert found.tokens.sum() == sum(len(model.tokenizer.encode(t.reply or "")) + 1 for d in talks for t in d.turns)
    ranked = ranks_of_gold(model, FakeMatcher(), talks, seed=0, distractors=4)
    assert [len(each.by_model) for each in ranked] == [3] * 10
    assert 0 <= np.concatenate([each.by_model for each in ranked]).mean() < 0.7


def test_a_head_of_the_right_size_is_kept_and_another_replaced() -> None:
    network = head_of(tt_model())
    assert with_head(network, 1, seed=9) is network
    other = with_head(network, 2, seed=9)
    assert other.outputs == 2 and torch.equal(other.transformer.wte.weight, network.transformer.wte.weight)
    assert {name for name in other.state_dict() if name.startswith(HEAD)} == {HEAD + "weight", HEAD + "bias"}


def test_a_model_of_this_project_becomes_one_in_the_layout(tmp_path: Path) -> None:
    shape = GPT2Shape(len(tiny_tokenizer()), 128, 16, 1, 2)
    LanguageModel.fresh("ours", shape, tiny_tokenizer(), "inline", 0).save(tmp_path / "ours")
    base = load(tmp_path / "ours", layout="transfertransfo")
    old = set(tiny_tokenizer().control_ids)
    assert old <= set(base.tokenizer.control_ids) and len(base.tokenizer) == 405 == base.network.shape.vocab_size
    assert base.tokenizer.eos not in old

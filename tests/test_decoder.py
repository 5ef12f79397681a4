"""The decoder says, token for token, what a naive loop says that remembers nothing and speaks for one dialogue at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import tiny_model

from convogym.agents.decoder import Decoder
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling, pick
from convogym.agents.speaking import ModelSpeaker
from convogym.errors import InputError
from convogym.layouts import prompt
from convogym.speakers import Request

SAMPLING = Sampling(max_tokens=12)


def naive(
    reference: torch.nn.Module, model: LanguageModel, context: list[int], noise: np.ndarray, sampling: Sampling
) -> list[int]:
    """One utterance by the transformers library's own GPT-2, the whole context encoded anew for every token."""
    ids, said = list(context), []
    banned = [i for i in model.tokenizer.control_ids if i != model.tokenizer.eos]
    for n in range(sampling.max_tokens):
        with torch.no_grad():
            logits = reference(torch.tensor([ids])).logits[:, -1].clone()
        logits[:, banned] = -torch.inf
        if n == 0:
            logits[:, model.tokenizer.eos] = -torch.inf
        token = int(pick(logits, torch.tensor([noise[n]]), sampling))
        if token == model.tokenizer.eos:
            break
        said.append(token)
        ids.append(token)
    return said


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, torch.nn.Module]:
    """A tiny model, and the same weights in the transformers library."""
    from transformers import GPT2LMHeadModel

    model = tiny_model(n_positions=160)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    model.save(folder)
    reference = GPT2LMHeadModel.from_pretrained(folder)
    reference.train(False)
    return LanguageModel.load(folder), reference


@pytest.mark.parametrize("layout", ["inline", "personagpt"])
def test_batched_cached_decoding_equals_the_naive_loop(layout: str, pair: tuple[LanguageModel, torch.nn.Module]) -> None:
    """Seven ragged dialogues of different ages, in changing company, both sides, until the oldest turns are dropped."""
    model, reference = pair
    rng = np.random.default_rng(3)
    decoders = [Decoder(model.network, model.tokenizer.eos, model.tokenizer.control_ids) for _ in range(2)]
    histories: list[list[str]] = [[] for _ in range(7)]
    goals: list[list[str | None]] = [[] for _ in range(7)]
    personas = [tuple(f"i have {n} dogs." for n in range(i % 4 + 1)) for i in range(7)]
    room = decoders[0].room - SAMPLING.max_tokens
    dropped = compared = 0
    for _ in range(14):
        company = sorted(rng.permutation(7)[: rng.integers(2, 8)].tolist())
        for side in range(2):
            prompts = []
            for i in company:
                if side == 0:
                    goals[i].append("ask about pets." if rng.random() < 0.7 else None)
                prompts.append(prompt(layout, model.tokenizer, personas[i] if side else (), histories[i], goals[i], room))
            dropped += sum(p.dropped_turns > 0 for p in prompts)
            noise = rng.random((len(company), SAMPLING.max_tokens))
            for i, p, u, said in zip(
                company,
                prompts,
                noise,
                decoders[side].generate(company, [p.ids for p in prompts], noise, SAMPLING),
                strict=True,
            ):
                assert list(said.ids) == naive(reference, model, list(p.ids), u, SAMPLING)
                histories[i].append(model.tokenizer.decode(said.ids) or "...")
                compared += 1
    assert compared > 80 and dropped > 5


def test_log_prob_and_features_are_those_of_a_full_pass(pair: tuple[LanguageModel, torch.nn.Module]) -> None:
    model, reference = pair
    context = [*model.tokenizer.encode("hello there, how are you?"), model.tokenizer.eos]
    decoder = Decoder(model.network, model.tokenizer.eos, model.tokenizer.control_ids)
    (said,) = decoder.generate([0], [context], np.random.default_rng(5).random((1, 12)), SAMPLING)
    ids = torch.tensor([[*context, *said.ids, *([] if said.is_cut_off else [model.tokenizer.eos])]])
    with torch.no_grad():
        logits = reference(ids).logits[0, len(context) - 1 : -1].float()
        hidden = model.network.hidden(ids)[0, len(context) - 1 : -1]
    banned = [i for i in model.tokenizer.control_ids if i != model.tokenizer.eos]
    logits[:, banned] = -torch.inf
    expected = torch.log_softmax(logits, -1).gather(-1, ids[0, len(context) :, None]).sum()
    assert said.log_prob == pytest.approx(float(expected), abs=1e-3)
    np.testing.assert_allclose(said.features, model.network.standardised(hidden).mean(0).detach().numpy(), atol=1e-4)


def requests(count: int, seed: int, tokens: int) -> list[Request]:
    return [
        Request(
            i,
            ("i have two dogs.",),
            ("hello there.",) * (2 * (i % 3) + 1),
            (),
            np.random.default_rng([seed, i]).random(tokens),
        )
        for i in range(count)
    ]


def test_an_answer_does_not_depend_on_its_company() -> None:
    model = tiny_model()
    together = ModelSpeaker(model, SAMPLING).speak(requests(9, 1, 12))
    alone = [ModelSpeaker(model, SAMPLING).speak([request])[0] for request in requests(9, 1, 12)]
    assert [a.text for a in together] == [b.text for b in alone]


def test_other_noise_says_something_else() -> None:
    model = tiny_model()
    first = ModelSpeaker(model, SAMPLING).speak(requests(6, 1, 12))
    second = ModelSpeaker(model, SAMPLING).speak(requests(6, 2, 12))
    assert [u.text for u in first] != [u.text for u in second]


def test_nobody_says_nothing_or_a_control_token() -> None:
    model = tiny_model()
    for utterance in ModelSpeaker(model, Sampling(top_k=400, top_p=1.0, max_tokens=12)).speak(requests(40, 4, 12)):
        assert utterance.text.strip() and "<|" not in utterance.text and 1 <= utterance.tokens <= 12


def test_a_full_context_drops_turns_and_says_so() -> None:
    speaker = ModelSpeaker(tiny_model(n_positions=128), SAMPLING)
    history = ("hello there, how are you doing today?",) * 41
    (said,) = speaker.speak([Request(0, ("i have two dogs.",), history, (), np.random.default_rng(0).random(12))])
    assert said.is_context_dropped and said.text


def test_an_endless_persona_is_refused() -> None:
    speaker = ModelSpeaker(tiny_model(n_positions=128), SAMPLING)
    with pytest.raises(InputError, match="shorten one of them"):
        speaker.speak([Request(0, ("i have two dogs and a cat.",) * 20, ("hi",), (), np.zeros(12))])


def test_greedy_sampling_takes_the_likeliest_token() -> None:
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(0))
    for uniform in (0.0, 0.5, 0.999999):
        chosen = pick(logits, torch.full((5,), uniform), Sampling(top_k=1))
        assert torch.equal(chosen, logits.argmax(-1))


def test_nucleus_keeps_the_token_that_crosses_the_threshold() -> None:
    """Shares .5 .3 .2 with p = .6: the first two stay (.5 < .6 <= .8), renormalised to .625 and .375."""
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2]]))
    sampling = Sampling(top_k=3, top_p=0.6)
    draws = [int(pick(logits, torch.tensor([u]), sampling)) for u in (0.0, 0.62, 0.63, 0.9999)]
    assert draws == [0, 0, 1, 1]


def test_draws_follow_the_filtered_distribution() -> None:
    logits = torch.log(torch.tensor([[0.4, 0.3, 0.2, 0.1]])).repeat(20000, 1)
    uniform = torch.from_numpy(np.random.default_rng(0).random(20000))
    counts = torch.bincount(pick(logits, uniform, Sampling(top_k=3, top_p=1.0)), minlength=4) / 20000
    np.testing.assert_allclose(counts.numpy(), [4 / 9, 3 / 9, 2 / 9, 0.0], atol=0.015)


@pytest.mark.parametrize("bad", [{"top_k": 0}, {"top_p": 0.0}, {"top_p": 1.5}, {"temperature": 0.0}, {"max_tokens": 0}])
def test_impossible_sampling_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        Sampling(**bad)  # type: ignore[arg-type]  # the values are wrong on purpose


def test_two_contexts_may_not_share_a_slot(tmp_path: Path) -> None:
    model = tiny_model()
    decoder = Decoder(model.network, model.tokenizer.eos, ())
    with pytest.raises(InputError, match="distinct"):
        decoder.generate([1, 1], [[5], [6]], np.zeros((2, 12)), SAMPLING)

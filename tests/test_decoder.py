"""The decoder says, token for token, what a naive loop says that remembers nothing and speaks for one dialogue at a time."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import stepped_cache, tiny_model

from convogym.agents import compiled, kernels
from convogym.agents.compiled import CHUNK_BYTES, CompiledPasses
from convogym.agents.decoder import Decoder, Generated, Task
from convogym.agents.gpt2 import GPT2, GPT2Shape
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling, pick
from convogym.agents.speaking import ModelSpeaker
from convogym.agents.static_passes import StaticPasses
from convogym.agents.torch_passes import TorchPasses
from convogym.errors import InputError
from convogym.layouts import prompt
from convogym.speakers import Request, Utterance

SAMPLING = Sampling(max_tokens=12)
CLOSE = 0.02  # of a logit; those of the tiny model differ by 1 or so


def naive(
    reference: torch.nn.Module, model: LanguageModel, context: list[int], noise: np.ndarray, sampling: Sampling
) -> list[int]:
    """One utterance by the transformers library's own GPT-2, the whole context encoded anew for every token."""
    said: list[int] = []
    for n in range(sampling.max_tokens):
        token = drawn(reference, model, [*context, *said], n == 0, noise[n], sampling)
        if token == model.tokenizer.eos:
            break
        said.append(token)
    return said


def drawn(
    reference: torch.nn.Module,
    model: LanguageModel,
    ids: list[int],
    is_first: bool,
    u: float,
    sampling: Sampling,
    away: torch.Tensor | float = 0.0,
) -> int:
    """The next token that a naive loop draws, its logits moved by so much."""
    with torch.no_grad():
        logits = reference(torch.tensor([ids])).logits[:, -1].clone()
    logits += away
    logits[:, [i for i in model.tokenizer.control_ids if i != model.tokenizer.eos]] = -torch.inf
    if is_first:
        logits[:, model.tokenizer.eos] = -torch.inf
    return int(pick(logits, torch.tensor([u]), sampling))


def as_kept(passes: Any, network: torch.nn.Module) -> AbstractContextManager[None]:
    """Meanwhile the network rounds what these passes round."""
    return stepped_cache(network) if passes is CompiledPasses else nullcontext()


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


@pytest.mark.parametrize("passes", [CompiledPasses, TorchPasses, StaticPasses])
@pytest.mark.parametrize("layout", ["inline", "personagpt"])
def test_batched_cached_decoding_equals_the_naive_loop(
    layout: str, passes: Any, pair: tuple[LanguageModel, torch.nn.Module]
) -> None:
    """Seven ragged dialogues of different ages, in changing company, both sides, until the oldest turns are dropped.

    Token for token; but for one thing. The compiled passes round numbers to int8, and where one lies in the middle of two
    whole numbers, the last digit of a float decides which it becomes. So one of theirs may differ where the draw was close.
    """
    model, reference = pair
    rng = np.random.default_rng(4)  # with 3 two of a nucleus's logits differ by 3e-7, and their order by who computed them
    decoders = [Decoder(model.network, model.tokenizer.eos, model.tokenizer.control_ids, passes) for _ in range(2)]
    histories: list[list[str]] = [[] for _ in range(7)]
    goals: list[list[str | None]] = [[] for _ in range(7)]
    personas = [tuple(f"i have {n} dogs." for n in range(i % 4 + 1)) for i in range(7)]
    room = decoders[0].room - SAMPLING.max_tokens
    dropped = compared = 0
    close = []
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
                mine = [*said.ids, *([] if said.is_cut_off else [model.tokenizer.eos])]
                with as_kept(passes, reference):
                    theirs = naive(reference, model, list(p.ids), u, SAMPLING)
                    theirs += [model.tokenizer.eos] if len(theirs) < SAMPLING.max_tokens else []
                    if mine != theirs:
                        same = next(n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b)
                        before = [*p.ids, *mine[:same]]
                        moved = CLOSE * torch.randn(100, len(model.tokenizer), generator=torch.Generator().manual_seed(same))
                        near = {drawn(reference, model, before, same == 0, u[same], SAMPLING, away) for away in moved}
                        assert mine[same] in near
                        close.append(same)
                histories[i].append(model.tokenizer.decode(said.ids) or "...")
                compared += 1
    assert compared > 80 and dropped > 5
    assert len(close) <= (compared // 20 if passes is CompiledPasses else 0)


def test_log_prob_and_features_are_those_of_a_full_pass(pair: tuple[LanguageModel, torch.nn.Module]) -> None:
    model, reference = pair
    context = [*model.tokenizer.encode("hello there, how are you?"), model.tokenizer.eos]
    decoder = Decoder(model.network, model.tokenizer.eos, model.tokenizer.control_ids)
    (said,) = decoder.generate([0], [context], np.random.default_rng(5).random((1, 12)), SAMPLING)
    ids = torch.tensor([[*context, *said.ids, *([] if said.is_cut_off else [model.tokenizer.eos])]])
    with torch.no_grad(), stepped_cache(reference), stepped_cache(model.network):
        logits = reference(ids).logits[0, len(context) - 1 : -1].float()
        hidden = model.network.hidden(ids)[0, len(context) - 1 : -1]
    banned = [i for i in model.tokenizer.control_ids if i != model.tokenizer.eos]
    logits[:, banned] = -torch.inf
    expected = torch.log_softmax(logits, -1).gather(-1, ids[0, len(context) :, None]).sum()
    assert said.log_prob == pytest.approx(float(expected), abs=1e-3)
    np.testing.assert_allclose(said.features, model.network.standardised(hidden).mean(0).detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("passes", [CompiledPasses, TorchPasses, StaticPasses])
@pytest.mark.parametrize("activation", ["gelu_new", "gelu", "relu"])
def test_sizes_that_fill_no_register_and_every_activation(passes: Any, activation: str) -> None:
    """Hidden size 36 in six heads of 6, a feed-forward size and a vocabulary that are no multiples of anything."""
    network = GPT2(GPT2Shape(413, 200, 36, 2, 6, 50, activation_function=activation))
    network.reset_parameters(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(6.0)
    contexts = [np.random.default_rng(i).integers(1, 413, size).tolist() for i, size in enumerate((1, 70, 33, 100))]
    said = Decoder(network, 0, [5, 412], passes).generate(range(4), contexts, np.full((4, 12), 0.5), SAMPLING)
    network = network.double()
    # Where a number of the cache lies in the middle of two steps, rounding decides which of them it becomes.
    log_error, feature_error = (2e-2, 1e-3) if passes is CompiledPasses else (2e-3, 2e-4)
    for context, one in zip(contexts, said, strict=True):
        ids = torch.tensor([[*context, *one.ids, *([] if one.is_cut_off else [0])]])
        with as_kept(passes, network):
            hidden = network.hidden(ids)[0, len(context) - 1 : -1].detach()
            logits = network.logits(hidden).detach()
        logits[:, [5, 412]] = -torch.inf
        expected = torch.log_softmax(logits, -1).gather(-1, ids[0, len(context) :, None]).sum()
        assert one.log_prob == pytest.approx(float(expected), abs=log_error)
        np.testing.assert_allclose(one.features, network.standardised(hidden).mean(0).detach().numpy(), atol=feature_error)


def test_compiled_numbers_are_the_same_bit_for_bit_in_any_company_and_however_a_context_was_read() -> None:
    model = tiny_model()
    rng = np.random.default_rng(2)
    contexts = [rng.integers(1, 390, 5 + 9 * i).tolist() for i in range(23)]
    noise = rng.random((23, 12))

    def decoder() -> Decoder:
        return Decoder(model.network, model.tokenizer.eos, model.tokenizer.control_ids, CompiledPasses)

    together = decoder().generate(range(23), contexts, noise, SAMPLING)
    alone = [decoder().generate([0], [c], u[None], SAMPLING)[0] for c, u in zip(contexts, noise, strict=True)]
    in_two_parts = decoder()
    in_two_parts.generate(range(23), [c[: len(c) // 2] for c in contexts], noise, SAMPLING)
    for one, *others in zip(together, alone, in_two_parts.generate(range(23), contexts, noise, SAMPLING), strict=True):
        for other in others:
            assert (one.ids, one.log_prob, one.is_cut_off) == (other.ids, other.log_prob, other.is_cut_off)
            assert one.features.tobytes() == other.features.tobytes()


@pytest.mark.parametrize("shape", [None, GPT2Shape(413, 200, 36, 2, 6, 50)])  # None: the tiny model's; heads of 6
def test_what_stood_in_memory_does_not_matter(shape: GPT2Shape | None, monkeypatch: pytest.MonkeyPatch) -> None:
    network = tiny_model().network if shape is None else GPT2(shape)
    if shape is not None:
        network.reset_parameters(torch.Generator().manual_seed(0))
    contexts, noise = [[7, 9, 11] * n for n in (1, 5, 11, 30)], np.random.default_rng(3).random((4, 12))

    def said() -> list[Generated]:
        return Decoder(network, 0, [5], CompiledPasses).generate(range(4), contexts, noise, SAMPLING)

    taken = list[int]()

    def no_numbers(*shape: int, dtype: Any = np.float32) -> Any:
        taken.append(1)
        return np.full(int(np.prod(shape)) * np.dtype(dtype).itemsize, 255, np.uint8).view(dtype).reshape(shape)  # NaN

    before = said()
    monkeypatch.setattr(compiled, "_aligned", no_numbers)
    after = said()
    assert len(taken) > 5
    assert [(g.ids, g.log_prob, g.features.tobytes()) for g in before] == [
        (g.ids, g.log_prob, g.features.tobytes()) for g in after
    ]


def test_more_rows_than_are_multiplied_together_say_what_each_says_alone() -> None:
    model, rng = tiny_model(), np.random.default_rng(6)
    count = kernels.CHUNK + 5
    contexts, noise = [rng.integers(1, 390, 3).tolist() for _ in range(count)], rng.random((count, 2))
    sampling = Sampling(max_tokens=2)

    def said(rows: range) -> list[Generated]:
        decoder = Decoder(model.network, model.tokenizer.eos, model.tokenizer.control_ids, CompiledPasses)
        return decoder.generate(range(len(rows)), [contexts[i] for i in rows], noise[list(rows)], sampling)

    together = said(range(count))
    for i in (0, kernels.CHUNK - 1, kernels.CHUNK, count - 1):
        (alone,) = said(range(i, i + 1))
        assert (alone.ids, alone.log_prob) == (together[i].ids, together[i].log_prob)


def test_a_network_that_overflows_says_so() -> None:
    model = tiny_model()
    with torch.no_grad():
        model.network.transformer.ln_f.bias[3] = torch.nan
    decoder = Decoder(model.network, model.tokenizer.eos, [], CompiledPasses)
    (said,) = decoder.generate([0], [[7]], np.full((1, 12), 0.5), SAMPLING)
    assert np.isnan(said.log_prob)


@pytest.mark.parametrize(("rows", "depth", "columns"), [(1, 36, 50), (5, 50, 36), (13, 224, 672), (100, 33, 70)])
def test_products_with_bytes_are_exact_but_for_the_last_multiplication(rows: int, depth: int, columns: int) -> None:
    """Against whole numbers of 64 bits, in numpy; what lacks in the last group or panel is whatever memory held."""
    rng = np.random.default_rng(rows)
    a = np.full((rows, kernels.wide(depth)), np.nan, np.float32)
    a[:, :depth] = rng.normal(size=(rows, depth))
    matrix, bias = rng.normal(size=(depth, columns)).astype(np.float32), np.zeros(kernels.wide(columns), np.float32)
    bias[:columns] = rng.normal(size=columns)
    a[0, :depth] = 0.0
    matrix[:, 0] = 0.0
    c, rounded = np.ones((rows, len(bias)), np.float32), np.full((rows, kernels.rounded_bytes(depth)), 255, np.uint8)

    def whole(x: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
        most = np.abs(x).max(axis, keepdims=True)
        return np.rint(x * (np.float32(127) / np.where(most, most, 1))).astype(np.int64), most / np.float32(127)

    (left, step), (right, steps) = whole(a[:, :depth], 1), whole(matrix, 0)
    expected = (left @ right).astype(np.float32) * (step * steps) + bias[:columns]
    for adds in (False, True):
        kernels.multiply(a, rows, depth, kernels.packed(matrix), bias, c, adds, rounded)
        np.testing.assert_allclose(c[:, :columns], expected * (1 + adds), rtol=1e-6, atol=1e-6)
    assert np.abs(expected[1:] - (a[1:, :depth] @ matrix + bias[:columns])).max(initial=0.0) < 0.02 * np.abs(expected).max()


def test_a_processor_that_does_not_sum_products_of_bytes_gets_the_same(tmp_path: Path) -> None:
    """In another process, in which numba is told of an older processor."""
    if platform.machine() != "x86_64":
        pytest.skip("knows the names of x86's features only")
    code = """
import numpy as np
from convogym.agents import compiled, kernels
rng = np.random.default_rng(0)
a, matrix = rng.normal(size=(7, 64)).astype(np.float32), rng.normal(size=(50, 70)).astype(np.float32)
bias, c = np.zeros(kernels.wide(70), np.float32), np.zeros((7, kernels.wide(70)), np.float32)
kernels.multiply(a, 7, 50, kernels.packed(matrix), bias, c, False, np.zeros((7, kernels.rounded_bytes(50)), np.uint8))
print(kernels.LANES, kernels.WIDTH, c[:, :70].tobytes().hex())
"""
    features = "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+sse4.2,+sse4.1,+ssse3,+sse3,+sse2,+sse,+movbe,+lzcnt"
    old = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": features}
    results = []
    for settings in ({}, old):
        env = {**os.environ, **settings, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        results.append(done.stdout.split())
    assert results[1][:2] == ["8", "2"] and results[0][2] == results[1][2]


@pytest.mark.parametrize("passes", [CompiledPasses, TorchPasses, StaticPasses])
def test_weights_that_changed_are_read_anew(passes: Any) -> None:
    model, other = tiny_model(), tiny_model(seed=1)
    context, noise = [model.tokenizer.encode("hello there.")], np.random.default_rng(0).random((1, 12))
    decoder = Decoder(model.network, model.tokenizer.eos, model.tokenizer.control_ids, passes)
    before = decoder.generate([0], context, noise, SAMPLING)[0]
    model.network.load_state_dict(other.network.state_dict())
    fresh = Decoder(other.network, model.tokenizer.eos, model.tokenizer.control_ids, passes)
    after = decoder.generate([0], context, noise, SAMPLING)[0]
    assert after.ids == fresh.generate([0], context, noise, SAMPLING)[0].ids != before.ids


def test_the_memory_of_forgotten_dialogues_serves_others() -> None:
    model = tiny_model()
    decoder = Decoder(model.network, model.tokenizer.eos, model.tokenizer.control_ids, CompiledPasses)
    contexts = [[7] * 400] * 200
    decoder.generate(range(200), contexts, np.zeros((200, 1)), Sampling(max_tokens=1))
    size = decoder.cache_bytes
    decoder.forget()
    decoder.generate(range(200, 400), contexts, np.zeros((200, 1)), Sampling(max_tokens=1))
    assert decoder.cache_bytes == size
    needed = (
        200 * 401 * 2 * (2 * 32 + 2 * 4 * 4)
    )  # two layers' keys and values, a byte a number and a step for each of four heads
    assert needed < size < 1.25 * needed + CHUNK_BYTES


def test_lines_and_replies_together_are_those_of_one_after_the_other() -> None:
    model = tiny_model()
    with torch.no_grad():  # it likes to end its utterances
        model.network.transformer.ln_f.bias.add_(4 * model.network.transformer.wte.weight[model.tokenizer.eos])
    noise = np.random.default_rng(6).random((2, 20, 12))
    histories = [("hello there.",) * (2 * (i % 3)) for i in range(20)]
    asked = [
        Request(i, (), history, (*[None] * (len(history) // 2), "ask about pets."), noise[0, i])
        for i, history in enumerate(histories)
    ]

    def reply(place: int, line: str) -> Request:
        return Request(place, ("i have two dogs.",), (*histories[place], line), (), noise[1, place])

    def said(utterances: Sequence[Utterance]) -> list[tuple[str, float]]:
        return [(u.text, u.log_prob) for u in utterances]

    lines, replies = ModelSpeaker(model, SAMPLING).exchange(asked, reply)
    speaker = ModelSpeaker(model, SAMPLING)
    first = speaker.speak(asked)
    second = speaker.speak([reply(place, line.text) for place, line in enumerate(first)])
    assert said(lines) == said(first) and said(replies) == said(second)
    assert len({line.tokens for line in lines}) > 3  # so replies did not all begin together


def test_who_joins_between_steps_says_what_they_say_alone() -> None:
    """Somebody joins after every step, in the middle of the others' utterances."""
    model = tiny_model()
    rng = np.random.default_rng(3)
    contexts = [rng.integers(1, 390, 5 + 17 * i).tolist() for i in range(9)]
    noise = rng.random((9, 12))

    def decoder() -> Decoder:
        return Decoder(model.network, model.tokenizer.eos, model.tokenizer.control_ids)

    tasks = [Task(i, context, u) for i, (context, u) in enumerate(zip(contexts, noise, strict=True))]
    waiting, coming = deque(tasks[:1]), deque(tasks[1:])
    said, company = dict[Any, Generated](), list[int]()
    for ended in decoder().steps(waiting, SAMPLING):
        company.append(9 - len(coming) - len(said))
        said |= {task.slot: generated for task, generated in ended}
        if coming:
            waiting.append(coming.popleft())
    assert max(company) > 4
    for slot, (context, u) in enumerate(zip(contexts, noise, strict=True)):
        [alone] = decoder().generate([0], [context], u[None], SAMPLING)
        assert (said[slot].ids, said[slot].log_prob) == (alone.ids, alone.log_prob)
        assert said[slot].features.tobytes() == alone.features.tobytes()


def test_who_stops_in_the_middle_lets_others_speak_with_what_is_cached() -> None:
    model = tiny_model()
    decoder, fresh = (Decoder(model.network, model.tokenizer.eos, model.tokenizer.control_ids) for _ in range(2))
    context, noise = list(range(1, 60)), np.random.default_rng(1).random((1, 12))
    steps = decoder.steps(deque([Task(0, context, noise[0, ::-1])]), SAMPLING)
    next(steps)
    next(steps)
    steps.close()
    [said], [expected] = (each.generate([0], [context], noise, SAMPLING) for each in (decoder, fresh))
    assert (said.ids, said.log_prob) == (expected.ids, expected.log_prob)


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

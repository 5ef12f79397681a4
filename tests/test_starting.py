"""What a from-scratch model can do before its first step: copy, and tell frequent words from rare ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from convogym.agents.gpt2 import GPT2, GPT2Shape
from convogym.agents.starting import pointing_layer, start_able_to_copy, start_able_to_point, tell_rare_tokens_apart
from convogym.errors import InputError


def started(shape: GPT2Shape, counts: torch.Tensor, seed: int = 0) -> GPT2:
    network = GPT2(shape).eval()
    start_able_to_copy(network, counts, torch.Generator().manual_seed(seed))
    return network


@torch.inference_mode()
def nll(network: GPT2, ids: torch.Tensor) -> torch.Tensor:
    """(B, T - 1) nats a token."""
    logits = network.logits(network.hidden(ids))[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(ids.size(0), -1)


@pytest.mark.parametrize("width, layers, heads", [(224, 5, 4), (128, 4, 4)])
def test_a_repeated_sequence_is_foreseen(width: int, layers: int, heads: int) -> None:
    vocabulary = 2000
    network = started(GPT2Shape(vocabulary, 128, width, layers, heads), torch.ones(vocabulary))
    half = torch.randint(vocabulary, (8, 60), generator=torch.Generator().manual_seed(1))
    losses = nll(network, torch.cat([half, half], 1))
    assert losses[:, 60:].mean() < losses[:, :59].mean() - 0.8


def test_gpt2s_own_start_cannot_copy() -> None:
    network = GPT2(GPT2Shape(2000, 128, 128, 4, 4)).eval()
    network.reset_parameters(torch.Generator().manual_seed(0))
    half = torch.randint(2000, (8, 60), generator=torch.Generator().manual_seed(1))
    losses = nll(network, torch.cat([half, half], 1))
    assert abs(float(losses[:, 60:].mean() - losses[:, :59].mean())) < 0.1


def test_it_starts_with_the_frequencies_it_was_given() -> None:
    """Its loss on words drawn by those frequencies is near their entropy."""
    counts = torch.arange(1, 501).float() ** 2
    network = started(GPT2Shape(500, 64, 128, 4, 4), counts)
    drawn = torch.multinomial(counts, 8 * 40, replacement=True, generator=torch.Generator().manual_seed(2)).view(8, 40)
    shares = counts / counts.sum()
    entropy = float(-(shares * shares.log()).sum())
    assert float(nll(network, drawn).mean()) == pytest.approx(entropy, abs=0.35)


def test_the_first_heads_look_one_and_two_tokens_back() -> None:
    network = started(GPT2Shape(500, 64, 128, 4, 4), torch.ones(500))
    ids = torch.randint(500, (4, 50), generator=torch.Generator().manual_seed(3))
    block = network.transformer.layers()[0]
    with torch.inference_mode():
        x = network.transformer.wte(ids) + network.transformer.wpe.weight[:50]
        q, k, _ = block.attn.split(block.ln_1(x))
        scores = (q @ k.transpose(-1, -2) / q.size(-1) ** 0.5).masked_fill(torch.ones(50, 50).triu(1).bool(), -torch.inf)
        attention = scores.softmax(-1)  # (B, H, T, T)
    places = torch.arange(10, 50)
    for head, distance in enumerate((1, 2)):
        assert attention[:, head, places, places - distance].mean() > 0.8


def test_one_head_sees_the_last_dozen_tokens_and_one_points_to_where_they_were_seen_before() -> None:
    vocabulary, generator = 2000, torch.Generator().manual_seed(4)
    network = started(GPT2Shape(vocabulary, 256, 224, 5, 4), torch.ones(vocabulary))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    start_able_to_point(network, generator)
    seen: dict[int, torch.Tensor] = {}

    def look(layer: int, queries: torch.Tensor, keys: torch.Tensor) -> None:
        scores = queries[:, -1] @ keys[:, -1].transpose(-1, -2) / queries.size(-1) ** 0.5
        seen[layer] = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -torch.inf)

    words = torch.randint(vocabulary, (8, 200), generator=generator)
    words[:, 190:] = words[:, 100:110]  # what was said ninety tokens ago is said again
    with torch.inference_mode():
        network.hidden(words, look=look)
    recent = seen[0].softmax(-1)[:, 150:]
    assert sum(recent[:, range(50), range(150 - back, 200 - back)].mean() for back in range(12)) > 0.6
    pointed = seen[pointing_layer(5)][:, 199]  # the scores of everything said before, seen from the end
    assert (pointed[:, 109] > pointed[:, :90].amax(1)).all()
    changed = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {f"transformer.h.{name}.weight" for name in ("0.attn.c_attn", "0.attn.c_proj", "2.attn.c_attn")}


def test_the_same_seed_gives_the_same_weights() -> None:
    shape, counts = GPT2Shape(100, 32, 32, 4, 4), torch.ones(100)
    first, again, other = (started(shape, counts, seed).state_dict() for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["transformer.wte.weight"], other["transformer.wte.weight"])


@pytest.mark.parametrize("shape", [GPT2Shape(100, 32, 32, 3, 4), GPT2Shape(100, 32, 32, 4, 1), GPT2Shape(100, 32, 20, 4, 4)])
def test_a_network_too_small_for_the_circuit_is_refused(shape: GPT2Shape) -> None:
    with pytest.raises(InputError, match="at least 4 layers"):
        started(shape, torch.ones(100))


def test_counts_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(InputError, match="one entry a token"):
        started(GPT2Shape(100, 32, 32, 4, 4), torch.ones(99))


def test_rare_tokens_that_became_alike_are_told_apart_and_nothing_else_changes_much() -> None:
    vocabulary, generator = 1000, torch.Generator().manual_seed(8)
    counts = torch.cat([torch.full((200,), 100.0), torch.ones(800)])
    network = started(GPT2Shape(vocabulary, 128, 128, 4, 4), counts)
    tokens = network.transformer.wte.weight
    alike = F.normalize(torch.randn(128, generator=generator), dim=0)
    with torch.no_grad():
        tokens[200:] += 30.0 * alike
    said = torch.multinomial(counts, 8 * 60, replacement=True, generator=generator).view(8, 60)
    with torch.inference_mode():
        states = network.hidden(said).flatten(0, 1).clone()

    def likeness() -> float:
        rare = F.normalize(tokens[200:].detach(), dim=1)
        return float((rare @ rare.T).mean())

    before, crowded = nll(network, said).mean(), likeness()
    tell_rare_tokens_apart(network, counts, states)
    after = nll(network, said).mean()
    assert crowded > 0.95 and likeness() < 0.6
    assert abs(after - before) < 0.3


def test_telling_apart_refuses_counts_and_states_of_another_shape() -> None:
    network = started(GPT2Shape(100, 32, 32, 4, 4), torch.ones(100))
    with pytest.raises(InputError, match="counts of 100 tokens and states of width 32"):
        tell_rare_tokens_apart(network, torch.ones(100), torch.ones(5, 31))

"""The weights a from-scratch model starts with: GPT-2's random ones, word frequencies and a circuit that copies.

A few million parameters trained on some ten million tokens never find out by themselves that a reply may repeat the facts in
front of it (experiments/LOG.md). So training starts where copying already works, and keeps it because it pays:

- positions are sinusoids (Vaswani et al. 2017, 3.5, here with evenly spread frequencies), so that a head can look a fixed
  number of tokens back by rotating them;
- two heads of the first layer look one and two tokens back;
- one head in each of two middle layers looks for a token whose predecessor is the present one and raises the odds of that
  token: an induction head (Olsson et al. 2022, "In-context learning and induction heads");
- the output knows how frequent every token is, by one entry of its embedding. Otherwise the first hundred steps push every
  embedding along one direction, which drowns what the copying heads compare.

Such a model copies facts, but which one has little to do with the question: below the copying heads every head looks
everywhere alike, so nothing there knows what was just asked. When words have found their meaning, `start_able_to_point` gives
one head of the first layer a view of the last dozen tokens, and lets one in the first copying layer, the *pointing head*, look
where much the same was seen: from a question to the fact it asks for. `training.pointing_nll` teaches it.

What training wears out again is told apart anew by `tell_rare_tokens_apart`: AdamW gives a token that is hardly ever seen
steps of the same length as any other, all of them away from what was said instead, until the embeddings of thousands of rare
tokens point the same way. Copying one of them then says another.

Everything is an ordinary GPT-2 weight and is trained like one. The gains were tried at widths 32 to 512; below 128 the circuit
is weak.
Letters: C hidden size, D head size, P positions, V vocabulary.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from convogym.agents.gpt2 import GPT2
from convogym.errors import InputError

EMBEDDING_STD = 0.5
"""of the token embedding; large beside what layers write, which Muon's equal-sized steps would otherwise soon outgrow"""
OUTPUT_GAIN = 0.08
"""of the last norm, so that logits begin small although embeddings are large"""
POSITION_SCALE = 2.0
"""amplitude of positions, in embedding standard deviations"""
TOKENS_AMONG_POSITIONS = 0.3
"""share of a token's entries kept where positions stand"""
LOOK_BACK_GAIN = 0.8
"""of the maps to query and key in the heads that look back"""
COPY_GAIN = 2.0
"""of the maps in the copying circuit"""
GATHER_GAINS = (2.6, 2.4, 1.9, 1.3)
"""of the gathering head's maps to query and key, for the slowest rates of positions; the others are not compared. It then sees
about eight of the last dozen tokens"""
GATHER_BACK = 5
"""tokens back, the middle of what it sees"""
POINT_GAIN = 0.6
"""of the pointing head's maps to query and key"""
FREQUENCY_SCALE = 4.0
"""the last norm's bias at the entry that holds log frequencies"""


def start_able_to_copy(network: GPT2, counts: Tensor, generator: torch.Generator) -> None:
    """Fills a network's weights.

    Args:
        network: at least four layers of at least two heads, and an even head size.
        counts: (V,) how often each token occurs, at least 0; 0.3 is added to each.
        generator: of the random part.

    Raises:
        InputError: the network is too small for the circuit, or `counts` has another length.
    """
    shape = network.shape
    head = shape.n_embd // shape.n_head  # D
    if shape.n_layer < 4 or shape.n_head < 2 or head % 2:
        raise InputError(
            "a model that starts able to copy needs at least 4 layers, 2 heads and an even head size, got "
            f"n_layer={shape.n_layer}, n_head={shape.n_head}, n_embd={shape.n_embd}."
        )
    if counts.shape != (shape.vocab_size,):
        raise InputError(f"`counts` must have one entry a token, {shape.vocab_size}, got {tuple(counts.shape)}.")
    network.reset_parameters(generator)
    with torch.no_grad():
        rates = (torch.arange(head // 2) + torch.rand(head // 2, generator=generator)) * (2 * math.pi / head)
        _embed(network, counts, rates, generator)
        for number, distance in enumerate((1, 2)):
            _look_back(network, number, distance, rates)
        _copy(network, generator)


def pointing_layer(num_layers: int) -> int:
    """The 0-based layer whose last head points: the first of the two whose first head copies."""
    return (num_layers - 1) // 2


def start_able_to_point(network: GPT2, generator: torch.Generator) -> None:
    """Replaces two heads: the last of the first layer, which gathers, and the last of a middle one, which points.

    Args:
        network: one that `start_able_to_copy` began and training moved; its positions are still sinusoids.
        generator: of the projections.
    """
    width, layers = network.shape.n_embd, network.transformer.layers()
    head = width // network.shape.n_head
    last = slice(width - head, width)
    queries, keys, values = (slice(last.start + i * width, last.stop + i * width) for i in range(3))
    read, write = _projection(width, head, generator), _projection(width, head, generator)
    gathering, pointing = layers[0].attn, layers[pointing_layer(len(layers))].attn
    with torch.no_grad():
        rates = _rates(network)
        slowest = rates.argsort()[: len(GATHER_GAINS)]
        gains = torch.zeros_like(rates)
        gains[slowest] = torch.tensor(GATHER_GAINS)[: len(slowest)]
        for columns in (queries, keys, values):
            gathering.c_attn.weight[:, columns] = 0.0
            gathering.c_attn.bias[columns] = 0.0
        gathering.c_attn.weight[:head, queries] = torch.cat([gains, gains]).diag() @ _turned_back(rates, GATHER_BACK)
        gathering.c_attn.weight[:head, keys] = torch.cat([gains, gains]).diag()
        gathering.c_attn.weight[:, values] = read
        gathering.c_proj.weight[last] = COPY_GAIN * EMBEDDING_STD * write.T
        for columns in (queries, keys):
            pointing.c_attn.weight[:, columns] = POINT_GAIN * write
            pointing.c_attn.bias[columns] = 0.0


def tell_rare_tokens_apart(network: GPT2, counts: Tensor, states: Tensor) -> None:
    """Takes from every embedding what most embeddings share, and says what that meant by a channel that is constant.

    The shared direction is the main one of all embeddings. Where frequent tokens have little of it, only the rest of it is
    taken; the odds of a token change by how far `states` are from their mean in that direction. The channel is the one that
    the output uses least.

    Args:
        network: trained; changed in place.
        counts: (V,) how often each token occurs.
        states: (N, C) what the last norm gives, of tokens of ordinary talk.

    Raises:
        InputError: `counts` or `states` has another shape.
    """
    body, width = network.transformer, network.shape.n_embd
    if counts.shape != (network.shape.vocab_size,) or states.dim() != 2 or states.size(1) != width:
        raise InputError(
            f"expected counts of {network.shape.vocab_size} tokens and states of width {width}, "
            f"got {tuple(counts.shape)} and {tuple(states.shape)}."
        )
    with torch.no_grad():
        tokens = body.wte.weight
        used = states.var(0) * tokens.var(0)
        used[: width // network.shape.n_head] = torch.inf  # positions stand there
        channel = int(used.argmin())
        kept = tokens[:, channel] * states[:, channel].mean()
        double = tokens.double()  # the main direction to the last digit of a float, however its sums are taken
        shared = torch.linalg.eigh(double.T @ double).eigenvectors[:, -1].float()
        shared[channel] = 0.0
        shared = torch.nn.functional.normalize(shared, dim=0)
        shares = tokens @ shared
        if shares.median() < 0:
            shared, shares = -shared, -shares
        ordinary = shares[counts.argsort(descending=True)[: max(1, len(counts) // 8)]].median()
        excess = (shares - ordinary).clamp(min=0.0)
        tokens -= excess[:, None] * shared
        tokens[:, channel] = (kept + excess * (states @ shared).mean()) / FREQUENCY_SCALE
        body.ln_f.weight[channel] = 0.0
        body.ln_f.bias[channel] = FREQUENCY_SCALE


def _rates(network: GPT2) -> Tensor:
    """(D / 2,) radians by which each pair of a network's sinusoids turns from one position to the next."""
    positions = network.transformer.wpe.weight[:, : network.shape.n_embd // network.shape.n_head]
    sine, cosine = positions.chunk(2, 1)
    turning = torch.complex(cosine, sine)  # (P, D / 2)
    return (turning[1:] * turning[:-1].conj()).sum(0).angle() % (2 * math.pi)


def _turned_back(rates: Tensor, distance: int) -> Tensor:
    """(D, D): takes a position's sinusoids to those of the position `distance` earlier."""
    cos, sin = (rates * distance).cos().diag(), (rates * distance).sin().diag()
    return torch.cat([torch.cat([cos, sin], 1), torch.cat([-sin, cos], 1)])


def _embed(network: GPT2, counts: Tensor, rates: Tensor, generator: torch.Generator) -> None:
    """Tokens at random, positions as sinusoids in the first D entries, log frequencies in the last entry."""
    body, head = network.transformer, 2 * len(rates)
    body.wte.weight.copy_(torch.randn(body.wte.weight.shape, generator=generator) * EMBEDDING_STD)
    body.wte.weight[:, :head] *= TOKENS_AMONG_POSITIONS
    phases = torch.arange(network.shape.n_positions)[:, None] * rates  # (P, D / 2)
    body.wpe.weight.zero_()
    body.wpe.weight[:, :head] = torch.cat([phases.sin(), phases.cos()], 1) * (math.sqrt(2) * EMBEDDING_STD * POSITION_SCALE)
    seen = counts.double() + 0.3
    frequency = (seen / seen.sum()).log()
    body.wte.weight[:, -1] = ((frequency - frequency.mean()) / FREQUENCY_SCALE).float()
    body.ln_f.weight.fill_(OUTPUT_GAIN)
    body.ln_f.weight[-1] = 0.0
    body.ln_f.bias[-1] = FREQUENCY_SCALE


def _look_back(network: GPT2, number: int, distance: int, rates: Tensor) -> None:
    """Makes a head of the first layer attend `distance` tokens back: its query is its own position, rotated."""
    weight = network.transformer.layers()[0].attn.c_attn.weight  # (C, 3 C): queries, keys, values
    half, width = len(rates), network.shape.n_embd
    columns = slice(2 * half * number, 2 * half * (number + 1))
    weight[:, columns] = 0.0
    weight[: 2 * half, columns] = LOOK_BACK_GAIN * _turned_back(rates, distance)
    keys = slice(width + columns.start, width + columns.stop)
    weight[:, keys] = 0.0
    weight[: 2 * half, keys] = LOOK_BACK_GAIN * torch.eye(2 * half)


def _copy(network: GPT2, generator: torch.Generator) -> None:
    """Joins the first look-back head to heads of two middle layers that copy what followed the present token before."""
    width, layers = network.shape.n_embd, network.transformer.layers()
    head = width // network.shape.n_head

    def projection() -> Tensor:
        return _projection(width, head, generator)

    read, write = projection(), projection()
    first = layers[0].attn
    first.c_attn.weight[:, 2 * width : 2 * width + head] = read
    first.c_proj.weight[:head] = COPY_GAIN * EMBEDDING_STD * write.T
    middle = pointing_layer(len(layers))
    for block in layers[middle : middle + 2]:
        weight, said = block.attn.c_attn.weight, projection()
        weight[:, :head] = COPY_GAIN * read
        weight[:, width : width + head] = COPY_GAIN * write
        weight[:, 2 * width : 2 * width + head] = said
        block.attn.c_proj.weight[:head] = COPY_GAIN * EMBEDDING_STD * said.T


def _projection(width: int, head: int, generator: torch.Generator) -> Tensor:
    """(C, D) with orthonormal columns, blind to positions."""
    square = torch.randn(width - head, width - head, generator=generator)
    return torch.cat([torch.zeros(head, head), torch.linalg.qr(square)[0][:, :head]])

"""The least time talks can take on this machine: the matrix products they cannot do without, at the rate measured for them.

A token whose keys and values are to be known costs a row in the products of the layers; a token that is drawn, one in the
product with the output map. Attention, norms, sampling and all bookkeeping are left out: nothing can reach this floor that
multiplies at that rate.
Knows prompts and weights; knows nothing of decoders.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from convogym.agents.gpt2 import GPT2
from convogym.agents.model import LanguageModel
from convogym.experiments.scripted_talks import Script, Talked
from convogym.layouts import prompt
from convogym.speakers import Request

READ_ROWS = 1024  # prompts' tokens multiplied together: a few dozen dialogues' new ones
READ_BYTES = 2**28  # of memory, to measure how fast it is: far more than any processor keeps close
CACHE_NUMBER_BYTES = 2  # of a key's or value's number on CUDA: bfloat16
TRIES = 5  # the fastest counts: anything slower was disturbed


class RowCost(NamedTuple):
    """What one row costs in matrix products."""

    layers: float
    """seconds (or operations) in the matrices of all layers"""
    output: float
    """likewise in the output map, which is the token embedding"""


class Work(NamedTuple):
    """What has to be computed for talks, each speaker keeping what was computed before."""

    read: int
    """tokens of prompts that were not known yet, both speakers'"""
    drawn: int
    """tokens drawn, each from a row of the output map"""
    seen: int
    """tokens before a drawn one whose keys and values it attends to, summed over all drawn"""
    utterances: int
    """how many; nothing is computed of the last token of each before it is part of a prompt"""


def row_operations(network: GPT2) -> RowCost:
    """Floating-point operations of one row: a multiplication and an addition for each weight."""
    layers = sum(p.numel() for block in network.transformer.layers() for p in block.parameters() if p.dim() == 2)
    return RowCost(2.0 * layers, 2.0 * network.transformer.wte.weight.numel())


@torch.inference_mode()
def row_seconds(network: GPT2, rows: int, in_bytes: bool = False) -> RowCost:
    """Seconds a row takes where `rows` are multiplied together, by the network's own matrices one after the other.

    Args:
        network: the weights.
        rows: how many.
        in_bytes: multiply as the decoder's kernels do, in int8 (`network` is plain); else as torch does.
    """
    body = network.transformer
    layers: list[Tensor] = [p for block in body.layers() for p in block.parameters() if p.dim() == 2]  # (in, out)
    matrices = [*layers, body.wte.weight.t()]
    multiply = (_by_kernels if in_bytes else _by_torch)(matrices, rows)
    device = body.wte.weight.device
    fastest = RowCost(float("inf"), float("inf"))
    for _ in range(TRIES):
        began = now(device)
        for number in range(len(matrices) - 1):
            multiply(number)
        between = now(device)
        multiply(len(matrices) - 1)
        ended = now(device)
        fastest = RowCost(min(fastest.layers, between - began), min(fastest.output, ended - between))
    return RowCost(fastest.layers / rows, fastest.output / rows)


def _by_torch(matrices: Sequence[Tensor], rows: int) -> Callable[[int], object]:
    """Multiplies so many rows with the n-th matrix."""
    inputs = {matrix.size(0): matrix.new_ones(rows, matrix.size(0)) for matrix in matrices}
    return lambda number: torch.mm(inputs[matrices[number].size(0)], matrices[number])


def _by_kernels(matrices: Sequence[Tensor], rows: int) -> Callable[[int], object]:
    """Likewise, rounding included."""
    import numba

    from convogym.agents import compiled, kernels

    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    packed = [compiled.aligned(kernels.packed(matrix.detach().numpy())) for matrix in matrices]
    biases = [np.zeros(kernels.wide(matrix.size(1)), np.float32) for matrix in matrices]
    given = {matrix.size(0): np.ones((rows, kernels.wide(matrix.size(0))), np.float32) for matrix in matrices}
    outs = {len(bias): np.zeros((rows, len(bias)), np.float32) for bias in biases}
    rounded = compiled.aligned(np.zeros((rows, kernels.rounded_bytes(max(given))), np.uint8))

    def multiply(number: int) -> None:
        depth, bias = matrices[number].size(0), biases[number]
        kernels.multiply(given[depth], rows, depth, packed[number], bias, outs[len(bias)], False, rounded)

    multiply(0)  # compiled before it is timed
    return multiply


def now(device: torch.device) -> float:
    """The clock's seconds once all that a device was given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@torch.inference_mode()
def memory_rate(device: torch.device) -> float:
    """Bytes a second that a device reads from its memory where nothing else is done with them: a long sum."""
    numbers = torch.ones(READ_BYTES // 4, device=device)
    seconds = []
    for _ in range(TRIES):
        began = now(device)
        numbers.sum()
        seconds.append(now(device) - began)
    return READ_BYTES / min(seconds)


def needed_work(model: LanguageModel, script: Script, talked: Talked, max_tokens: int) -> Work:
    """What talks needed.

    Args:
        model: whose prompts, in whose layout.
        script: who was asked what.
        talked: what came of it.
        max_tokens: the longest utterance, for which prompts leave room.
    """
    room = model.network.shape.n_positions - max_tokens
    read = seen = 0
    for side, turns in enumerate((script.lines, script.replies)):
        for talk, asked in zip(talked.said, zip(*turns, strict=True), strict=True):
            new, known = _read(model, asked, talk, side, room)
            read, seen = read + new, seen + known
    utterances = sum(map(len, talked.said))
    return Work(read, talked.tokens, seen, utterances)


def _read(model: LanguageModel, asked: Sequence[Request], talk: Sequence[str], side: int, room: int) -> tuple[int, int]:
    """Tokens that one speaker of one dialogue (side 0: lines, 1: replies) has to read, and those its drawn ones look at."""
    read = seen = 0
    known: list[int] = []
    for turn, request in enumerate(asked):
        place = 2 * turn + side
        ids = prompt(model.layout, model.tokenizer, request.persona, talk[:place], request.goals, room).ids
        shared = next((i for i, (a, b) in enumerate(zip(known, ids, strict=False)) if a != b), min(len(known), len(ids)))
        read += len(ids) - min(shared, len(ids) - 1)  # the last is read again, if need be: the next token is drawn from it
        said = model.tokenizer.encode(talk[place])
        seen += sum(range(len(ids), len(ids) + len(said) + 1))  # one draw more than tokens: the eos
        known = [*ids, *said]
    return read, seen


def floor_seconds(work: Work, reading: float, drawing: RowCost) -> float:
    """The least time that the work can take.

    Args:
        work: what has to be computed.
        reading: seconds of a row in the layers at the best rate: rows of prompts need not be drawn one after another.
        drawing: seconds of a row where as many are as dialogues speak side by side.
    """
    known_while_drawing = work.drawn - work.utterances
    return work.read * reading + known_while_drawing * drawing.layers + work.drawn * drawing.output


def memory_seconds(network: GPT2, work: Work, reading: float, size: int, rate: float) -> float:
    """The least time that the work can take where what bounds drawing is the memory.

    Every step of drawing reads all weights once, for `size` rows at best, and keys and values of all that its rows look at;
    prompts are bound by their products.

    Args:
        network: the weights.
        work: what has to be computed.
        reading: seconds of a row of prompts in the layers at the best rate.
        size: dialogues side by side.
        rate: bytes a second.
    """
    shape = network.shape
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    token: float = 2 * shape.n_layer * shape.n_embd * CACHE_NUMBER_BYTES
    if network.is_plain:  # as the compiled passes keep them
        from convogym.agents import compiled, kernels

        packed = compiled.pack(network, ())
        weights = sum(each.nbytes for name, each in packed._asdict().items() if name != "words")
        token = kernels.block_bytes(shape.n_layer, shape.n_head, shape.n_embd // shape.n_head) / kernels.BLOCK
    return work.read * reading + (work.drawn / size * weights + work.seen * token) / rate

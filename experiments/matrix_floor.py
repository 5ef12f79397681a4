"""The least time talks can take on this machine: the matrix products they cannot do without, at the rate measured for them.

A token whose keys and values are to be known costs a row in the products of the layers; a token that is drawn, one in the
product with the output map. Attention, norms, sampling and all bookkeeping are left out, so nothing can reach this floor.
Knows prompts and weights; knows nothing of decoders.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    utterances: int
    """how many; nothing is computed of the last token of each before it is part of a prompt"""


def row_operations(network: GPT2) -> RowCost:
    """Floating-point operations of one row: a multiplication and an addition for each weight."""
    layers = sum(p.numel() for block in network.transformer.layers() for p in block.parameters() if p.dim() == 2)
    return RowCost(2.0 * layers, 2.0 * network.transformer.wte.weight.numel())


@torch.inference_mode()
def row_seconds(network: GPT2, rows: int) -> RowCost:
    """Seconds a row takes where `rows` are multiplied together, by the network's own matrices one after the other.

    Multiplied by torch and, where they can be compiled, by the kernels that the decoder uses; whatever is faster counts.
    """
    body = network.transformer
    matrices = [p for block in body.layers() for p in block.parameters() if p.dim() == 2]  # (in, out)
    output = body.wte.weight.t()
    inputs = {size: torch.ones(rows, size) for size in {*(matrix.size(0) for matrix in matrices), output.size(0)}}
    fastest = RowCost(float("inf"), float("inf"))
    for multiply in _ways(inputs, [*matrices, output]):
        for _ in range(TRIES):
            began = time.perf_counter()
            for number in range(len(matrices)):
                multiply(number)
            between = time.perf_counter()
            multiply(len(matrices))
            ended = time.perf_counter()
            fastest = RowCost(min(fastest.layers, between - began), min(fastest.output, ended - between))
    return RowCost(fastest.layers / rows, fastest.output / rows)


def _ways(inputs: Mapping[int, Tensor], matrices: Sequence[Tensor]) -> Iterator[Callable[[int], object]]:
    """Ways to multiply all rows with the n-th matrix."""
    yield lambda number: torch.mm(inputs[matrices[number].size(0)], matrices[number])
    try:
        import numba

        from convogym.agents import kernels
    except ImportError:
        return
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    packed = [kernels.packed(matrix.detach().numpy()) for matrix in matrices]
    biases = [np.zeros(kernels.wide(matrix.size(1)), np.float32) for matrix in matrices]
    rows = len(next(iter(inputs.values())))
    given = {size: np.ones((rows, kernels.wide(size)), np.float32) for size in inputs}
    outs = {len(bias): np.zeros((rows, len(bias)), np.float32) for bias in biases}

    def multiply(number: int) -> None:
        depth, bias = matrices[number].size(0), biases[number]
        kernels.multiply(given[depth], rows, depth, packed[number], bias, outs[len(bias)], False)

    multiply(0)  # compiled before it is timed
    yield multiply


def needed_work(model: LanguageModel, script: Script, talked: Talked, max_tokens: int) -> Work:
    """What talks needed.

    Args:
        model: whose prompts, in whose layout.
        script: who was asked what.
        talked: what came of it.
        max_tokens: the longest utterance, for which prompts leave room.
    """
    room = model.network.shape.n_positions - max_tokens
    read = 0
    for side, turns in enumerate((script.lines, script.replies)):
        for talk, asked in zip(talked.said, zip(*turns, strict=True), strict=True):
            read += _read(model, asked, talk, side, room)
    utterances = sum(map(len, talked.said))
    return Work(read, talked.tokens, utterances)


def _read(model: LanguageModel, asked: Sequence[Request], talk: Sequence[str], side: int, room: int) -> int:
    """Tokens that one speaker of one dialogue (side 0: lines, 1: replies) has to read."""
    read = 0
    known: list[int] = []
    for turn, request in enumerate(asked):
        place = 2 * turn + side
        ids = prompt(model.layout, model.tokenizer, request.persona, talk[:place], request.goals, room).ids
        shared = next((i for i, (a, b) in enumerate(zip(known, ids, strict=False)) if a != b), min(len(known), len(ids)))
        read += len(ids) - min(shared, len(ids) - 1)  # the last is read again, if need be: the next token is drawn from it
        known = [*ids, *model.tokenizer.encode(talk[place])]
    return read


def floor_seconds(work: Work, reading: float, drawing: RowCost) -> float:
    """The least time that the work can take.

    Args:
        work: what has to be computed.
        reading: seconds of a row in the layers at the best rate: rows of prompts need not be drawn one after another.
        drawing: seconds of a row where as many are as dialogues speak side by side.
    """
    known_while_drawing = work.drawn - work.utterances
    return work.read * reading + known_while_drawing * drawing.layers + work.drawn * drawing.output

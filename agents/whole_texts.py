"""Last hidden states of many texts of any length in one pass without padding, by compiled kernels. Knows ids, not words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from convogym.agents import kernels, reading_kernels
from convogym.agents.compiled import kernel_threads, pack, with_room, workspace
from convogym.agents.gpt2 import GPT2, stamp
from convogym.errors import InputError

TOGETHER = 1024  # tokens in one pass: enough for full speed, and what they need in between stays small


class WholeTexts:
    """A network that only reads. Should its weights change, they are packed anew."""

    def __init__(self, network: GPT2) -> None:
        """Takes a plain network (`GPT2.is_plain`) in evaluation mode; its weights are packed at the first call.

        Raises:
            InputError: the network is not plain.
        """
        if not network.is_plain:
            raise InputError("`network` must be in float32, on the processor and without adapters.")
        self._network = network
        self._parameters = list(network.parameters())
        self._stamp: list[tuple[int, int]] = []

    def _renew(self) -> None:
        """Packs the weights if they changed."""
        now = stamp(self._parameters)
        if now == self._stamp:
            return
        shape = self._network.shape
        self._stamp, self._weights = now, pack(self._network, ())
        self._work = workspace(shape, 1, 1)
        self._size = sum(p.numel() for block in self._network.transformer.layers() for p in block.parameters())
        self._activation = kernels.ACTIVATIONS.get(shape.activation_function, 2)

    def hidden(self, rows: Sequence[Sequence[int]]) -> list[npt.NDArray[np.float32]]:
        """Last hidden states, after the final norm, of each text's tokens, (its length, C) each.

        Args:
            rows: ids, each text no longer than the network's context and none empty.
        """
        self._renew()
        shape = self._network.shape
        if any(not 1 <= len(row) <= shape.n_positions for row in rows):
            raise InputError(f"`rows` must have 1..{shape.n_positions} ids each, got {sorted({len(row) for row in rows})}.")
        found: list[npt.NDArray[np.float32]] = []
        first = 0
        while first < len(rows):
            last = first + 1
            count = len(rows[first])
            while last < len(rows) and count + len(rows[last]) <= TOGETHER:
                count += len(rows[last])
                last += 1
            found += self._read(rows[first:last])
            first = last
        return found

    def _read(self, rows: Sequence[Sequence[int]]) -> list[npt.NDArray[np.float32]]:
        shape = self._network.shape
        firsts = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=firsts[1:])
        ids = np.fromiter((i for row in rows for i in row), np.int64, firsts[-1])
        with kernel_threads(len(ids) * self._size):
            self._work = with_room(self._work, shape, len(ids), 1)
            reading_kernels.read(
                ids, firsts, shape.n_head, self._activation, shape.layer_norm_epsilon, self._weights, self._work
            )
            states = self._work.normed[: len(ids), : shape.n_embd].copy()
        return np.split(states, firsts[1:-1])

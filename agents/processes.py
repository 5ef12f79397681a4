"""Several processes that train as one: who they are, and how their gradients are added up. Knows tensors only.

`accelerate launch` starts the processes; each holds the whole network and sees the same batches of a step, of which it
computes its own. What is added up is a sum, not a mean: a batch's loss is divided by the targets of the whole step already.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Protocol

import torch
from torch import nn

from convogym.errors import InputError


class Team(Protocol):
    """The processes that train together, seen from one of them."""

    @property
    def rank(self) -> int:
        """This process's number, 0..size-1; the first one writes files."""

    @property
    def size(self) -> int:
        """How many there are."""

    def add_up(self, parameters: Iterable[nn.Parameter], values: Mapping[str, float]) -> dict[str, float]:
        """Gives every process the sum of all gradients, in place, and the sums of the values."""

    def wait(self) -> None:
        """Goes on when all processes are here."""


class _Alone:
    """A process that trains by itself."""

    rank = 0
    size = 1

    def add_up(self, parameters: Iterable[nn.Parameter], values: Mapping[str, float]) -> dict[str, float]:
        return dict(values)

    def wait(self) -> None:
        return None


ALONE: Team = _Alone()


class Accelerated:
    """The processes that `accelerate launch` started."""

    def __init__(self) -> None:
        """Joins the others.

        Raises:
            InputError: accelerate is not installed.
        """
        try:
            from accelerate import PartialState
        except ImportError as error:
            raise InputError('`accelerate` is not installed: run pip install "convogym[processes]".') from error
        self._state = PartialState(cpu=not torch.cuda.is_available())
        self.rank = int(self._state.process_index)
        self.size = int(self._state.num_processes)

    def add_up(self, parameters: Iterable[nn.Parameter], values: Mapping[str, float]) -> dict[str, float]:
        """See `Team.add_up`; one message for all gradients, one for all values."""
        from accelerate.utils import reduce

        trained = [p for p in parameters if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in trained])
        flat = reduce(flat, reduction="sum")
        for parameter, part in zip(trained, flat.split([p.numel() for p in trained]), strict=True):
            parameter.grad = part.view_as(parameter).clone()
        names = list(values)
        sums = reduce(torch.tensor([values[name] for name in names], dtype=torch.float64, device=flat.device), reduction="sum")
        return dict(zip(names, sums.tolist(), strict=True))

    def wait(self) -> None:
        """See `Team.wait`."""
        self._state.wait_for_everyone()


def team_of_launch() -> Team:
    """The processes this one was launched with; `ALONE` if it was started by itself."""
    return Accelerated() if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ALONE

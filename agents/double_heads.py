"""GPT-2 with a second head that judges whether a reply comes next, and the two objectives that train both heads at once.

`Choosing` is TransferTransfo's (transfer-learning-conv-ai `train.py`): of several candidates the head picks the true reply.
`NextUtterance` is P2 Bot's transmitter's (`agents/transmitter`): of each candidate alone the head says whether it is true.
In both, only the true reply is learnt as language. Parameter names are those of `GPT2DoubleHeadsModel`.

Letters: N choices, R rows (candidates of all choices), T tokens, C hidden size, K outputs of the head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convogym.agents.gpt2 import GPT2, GPT2Shape, dropped
from convogym.agents.training import nll_of, padded
from convogym.errors import InputError
from convogym.layouts import Example
from convogym.transfertransfo import Question

if TYPE_CHECKING:
    from convogym.agents.model import LanguageModel

HEAD = "multiple_choice_head.summary."
HEAD_DROPOUT = 0.2  # before the transmitter's classifier (agents/transmitter); TransferTransfo's GPT-2 has 0.1 there


class _Summary(nn.Module):
    def __init__(self, size: int, outputs: int) -> None:
        super().__init__()
        self.summary = nn.Linear(size, outputs)


class DoubleHeads(GPT2):
    """A `GPT2` with a linear head on the state of a row's last token."""

    def __init__(self, shape: GPT2Shape, outputs: int = 1) -> None:
        """Makes the parameters.

        Args:
            shape: of the network.
            outputs: 1 = how good a candidate is, to be compared with others (`Choosing`); 2 = logits of "does not come next"
                and "comes next" (`NextUtterance`).
        """
        super().__init__(shape)
        self.outputs = outputs
        self.multiple_choice_head = _Summary(shape.n_embd, outputs)

    def judged(self, last: Tensor, dropout: float = 0.0) -> Tensor:
        """(R, C) last states -> (R, K)."""
        out: Tensor = self.multiple_choice_head.summary(dropped(last, dropout, self.training))
        return out


def with_head(network: GPT2, outputs: int, seed: int) -> DoubleHeads:
    """A network with the same weights and a second head; the head it has, if it has one of as many outputs.

    Args:
        network: stays as it is; its tensors are copied.
        outputs: see `DoubleHeads`.
        seed: of a new head's weights, N(0, 0.02) as GPT-2's.
    """
    if isinstance(network, DoubleHeads) and network.outputs == outputs:
        return network
    made = DoubleHeads(network.shape, outputs)
    made.speakers = network.speakers
    body = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith(HEAD)}
    made.load_state_dict(body, strict=False)
    with torch.no_grad():
        weight = made.multiple_choice_head.summary.weight
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)) * 0.02)
        made.multiple_choice_head.summary.bias.zero_()
    return made.to(network.transformer.wte.weight.device).train(network.training)


@dataclass(frozen=True)
class Choice:
    """One context followed by each of several candidates."""

    rows: tuple[Example, ...]
    """the true reply's last; the others learn nothing as language"""


def choice_of(model: LanguageModel, question: Question) -> Choice:
    """A question as ids, in the model's layout. All candidates follow the same context.

    Raises:
        InputError: persona, last utterance and the longest candidate alone do not fit the model's context.
    """
    tokenizer = model.tokenizer
    endings = [[*tokenizer.encode(text), tokenizer.eos] for text in question.candidates]
    room = model.network.shape.n_positions - max(map(len, endings))
    goals = (None,) * (len(question.history) // 2 + 1)
    context = model.prompt(question.facts, question.history, goals, room).ids
    rows = []
    for ending in endings:
        is_true = ending is endings[-1]
        rows.append(Example((*context, *ending), (False,) * len(context) + (is_true,) * len(ending), False))
    return Choice(tuple(rows))


def choices_of(model: LanguageModel, questions: Sequence[Question]) -> tuple[list[Choice], int]:
    """The questions that fit the model's context, as ids, and how many do not."""
    made = []
    for question in questions:
        try:
            made.append(choice_of(model, question))
        except InputError:
            continue
    return made, len(questions) - len(made)


class _Read(NamedTuple):
    nll: Tensor
    """(): of all learnt tokens"""
    judged: Tensor
    """(R, K)"""


def _read(
    network: DoubleHeads, choices: Sequence[Choice], dropout: float, head_dropout: float = 0.0, smoothing: float = 0.0
) -> _Read:
    rows = [row for choice in choices for row in choice.rows]
    batch = padded(rows, network.shape.n_positions).to(network)
    hidden = network.hidden(batch.ids, dropout)  # (R, T, C)
    last = torch.tensor([len(row.ids) - 1 for row in rows], device=hidden.device)
    states = hidden[torch.arange(len(rows), device=hidden.device), last]  # (R, C)
    return _Read(nll_of(network, hidden, batch, smoothing).sum(), network.judged(states, head_dropout))


class _BothHeads:
    """What the two objectives share."""

    def __init__(self, network: DoubleHeads, shares: Mapping[str, float]) -> None:
        self.network, self.shares = network, shares

    def length(self, example: Choice) -> int:
        """Rows times the longest row."""
        return len(example.rows) * max(len(row.ids) for row in example.rows)


class Choosing(_BothHeads):
    """`lm_coef * lm_loss + mc_coef * mc_loss`: nats a token of the true reply, and nats a choice among candidates."""

    def __init__(self, network: DoubleHeads, lm_coef: float = 1.0, mc_coef: float = 1.0) -> None:
        """Takes a network whose head has one output, and train.py's `--lm_coef` and `--mc_coef`."""
        super().__init__(network, {"lm_loss": lm_coef, "mc_loss": mc_coef})

    def counts(self, examples: Sequence[Choice]) -> Mapping[str, int]:
        """Learnt tokens, and choices."""
        return {"lm_loss": sum(sum(choice.rows[-1].learnt) for choice in examples), "mc_loss": len(examples)}

    def sums(self, examples: Sequence[Choice], dropout: float, step: int) -> Mapping[str, Tensor]:
        """Cross-entropies in nats."""
        read = _read(self.network, examples, dropout)
        each = torch.split(read.judged[:, 0], [len(choice.rows) for choice in examples])
        table = nn.utils.rnn.pad_sequence(list(each), batch_first=True, padding_value=-torch.inf)  # (N, most candidates)
        true = torch.tensor([len(choice.rows) - 1 for choice in examples], device=table.device)
        return {"lm_loss": read.nll, "mc_loss": F.cross_entropy(table, true, reduction="sum")}


class NextUtterance(_BothHeads):
    """`0.6 * lm_loss + 0.4 * nup_loss`: label-smoothed nats a token of the true reply, and nats a candidate judged.

    The original smooths by a divergence that differs from this cross-entropy by a constant.
    """

    SMOOTHING = 0.05

    def __init__(self, network: DoubleHeads, lm_coef: float = 0.6, nup_coef: float = 0.4) -> None:
        """Takes a network whose head has two outputs, and the weights of `TransformerAgent.predict`."""
        super().__init__(network, {"lm_loss": lm_coef, "nup_loss": nup_coef})

    def counts(self, examples: Sequence[Choice]) -> Mapping[str, int]:
        """Learnt tokens, and candidates."""
        tokens = sum(sum(choice.rows[-1].learnt) for choice in examples)
        return {"lm_loss": tokens, "nup_loss": sum(len(choice.rows) for choice in examples)}

    def sums(self, examples: Sequence[Choice], dropout: float, step: int) -> Mapping[str, Tensor]:
        """Cross-entropies in nats."""
        read = _read(self.network, examples, dropout, HEAD_DROPOUT if dropout else 0.0, self.SMOOTHING)
        true = [row is choice.rows[-1] for choice in examples for row in choice.rows]
        wanted = torch.tensor(true, dtype=torch.long, device=read.judged.device)
        return {"lm_loss": read.nll, "nup_loss": F.cross_entropy(read.judged, wanted, reduction="sum")}


@torch.inference_mode()
def head_scores(network: DoubleHeads, choice: Choice) -> npt.NDArray[np.float64]:
    """How good the head finds each candidate, (candidates,): with two outputs, the log-odds that it comes next."""
    judged = _read(network, [choice], 0.0).judged.double()
    scores = judged[:, 0] if network.outputs == 1 else judged[:, 1] - judged[:, 0]
    found: npt.NDArray[np.float64] = scores.cpu().numpy()
    return found

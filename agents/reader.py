"""The two judges in one small network: which goals a line carries out, and which persona a reply speaks for.

It reads and never speaks: a few GPT-2 layers with a goal head on top and a matching head beside it. The *goal judge* is trained on
labels that people or the grammar gave, never on those a lexicon guessed; the *matcher* only on which persona a talk belongs to. It knows
nothing of environments.

Letters: N texts or turns, T tokens, C hidden size, G goals, L facts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from convogym.agents.gpt2 import GPT2, GPT2Shape
from convogym.agents.tokenizer import BPETokenizer
from convogym.errors import CheckpointError
from convogym.goals import PUBLISHED_GOALS

FORMAT = 1
FOLLOWS = 0.5  # a line carries out a goal when the judge gives it at least this chance
MAX_TOKENS = 96  # of a text with the one before it; the beginning of what came before is cut


class ReaderNetwork(nn.Module):
    """GPT-2 layers under a goal head and a matching head."""

    def __init__(self, shape: GPT2Shape) -> None:
        """Makes the parameters; the heads start at zero evidence."""
        super().__init__()
        size = shape.n_embd
        self.body = GPT2(shape)
        self.goal_head = nn.Linear(2 * size, len(PUBLISHED_GOALS))
        self.reply_map = nn.Linear(2 * size, size, bias=False)
        self.fact_map = nn.Linear(2 * size, size, bias=False)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.nothing = nn.Parameter(torch.tensor(0.0))

    def pooled(self, ids: Tensor, judged: Tensor) -> Tensor:
        """What the layers make of each text.

        Args:
            ids: (N, T) int64, padded at the right.
            judged: (N, T) bool, the tokens of the text itself (not of the one before it), its eos included; at least one a row.

        Returns:
            (N, 2C): mean over the judged tokens, then the last of them.
        """
        hidden = self.body.hidden(ids)  # (N, T, C)
        share = judged / judged.sum(1, keepdim=True)  # (N, T)
        last = (judged * torch.arange(1, ids.size(1) + 1, device=ids.device)).argmax(1)
        return torch.cat([(hidden * share[:, :, None]).sum(1), hidden[torch.arange(len(ids), device=ids.device), last]], -1)

    def goal_logits(self, pooled: Tensor) -> Tensor:
        """(N, 2C) -> (N, G)."""
        out: Tensor = self.goal_head(pooled)
        return out

    def fit(self, replies: Tensor, facts: Tensor) -> Tensor:
        """How well each reply goes with each fact, (N, 2C) and (L, 2C) -> (N, L): cosine times a learnt scale.

        P2 Bot's receiver has the same matrix of reply by fact, unnormalised (`agents/receiver`; the paper's 3.2).
        """
        r = nn.functional.normalize(self.reply_map(replies), dim=-1)
        f = nn.functional.normalize(self.fact_map(facts), dim=-1)
        return (r @ f.T) * (10 * self.scale)

    def evidence(self, fit: Tensor, owner: Tensor, personas: int) -> Tensor:
        """Log-likelihood of each turn's reply under each persona, up to a constant per turn.

        A reply speaks of one of the persona's facts, or of nothing: `log((e^b + sum_l e^fit[l]) / (1 + L))`. A reply that fits no fact
        gives every persona the same.

        Args:
            fit: (N, L) from `fit`.
            owner: (L,) int64, which persona each fact belongs to.
            personas: their number P.

        Returns:
            (N, P).
        """
        owned = owner[None, :] == torch.arange(personas, device=owner.device)[:, None]  # (P, L)
        per_fact = fit[:, None, :].masked_fill(~owned[None], -torch.inf)  # (N, P, L)
        nothing = self.nothing.expand(fit.size(0), personas, 1)
        total = torch.logsumexp(torch.cat([per_fact, nothing], -1), -1)
        return total - torch.log1p(owned.sum(-1).to(total.dtype))[None]


class Reader:
    """The trained judges (see `convogym.speakers.GoalJudge` and `PersonaMatcher`)."""

    def __init__(self, network: ReaderNetwork, tokenizer: BPETokenizer, name: str = "persona-reader") -> None:
        """Takes a network in evaluation mode."""
        self.network, self.tokenizer, self.name = network, tokenizer, name
        self._facts: dict[str, Tensor] = {}

    @staticmethod
    def load(folder: Path) -> Reader:
        """Reads what `save` wrote.

        Raises:
            CheckpointError: the folder is missing, damaged or of another kind.
        """
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
            if config.get("convogym_reader") != FORMAT:
                raise CheckpointError(f"{folder}: expected a reader of format {FORMAT}, got {config.get('convogym_reader')!r}.")
            network = ReaderNetwork(GPT2Shape(**config["shape"]))
            network.load_state_dict({name: t.float() for name, t in load_file(folder / "model.safetensors").items()}, strict=True)
        except CheckpointError:
            raise
        except Exception as error:  # json, safetensors and torch each raise their own for damaged files
            raise CheckpointError(f"{folder}: expected a reader, {type(error).__name__}: {error}.") from error
        return Reader(network.eval(), BPETokenizer.load(folder, lower=True))

    def save(self, folder: Path) -> None:
        """Writes weights (half precision), sizes and tokenizer."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: t.detach().half().contiguous() for name, t in self.network.state_dict().items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        config = {"convogym_reader": FORMAT, "shape": dataclasses.asdict(self.network.body.shape)}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
        self.tokenizer.save(folder)

    def encoded(self, text: str, before: str = "") -> tuple[list[int], int]:
        """Ids of a text after another, and where the text itself begins."""
        eos = self.tokenizer.eos
        own = [*self.tokenizer.encode(text), eos][:MAX_TOKENS]
        context = [*self.tokenizer.encode(before), eos] if before else [eos]
        context = context[max(0, len(own) + len(context) - MAX_TOKENS) :]
        return context + own, len(context)

    def pooled(self, texts: Sequence[tuple[str, str]]) -> Tensor:
        """What the network makes of (before, text) pairs, (N, 2C), with gradient if one is wanted."""
        rows = [self.encoded(text, before) for before, text in texts]
        width = max(len(ids) for ids, _ in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        judged = torch.zeros(len(rows), width, dtype=torch.bool)
        for i, (row, start) in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            judged[i, start : len(row)] = True
        pooled: Tensor = self.network.pooled(ids, judged)
        return pooled

    @torch.inference_mode()
    def probabilities(self, previous: Sequence[str], lines: Sequence[str]) -> npt.NDArray[np.float64]:
        """Chance that each line carries out each published goal; see `convogym.speakers.GoalJudge`."""
        out = np.zeros((len(lines), len(PUBLISHED_GOALS)))
        pairs = list(zip(previous, lines, strict=True))
        for group in _by_length(pairs):
            logits = self.network.goal_logits(self.pooled([pairs[i] for i in group]))
            out[group] = torch.sigmoid(logits).double().numpy()
        return out

    @torch.inference_mode()
    def evidence(
        self, turns: Sequence[tuple[str, str]], personas: Sequence[Sequence[Sequence[str]]]
    ) -> list[npt.NDArray[np.float64]]:
        """Log-likelihood of each reply under each candidate persona; see `convogym.speakers.PersonaMatcher`."""
        self._remember(fact for candidates in personas for facts in candidates for fact in facts)
        replies = torch.empty(len(turns), 2 * self.network.body.shape.n_embd)
        for group in _by_length(turns):
            replies[group] = self.pooled([turns[i] for i in group])
        out = []
        for reply, candidates in zip(replies, personas, strict=True):
            facts = torch.stack([self._facts[fact] for persona in candidates for fact in persona])
            owner = torch.tensor([i for i, persona in enumerate(candidates) for _ in persona])
            fit = self.network.fit(reply[None], facts)
            out.append(self.network.evidence(fit, owner, len(candidates))[0].double().numpy())
        return out

    def _remember(self, facts: Iterable[str]) -> None:
        new = [("", fact) for fact in dict.fromkeys(facts) if fact not in self._facts]
        for group in _by_length(new):
            for i, vector in zip(group, self.pooled([new[i] for i in group]), strict=True):
                self._facts[new[i][1]] = vector.clone()


def _by_length(pairs: Sequence[tuple[str, str]], rows: int = 64) -> list[list[int]]:
    """Indices in groups of texts of like length, so that little is padded."""
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
    return [order[i : i + rows] for i in range(0, len(order), rows)]


def load_reader(folder: Path | None = None) -> Reader:
    """The shipped reader, or the one in a folder."""
    return Reader.load(folder or Path(str(files("convogym") / "models" / "persona-reader")))

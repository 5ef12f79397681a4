"""The two judges in one small network: which goals a line carries out, and which persona a reply speaks for.

It reads and never speaks: a few GPT-2 layers with a goal head on top and a matching head beside it. The *goal judge* is
trained on labels that people or the grammar gave, never on those a lexicon guessed; the *matcher* only on which persona a
talk belongs to. It knows nothing of environments.

Letters: N texts or turns, T tokens, C hidden size, D matching vector, G goals, L facts.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from convogym.agents.folders import replaced
from convogym.agents.gpt2 import GPT2, GPT2Shape
from convogym.agents.ngrams import NGramHead
from convogym.agents.tokenizer import BPETokenizer
from convogym.errors import CheckpointError
from convogym.goals import PUBLISHED_GOALS

FORMAT = 2
FOLLOWS = 0.5  # a line carries out a goal when the judge gives it at least this chance
VECTOR = 64  # numbers in a token's matching vector
WORD_SCALE = 4.0  # brings word embeddings (about 0.1 a number) nearer to the size of normed states (about 1)
GROUP = 24  # texts of like length that are read together
MAX_TOKENS = 96  # of a text with the one before it; the beginning of what came before is cut


class Reading(NamedTuple):
    """What the layers make of some texts."""

    pooled: Tensor
    """(N, 3C): mean state and mean word embedding over a text's tokens, then the last state"""
    vectors: Tensor
    """(N, T, D) a unit vector for each token"""
    weights: Tensor
    """(N, T) how much each token matters, summing to 1 over a text; 0 outside it"""
    inside: Tensor
    """(N, T) bool: the text's own tokens"""


class ReaderNetwork(nn.Module):
    """GPT-2 layers under a goal head and a matching head."""

    def __init__(self, shape: GPT2Shape) -> None:
        """Makes the parameters; the goal head starts at random, the matching head at "alike words match"."""
        super().__init__()
        size = shape.n_embd
        self.body = GPT2(shape)
        self.goal_head = nn.Linear(3 * size, len(PUBLISHED_GOALS))
        self.ngrams = NGramHead(len(PUBLISHED_GOALS))
        self.token_map = nn.Linear(2 * size, VECTOR, bias=False)
        self.weight_map = nn.Linear(2 * size, 1)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.nothing = nn.Parameter(torch.tensor(0.0))

    def read(self, ids: Tensor, judged: Tensor) -> Reading:
        """Reads texts.

        Args:
            ids: (N, T) int64, padded at the right.
            judged: (N, T) bool, the tokens of the text itself (not of the one before it), its eos included; at least one a
                row.
        """
        hidden = self.body.hidden(ids)  # (N, T, C)
        share = judged / judged.sum(1, keepdim=True)  # (N, T)
        last = (judged * torch.arange(1, ids.size(1) + 1, device=ids.device)).argmax(1)
        words = self.body.transformer.wte(ids) * WORD_SCALE  # (N, T, C)
        means = (torch.cat([hidden, words], -1) * share[:, :, None]).sum(1)  # (N, 2C)
        pooled = torch.cat([means, hidden[torch.arange(len(ids), device=ids.device), last]], -1)
        both = torch.cat([hidden, words], -1)  # (N, T, 2C): the word in its context, and the bare word
        vectors = functional.normalize(self.token_map(both), dim=-1)
        weights = torch.softmax(self.weight_map(both).squeeze(-1).masked_fill(~judged, -torch.inf), -1)
        return Reading(pooled, vectors, weights, judged)

    def goal_logits(self, pooled: Tensor) -> Tensor:
        """(N, 3C) -> (N, G)."""
        out: Tensor = self.goal_head(pooled)
        return out

    def fit(self, replies: Reading, facts: Reading) -> Tensor:
        """How well each of N replies goes with each of L facts, (N, L).

        Every token of the fact looks for its nearest in the reply; the cosines are summed by the fact's token weights (late
        interaction, Khattab & Zaharia 2020, "ColBERT"). P2 Bot's receiver has the same matrix of reply by fact, of sentence
        vectors (`agents/receiver`).
        """
        alike = torch.einsum("nid,ljd->nlij", replies.vectors, facts.vectors)  # (N, L, Ti, Tj)
        best = alike.masked_fill(~replies.inside[:, None, :, None], -1.0).amax(2)  # (N, L, Tj)
        return (best * facts.weights[None]).sum(-1) * (10 * self.scale)

    def evidence(self, fit: Tensor, owner: Tensor, personas: int) -> Tensor:
        """Log-likelihood of each turn's reply under each persona, up to a constant per turn.

        A reply speaks of one of the persona's facts, or of nothing: `log((e^b + sum_l e^fit[l]) / (1 + L))`. A reply that
        fits no fact gives every persona the same.

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
        self._facts: dict[str, tuple[Tensor, Tensor]] = {}  # vectors (T, D) and weights (T,) of each fact seen
        self._pooled: dict[tuple[str, str], npt.NDArray[np.float32]] = {}

    @staticmethod
    def load(folder: Path) -> Reader:
        """Reads what `save` wrote.

        Raises:
            CheckpointError: the folder is missing, damaged or of another kind.
        """
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
            if config.get("convogym_reader") != FORMAT:
                raise CheckpointError(
                    f"{folder}: expected a reader of format {FORMAT}, got {config.get('convogym_reader')!r}."
                )
            network = ReaderNetwork(GPT2Shape(**config["shape"]))
            network.load_state_dict(
                {name: t.float() for name, t in load_file(folder / "model.safetensors").items()}, strict=True
            )
        except CheckpointError:
            raise
        except Exception as error:  # json, safetensors and torch each raise their own for damaged files
            raise CheckpointError(f"{folder}: expected a reader, {type(error).__name__}: {error}.") from error
        return Reader(network.eval(), BPETokenizer.load(folder, lower=True))

    def save(self, folder: Path) -> None:
        """Writes weights (half precision), sizes and tokenizer."""
        tensors = {name: t.detach().half().contiguous() for name, t in self.network.state_dict().items()}
        config = {"convogym_reader": FORMAT, "shape": dataclasses.asdict(self.network.body.shape)}
        with replaced(folder) as scratch:
            save_file(tensors, scratch / "model.safetensors", metadata={"format": "pt"})
            (scratch / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
            self.tokenizer.save(scratch)

    def encoded(self, text: str, before: str = "") -> tuple[list[int], int]:
        """Ids of a text after another, and where the text itself begins."""
        eos = self.tokenizer.eos
        own = [*self.tokenizer.encode(text), eos][:MAX_TOKENS]
        context = [*self.tokenizer.encode(before), eos] if before else [eos]
        context = context[max(0, len(own) + len(context) - MAX_TOKENS) :]
        return context + own, len(context)

    def read(self, texts: Sequence[tuple[str, str]]) -> Reading:
        """What the network makes of (before, text) pairs, with gradient if one is wanted."""
        rows = [self.encoded(text, before) for before, text in texts]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
        groups = [order[i : i + GROUP] for i in range(0, len(order), GROUP)]
        parts = [self._read_alike([rows[i] for i in group]) for group in groups]
        back = torch.tensor(order).argsort()
        width = max(part.inside.size(1) for part in parts)
        joined = (
            torch.cat([functional.pad(x, (0, 0) * (x.dim() - 2) + (0, width - x.size(1))) for x in column])
            for column in list(zip(*parts, strict=True))[1:]
        )
        return Reading(torch.cat([part.pooled for part in parts])[back], *(x[back] for x in joined))

    def _read_alike(self, rows: Sequence[tuple[list[int], int]]) -> Reading:
        """Reads rows of like length."""
        width = max(len(ids) for ids, _ in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        judged = torch.zeros(len(rows), width, dtype=torch.bool)
        for i, (row, start) in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            judged[i, start : len(row)] = True
        return self.network.read(ids, judged)

    @torch.inference_mode()
    def probabilities(self, previous: Sequence[str], lines: Sequence[str]) -> npt.NDArray[np.float64]:
        """Chance that each line carries out each published goal; see `convogym.speakers.GoalJudge`.

        Its log-odds are the mean of what the goal head makes of the line read in order and the n-gram head of its words.
        """
        out = np.zeros((len(lines), len(PUBLISHED_GOALS)))
        pairs = list(zip(previous, lines, strict=True))
        for group in _by_length(pairs):
            read = self.network.goal_logits(self.read([pairs[i] for i in group]).pooled)
            heard = self.network.ngrams.logits([lines[i] for i in group])
            out[group] = torch.sigmoid((read + heard) / 2).double().numpy()
        return out

    @torch.inference_mode()
    def pooled(self, previous: Sequence[str], lines: Sequence[str]) -> npt.NDArray[np.float64]:
        """What the goal head sees of each line, shape (N, 3C); `convogym.agents.goal_head` fits heads for more goals to it."""
        pairs = list(zip(previous, lines, strict=True))
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._pooled]  # corpora come back with every goal
        for group in _by_length(new):
            for i, row in zip(group, self.read([new[i] for i in group]).pooled.numpy(), strict=True):
                self._pooled[new[i]] = row
        return np.stack([self._pooled[pair] for pair in pairs]).astype(np.float64)

    @torch.inference_mode()
    def evidence(
        self, turns: Sequence[tuple[str, str]], personas: Sequence[Sequence[Sequence[str]]]
    ) -> list[npt.NDArray[np.float64]]:
        """Log-likelihood of each reply under each candidate persona; see `convogym.speakers.PersonaMatcher`."""
        self._remember(fact for candidates in personas for facts in candidates for fact in facts)
        out: list[npt.NDArray[np.float64]] = [np.zeros(0)] * len(turns)
        for group in _by_length(turns):
            replies = self.read([turns[i] for i in group])
            for place, i in enumerate(group):
                reply = Reading(*(part[place : place + 1] for part in replies))
                facts = self._recalled([fact for persona in personas[i] for fact in persona])
                owner = torch.tensor([p for p, persona in enumerate(personas[i]) for _ in persona])
                evidence = self.network.evidence(self.network.fit(reply, facts), owner, len(personas[i]))
                out[i] = evidence[0].double().numpy()
        return out

    @torch.inference_mode()
    def features(self, turns: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        """What the layers make of each (line, reply): `Reading.pooled` of the reply after its line, shape (len(turns), 3C)."""
        out = np.zeros((len(turns), 3 * self.network.body.shape.n_embd))
        for group in _by_length(turns):
            out[group] = self.read([turns[i] for i in group]).pooled.double().numpy()
        return out

    def _remember(self, facts: Iterable[str]) -> None:
        new = [("", fact) for fact in dict.fromkeys(facts) if fact not in self._facts]
        for group in _by_length(new):
            read = self.read([new[i] for i in group])
            for place, i in enumerate(group):
                inside = read.inside[place]
                self._facts[new[i][1]] = (read.vectors[place][inside].clone(), read.weights[place][inside].clone())

    def _recalled(self, facts: Sequence[str]) -> Reading:
        known = [self._facts[fact] for fact in facts]
        vectors = torch.nn.utils.rnn.pad_sequence([v for v, _ in known], batch_first=True)
        weights = torch.nn.utils.rnn.pad_sequence([w for _, w in known], batch_first=True)
        return Reading(torch.empty(0), vectors, weights, weights > 0)


def _by_length(pairs: Sequence[tuple[str, str]], rows: int = 64) -> list[list[int]]:
    """Indices in groups of texts of like length, so that little is padded."""
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
    return [order[i : i + rows] for i in range(0, len(order), rows)]


def load_reader(folder: Path | None = None) -> Reader:
    """The shipped reader, or the one in a folder."""
    return Reader.load(folder or Path(str(files("convogym") / "models" / "persona-reader")))

"""The two judges in one small network: which goals a line carries out, and which persona a reply speaks for.

It reads and never speaks: a few GPT-2 layers with a goal head on top and a matching head beside it. The *goal judge* is
trained on labels that people or the grammar gave, never on those a lexicon guessed; the *matcher* only on which persona a
talk belongs to. It knows nothing of environments.

Letters: N texts or turns, T tokens, C hidden size, D matching vector, G goals, L facts.
"""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from convogym.agents.fact_table import FactTable
from convogym.agents.folders import replaced
from convogym.agents.gpt2 import GPT2, GPT2Shape, stamp
from convogym.agents.ngrams import NGramHead
from convogym.agents.tokenizer import BPETokenizer
from convogym.agents.whole_texts import WholeTexts
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

    def read(self, ids: Tensor, judged: Tensor, hidden: Tensor | None = None) -> Reading:
        """Reads texts.

        Args:
            ids: (N, T) int64, padded at the right.
            judged: (N, T) bool, the tokens of the text itself (not of the one before it), its eos included; at least one a
                row.
            hidden: (N, T, C) what `body.hidden` gives, where it is known; 0 at padding.
        """
        hidden = self.body.hidden(ids) if hidden is None else hidden  # (N, T, C)
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
            fit: (..., L) from `fit`.
            owner: (L,) int64, which persona each fact belongs to.
            personas: their number P.

        Returns:
            (..., P), computed in double precision.
        """
        nothing = self.nothing.double()
        highest = torch.cat([fit.detach().double().flatten(), nothing.detach()[None]]).max()
        shares = torch.exp(fit.double() - highest)
        sums = torch.zeros(*fit.shape[:-1], personas, dtype=torch.double).index_add(-1, owner, shares)  # (..., P)
        facts = torch.bincount(owner, minlength=personas)  # (P,)
        return (highest + torch.log(sums + torch.exp(nothing - highest)) - torch.log1p(facts.double())).to(fit.dtype)


class Reader:
    """The trained judges (see `convogym.speakers.GoalJudge` and `PersonaMatcher`)."""

    def __init__(self, network: ReaderNetwork, tokenizer: BPETokenizer, name: str = "persona-reader") -> None:
        """Takes a network in evaluation mode."""
        self.network, self.tokenizer, self.name = network, tokenizer, name
        self._texts = WholeTexts(network.body)
        self._parameters = list(network.parameters())
        self._stamp = stamp(self._parameters)
        self._facts = FactTable(VECTOR)  # of these weights
        self._lock = threading.Lock()
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
        parts = [self.network.read(*_padded([rows[i] for i in group])) for group in _groups(order)]
        back = torch.tensor(order).argsort()
        width = max(part.inside.size(1) for part in parts)
        joined = (
            torch.cat([functional.pad(x, (0, 0) * (x.dim() - 2) + (0, width - x.size(1))) for x in column])
            for column in list(zip(*parts, strict=True))[1:]
        )
        return Reading(torch.cat([part.pooled for part in parts])[back], *(x[back] for x in joined))

    def _judged(self, texts: Sequence[tuple[str, str]]) -> Iterator[tuple[Sequence[int], Reading]]:
        """The same without gradient by compiled kernels, faster: groups of texts of like length, and which they are.

        One group after another: the states of all texts, some thousand facts, would take more memory than the network.
        """
        rows = [self.encoded(text, before) for before, text in texts]
        for group in _groups(sorted(range(len(rows)), key=lambda i: len(rows[i][0]))):
            ids, judged = _padded([rows[i] for i in group])
            hidden = torch.zeros(*ids.shape, self.network.body.shape.n_embd)
            for place, state in enumerate(self._texts.hidden([rows[i][0] for i in group])):
                hidden[place, : len(state)] = torch.from_numpy(state)
            yield group, self.network.read(ids, judged, hidden)

    @torch.inference_mode()
    def probabilities(self, previous: Sequence[str], lines: Sequence[str]) -> npt.NDArray[np.float64]:
        """Chance that each line carries out each published goal; see `convogym.speakers.GoalJudge`.

        Its log-odds are the mean of what the goal head makes of the line read in order and the n-gram head of its words.
        """
        out = np.zeros((len(lines), len(PUBLISHED_GOALS)))
        for group, reading in self._judged(list(zip(previous, lines, strict=True))):
            read = self.network.goal_logits(reading.pooled)
            heard = self.network.ngrams.logits([lines[i] for i in group])
            out[group] = torch.sigmoid((read + heard) / 2).double().numpy()
        return out

    @torch.inference_mode()
    def pooled(self, previous: Sequence[str], lines: Sequence[str]) -> npt.NDArray[np.float64]:
        """What the goal head sees of each line, shape (N, 3C); `convogym.agents.goal_head` fits heads for more goals to it."""
        pairs = list(zip(previous, lines, strict=True))
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self._pooled]  # corpora come back with every goal
        for group, reading in self._judged(new):
            for i, row in zip(group, reading.pooled.numpy(), strict=True):
                self._pooled[new[i]] = row
        return np.stack([self._pooled[pair] for pair in pairs]).astype(np.float64)

    @torch.inference_mode()
    def evidence(
        self, turns: Sequence[tuple[str, str]], personas: Sequence[Sequence[Sequence[str]]]
    ) -> list[npt.NDArray[np.float64]]:
        """Log-likelihood of each reply under each candidate persona; see `convogym.speakers.PersonaMatcher`."""
        replies: list[npt.NDArray[np.float32]] = [np.zeros((0, VECTOR), np.float32)] * len(turns)
        for group, reading in self._judged(turns):
            for i, vectors, inside in zip(group, reading.vectors, reading.inside, strict=True):
                replies[i] = vectors[inside].numpy()
        facts = [[fact for persona in candidates for fact in persona] for candidates in personas]
        with self._lock:  # the table may grow
            self._remember([fact for row in facts for fact in row])
            fits = torch.from_numpy(self._facts.fit(replies, facts)).double() * (10 * self.network.scale.double())
        everybody = [persona for candidates in personas for persona in candidates]
        owner = np.repeat(np.arange(len(everybody)), [len(persona) for persona in everybody])
        evidence = self.network.evidence(fits, torch.from_numpy(owner), len(everybody)).numpy()
        return np.split(evidence, np.cumsum([len(candidates) for candidates in personas])[:-1]) if turns else []

    @torch.inference_mode()
    def features(self, turns: Sequence[tuple[str, str]]) -> npt.NDArray[np.float64]:
        """What the layers make of each (line, reply): `Reading.pooled` of the reply after its line, shape (len(turns), 3C)."""
        out = np.zeros((len(turns), 3 * self.network.body.shape.n_embd))
        for group, reading in self._judged(turns):
            out[group] = reading.pooled.double().numpy()
        return out

    def _remember(self, facts: Sequence[str]) -> None:
        """Puts facts into the table; should the weights have changed, what was in it is forgotten."""
        now = stamp(self._parameters)
        if now != self._stamp:
            self._stamp, self._facts = now, FactTable(VECTOR)
        new = self._facts.missing(facts)
        for group, reading in self._judged([("", fact) for fact in new]):
            for i, vectors, weights, inside in zip(group, reading.vectors, reading.weights, reading.inside, strict=True):
                self._facts.add(new[i], vectors[inside].numpy(), weights[inside].numpy())


def _groups(order: Sequence[int]) -> list[Sequence[int]]:
    """Texts of like length, from an order by length, so that little is padded."""
    return [order[i : i + GROUP] for i in range(0, len(order), GROUP)]


def _padded(rows: Sequence[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
    """What `ReaderNetwork.read` takes of texts as `Reader.encoded` gives them."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    judged = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, (row, start) in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        judged[i, start : len(row)] = True
    return ids, judged


def load_reader(folder: Path | None = None) -> Reader:
    """The shipped reader, or the one in a folder."""
    return Reader.load(folder or Path(str(files("convogym") / "models" / "persona-reader")))

"""The original's trained state: what a speaker said, mapped so that the facts of their own persona lie nearest.

`RankingStateEstimator` of af1tang/convogym (`states.py`): an MLP on the mean last hidden state of one speaker's utterances,
fitted so that a persona's facts, embedded by the language model alone, are nearer than random ones. Knows embeddings; knows
nothing of environments.

Letters: B states, C hidden size, m facts of a persona, k random facts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from convogym.agents.folders import replaced
from convogym.errors import CheckpointError

FORMAT = 1
DROPOUT = 0.2  # this and the numbers below: `RankingStateEstimator`, `RankingLoss` of the original
MARGIN = 1.0
NEGATIVES = 20
LEARNING_RATE = 1e-3
BATCH = 32

Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]
"""Texts to mean last hidden states, each text standing alone, (len(texts), C)"""


class RankingHead(nn.Module):
    """`Linear - Tanh - Dropout - Linear`, C numbers to C numbers."""

    def __init__(self, size: int) -> None:
        """Makes the parameters, at random."""
        super().__init__()
        self.size = size
        self.layers = nn.Sequential(nn.Linear(size, size), nn.Tanh(), nn.Dropout(DROPOUT), nn.Linear(size, size))

    def forward(self, states: Tensor) -> Tensor:
        """(B, C) -> (B, C)."""
        out: Tensor = self.layers(states)
        return out

    def save(self, folder: Path, model: str) -> None:
        """Writes the weights, and whose states they are for."""
        with replaced(folder) as scratch:
            tensors = {name: t.detach().contiguous() for name, t in self.state_dict().items()}
            save_file(tensors, scratch / "model.safetensors", metadata={"format": "pt"})
            config = {"convogym_ranking_state": FORMAT, "size": self.size, "model": model}
            (scratch / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")

    @staticmethod
    def load(folder: Path, size: int) -> RankingHead:
        """Reads what `save` wrote, in evaluation mode.

        Raises:
            CheckpointError: the folder is missing, damaged, or for states of another size.
        """
        try:
            config = json.loads((folder / "config.json").read_text("utf-8"))
            if config["convogym_ranking_state"] != FORMAT or config["size"] != size:
                raise CheckpointError(f"expected format {FORMAT} for states of {size} numbers, got {config}")
            head = RankingHead(size)
            head.load_state_dict(load_file(folder / "model.safetensors"), strict=True)
        except Exception as error:  # json, safetensors and torch each raise their own for damaged files
            raise CheckpointError(
                f"{folder}: expected a state estimator of `convogym fit-state`, {type(error).__name__}: {error}."
            ) from error
        return head.eval()


@dataclass(frozen=True)
class Talk:
    """What one speaker said, and who they are, as embeddings."""

    said: npt.NDArray[np.float32]
    """(C,) of all their utterances, joined"""
    facts: npt.NDArray[np.float32]
    """(m, C)"""
    others: npt.NDArray[np.int64]
    """which facts of the pool are not theirs"""


def talks_of(spoken: Sequence[tuple[str, Sequence[str]]], embed: Embed) -> tuple[list[Talk], npt.NDArray[np.float32]]:
    """Embeds (all that was said, facts) pairs.

    Returns:
        The talks, and the pool of all their facts, (F, C).
    """
    pool = list(dict.fromkeys(fact for _, facts in spoken for fact in facts))
    place = {fact: i for i, fact in enumerate(pool)}
    vectors = embed(pool)
    said = embed([text for text, _ in spoken])
    talks = []
    for state, (_, facts) in zip(said, spoken, strict=True):
        own = [place[fact] for fact in facts]
        talks.append(Talk(state, vectors[own], np.setdiff1d(np.arange(len(pool)), own)))
    return talks, vectors


def ranking_loss(states: Tensor, positives: Sequence[Tensor], negatives: Sequence[Tensor]) -> Tensor:
    """The sum over states of `convogym.envs.rewards.triplet_loss`, with its gradient.

    Args:
        states: (B, C).
        positives: for each state (m, C).
        negatives: for each state (k, C); cut into chunks of m, an incomplete last chunk is dropped.
    """
    total = states.new_zeros(())
    for state, own, random in zip(states, positives, negatives, strict=True):
        m = len(own)
        near = torch.linalg.vector_norm(own - state, dim=1)
        far = torch.linalg.vector_norm(random[: len(random) // m * m] - state, dim=1).view(-1, m)
        total = total + torch.relu(near - far + MARGIN).sum()
    return total


def train_head(
    head: RankingHead, talks: Sequence[Talk], pool: npt.NDArray[np.float32], epochs: int, seed: int
) -> Iterator[float]:
    """Fits a head in place, by the original's Adam, `BATCH` talks a step.

    Args:
        head: trained; in evaluation mode afterwards.
        talks: at least one.
        pool: (F, C) what random facts are drawn from; more than `NEGATIVES` beside any persona's own.
        epochs: passes over the talks (the original makes one).
        seed: of order, negatives and dropout.

    Yields:
        The mean loss of a talk after every step.
    """
    rng = np.random.default_rng([seed, 31])
    torch.manual_seed(seed)
    optimiser = torch.optim.Adam(head.parameters(), lr=LEARNING_RATE)
    facts = torch.from_numpy(pool)
    head.train()
    try:
        for _ in range(epochs):
            order = rng.permutation(len(talks))
            for first in range(0, len(order), BATCH):
                chosen = [talks[i] for i in order[first : first + BATCH]]
                random = [facts[torch.from_numpy(rng.choice(talk.others, NEGATIVES, replace=False))] for talk in chosen]
                states = head(torch.from_numpy(np.stack([talk.said for talk in chosen])))
                loss = ranking_loss(states, [torch.from_numpy(talk.facts) for talk in chosen], random)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                yield float(loss.detach()) / len(chosen)
    finally:
        head.eval()


@torch.inference_mode()
def ranked_facts(
    head: RankingHead | None, talks: Sequence[Talk], pool: npt.NDArray[np.float32], seed: int
) -> npt.NDArray[np.float64]:
    """Of each talk prec@1, prec@5, rec@5 and rec@10 among its facts and `NEGATIVES` random ones, (talks, 4).

    By cosine, as the original's `_score_triplet`: prec@k = hits among the first k / k, rec@k = hits / m. None for a head takes
    the states as they are. Ties count against the true facts.
    """
    rng = np.random.default_rng([seed, 32])
    out = np.zeros((len(talks), 4))
    for row, talk in zip(out, talks, strict=True):
        state = torch.from_numpy(talk.said)
        code = (state if head is None else head(state[None])[0]).numpy()
        facts = np.concatenate([talk.facts, pool[rng.choice(talk.others, NEGATIVES, replace=False)]])
        cosines = facts @ code / np.maximum(np.linalg.norm(facts, axis=1) * np.linalg.norm(code), 1e-9)
        is_true = np.arange(len(facts)) < len(talk.facts)
        first = is_true[np.lexsort((is_true, -cosines))]
        hits = {k: first[:k].sum() for k in (1, 5, 10)}
        row[:] = hits[1], hits[5] / 5, hits[5] / len(talk.facts), hits[10] / len(talk.facts)
    return out


def ranking_states(embed: Embed, head: RankingHead) -> Embed:
    """What maps texts to the head's code of each."""

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        codes: npt.NDArray[np.float32] = head(torch.from_numpy(embed(texts))).numpy()
        return codes

    return encode

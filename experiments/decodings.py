"""The ways in which a reply is drawn for a score, by name. Knows their settings; knows nothing of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from convogym.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from convogym.agents.sampling import Sampling

DECODINGS = ("greedy", "sample", "mbr")


class Decoding(NamedTuple):
    """How every reply is drawn."""

    sampling: Sampling
    """of each candidate"""
    candidates: int
    """drawn for a reply, of which the one that the others agree with most is kept; 1 = no choice"""
    protocol: str
    """the same in words"""


def decoding_of(name: str, candidates: int, usual: Sampling) -> Decoding:
    """The decoding of a name.

    Args:
        name: `greedy`: always the likeliest token. `sample`: one draw as the model usually speaks. `mbr`: of some such
            draws the one with the highest mean word F1 against the others that says none of its earlier replies again
            (`convogym.metrics.consensus`).
        candidates: draws for `mbr`, at least 2; the others ignore it.
        usual: how the model speaks unless it is told otherwise.
    """
    if name not in DECODINGS:
        raise UnknownNameError("decoding", name, DECODINGS)
    if name == "mbr" and candidates < 2:
        raise InputError(f"`candidates` must be at least 2 for mbr, got {candidates}; for one draw use sample.")
    from convogym.agents.sampling import Sampling

    if name == "greedy":
        return Decoding(Sampling(top_k=1, top_p=1.0), 1, "greedy")
    settings = f"top-k {usual.top_k}, top-p {usual.top_p}, temperature {usual.temperature}"
    if name == "sample":
        return Decoding(usual, 1, f"sampled ({settings})")
    chosen = (
        f"minimum Bayes risk: of {candidates} sampled ({settings}) the one with the highest mean word F1 against the others, "
        "none of the dialogue's earlier replies again"
    )
    return Decoding(usual, candidates, chosen)

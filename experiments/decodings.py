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


def decoding_of(name: str, candidates: int) -> Decoding:
    """The decoding of a name.

    Args:
        name: `greedy`: always the likeliest token. `sample`: one draw with the shipped default sampling. `mbr`: of some such
            draws the one with the highest mean word F1 against the others (`convogym.metrics.consensus`).
        candidates: draws for `mbr`, at least 2; the others ignore it.
    """
    if name not in DECODINGS:
        raise UnknownNameError("decoding", name, DECODINGS)
    if name == "mbr" and candidates < 2:
        raise InputError(f"`candidates` must be at least 2 for mbr, got {candidates}; for one draw use sample.")
    from convogym.agents.sampling import Sampling

    if name == "greedy":
        return Decoding(Sampling(top_k=1, top_p=1.0), 1, "greedy")
    drawn = Sampling()
    settings = f"top-k {drawn.top_k}, top-p {drawn.top_p}, temperature {drawn.temperature}"
    if name == "sample":
        return Decoding(drawn, 1, f"sampled ({settings})")
    chosen = (
        f"minimum Bayes risk: of {candidates} sampled ({settings}) the one with the highest mean word F1 against the others"
    )
    return Decoding(drawn, candidates, chosen)

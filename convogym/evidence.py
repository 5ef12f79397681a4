"""What the replies of a talk tell of who speaks: each thing once. Knows no environment and no network.

A matcher gives the evidence of one reply as if the others had not been said. But who is asked the same again says the same
again, and that tells nothing new: counted twice, it makes a matcher that is wrong surer of it. So a turn that says again what
an earlier one said counts nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from convogym.speakers import PersonaMatcher
from convogym.stating import content_words

ALIKE = 0.8  # share of a reply's content words; of five words, four
_NEGATION = re.compile(r"\b(?:no|not|never|none|nothing|nobody)\b|n't\b", re.IGNORECASE)

Turn = tuple[str, str]  # a line and the reply to it


def says_again(turn: Turn, earlier: Sequence[Turn]) -> bool:
    """Whether a reply says what one of the earlier replies of its talk said.

    It does where the earlier one has at least `ALIKE` of its content words and both deny something or neither does. What fewer
    than two content words mean, such as "two" or "no", the question decides: they say again only what was said with the same
    content words, or where there are none with the same words, to the same line.

    Args:
        turn: line and reply.
        earlier: those before it.
    """
    own, denies = content_words(turn[1]), _denies(turn[1])
    return any(denies == _denies(said) and _again(own, turn, (before, said)) for before, said in earlier)


def _again(own: frozenset[str], turn: Turn, earlier: Turn) -> bool:
    said = content_words(earlier[1])
    if len(own) > 1:
        return len(own & said) >= ALIKE * len(own)
    same_reply = own == said if own else _plain(turn[1]) == _plain(earlier[1])
    return same_reply and _plain(turn[0]) == _plain(earlier[0])


def _denies(text: str) -> bool:
    return _NEGATION.search(text) is not None


def new_evidence(
    matcher: PersonaMatcher,
    turns: Sequence[Turn],
    earlier: Sequence[Sequence[Turn]],
    personas: Sequence[Sequence[Sequence[str]]],
) -> list[npt.NDArray[np.float64]]:
    """The matcher's evidence of turns, each after others of its talk; zeros for those that say something again.

    Args:
        matcher: is asked for the others, in one call.
        turns: one of each talk.
        earlier: for each turn, those before it.
        personas: for each turn, its candidate personas, each a sequence of facts.

    Returns:
        For each turn an array of shape (number of its candidates,), natural log-likelihoods up to a constant a turn.
    """
    found = [np.zeros(len(candidates)) for candidates in personas]
    new = [i for i, (turn, before) in enumerate(zip(turns, earlier, strict=True)) if not says_again(turn, before)]
    asked = matcher.evidence([turns[i] for i in new], [personas[i] for i in new]) if new else []
    for i, evidence in zip(new, asked, strict=True):
        found[i] = evidence
    return found


def talk_evidence(
    matcher: PersonaMatcher, turns: Sequence[Turn], candidates: Sequence[Sequence[str]]
) -> npt.NDArray[np.float64]:
    """`new_evidence` of a whole talk, shape (turns, candidates); summed over turns it is the talk's.

    Args:
        matcher: gives it.
        turns: all turns of a talk, in order.
        candidates: personas, each a sequence of facts.
    """
    found = new_evidence(matcher, turns, [turns[:i] for i in range(len(turns))], [candidates] * len(turns))
    return np.array(found).reshape(len(turns), len(candidates))


def _plain(text: str) -> list[str]:
    return text.casefold().split()

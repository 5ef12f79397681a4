"""How well a turn went: reward terms, their formulas, and weighted sums of them. Knows nothing of environments.

A term scores the same turn of many talks in one call, because the models behind it (judge, matcher, embedder) work best on
batches. What it must remember of one talk it hands out at `begin` and gets back at `score`, so one term object serves any
number of talks. The formulas stand alone as functions: `log_posterior`, `repetition`, `triplet_loss`. Terms that a language
model reads are in `language_rewards`, those about facts in `persona_rewards`, those from people in `human_rewards`.
"""

from __future__ import annotations

import itertools
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from convogym.dialogue import Persona
from convogym.envs.human_rewards import Learned, Manual, PreferenceHead, TurnReader
from convogym.envs.language_rewards import Coherence, Language
from convogym.envs.observations import Belief
from convogym.envs.persona_rewards import Coverage, MutualPersona
from convogym.errors import InputError, UnknownNameError
from convogym.evidence import Turn, new_evidence
from convogym.goals import PUBLISHED_GOALS, GoalSet
from convogym.speakers import GoalJudge, PersonaMatcher, ReplyScorer
from convogym.stating import content_words

Facts = tuple[str, ...]
Embed = Callable[[Sequence[str]], npt.NDArray[np.float32]]

NUM_DISTRACTORS = 20  # as many as the random facts of the original's ranking loss
NUM_NEGATIVES = 20  # RankingLoss(k=20) of af1tang/convogym, rewards.py
MARGIN = 1.0  # RankingLoss(margin=1.0), same file
HARD_POOL = 3  # hard distractors are drawn from this many times as many personas, those most like the true one


@dataclass(frozen=True)
class Scene:
    """One turn of one talk, as reward terms see it."""

    persona: Facts
    """facts of the responder"""
    previous: str
    """the utterance before the line; "" where the line opens the talk"""
    goal: str
    """text of the goal that the line was to carry out"""
    line: str
    """what the goal speaker said"""
    reply: str
    """what the responder answered"""
    earlier_replies: tuple[str, ...]
    """the responder's replies before this one, oldest first"""
    state: npt.NDArray[np.float32] = field(repr=False)
    """shape (feature_size,): mean features of the replies so far, this one included"""
    history: tuple[str, ...] = ()
    """all that was said before the line, the goal speaker first; even in number"""


class Term(Protocol):
    """One measure of how well a turn went."""

    @property
    def name(self) -> str:
        """What it is called in `info["reward_terms"]`."""

    def begin(self, persona: Facts, rng: np.random.Generator) -> Any:
        """What to remember of a talk that starts now; handed back, and perhaps changed, at every `score` of that talk."""

    def score(self, scenes: Sequence[Scene], memories: Sequence[Any]) -> list[float]:
        """The value of each scene, in order."""


# --- formulas ---------------------------------------------------------------------------------------------------------------


def log_posterior(evidence: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Log-probabilities `e - log(sum(exp(e)))` of candidates with equal priors from their log-likelihoods, shape (n,)."""
    shifted = evidence - evidence.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()), dtype=np.float64)


def same_text(first: str, second: str) -> bool:
    """Whether two utterances are the same but for case and white space."""
    return first.casefold().split() == second.casefold().split()


def _bigrams(text: str) -> set[tuple[str, str]]:
    words = re.findall(r"[\w']+", text.casefold())
    return set(itertools.pairwise(words))


def repetition(reply: str, earlier: Iterable[str]) -> float:
    """How much of a reply was said before, 0..1.

    1 if the reply equals an earlier one but for case and white space; otherwise the largest share, over the earlier replies,
    of the reply's distinct word pairs that the earlier one has too. A reply of one word repeats only by being equal.
    """
    earlier = list(earlier)
    if any(same_text(reply, other) for other in earlier):
        return 1.0
    pairs = _bigrams(reply)
    if not pairs:
        return 0.0
    return max((len(pairs & _bigrams(other)) / len(pairs) for other in earlier), default=0.0)


def triplet_loss(
    state: npt.NDArray[Any], positives: npt.NDArray[Any], negatives: npt.NDArray[Any], margin: float = MARGIN
) -> float:
    """The ranking loss of af1tang/convogym, summed.

    With positives `p_1..p_m` and negatives `n_1..n_k`, cut into consecutive chunks of m, an incomplete last chunk dropped:
    `sum over chunks c and i = 1..m of max(0, |s - p_i| - |s - n_(c*m+i)| + margin)`, with Euclidean distances.

    Args:
        state: s, shape (feature_size,).
        positives: shape (m, feature_size), m >= 1.
        negatives: shape (k, feature_size).
        margin: how much nearer a positive must be.
    """
    m = len(positives)
    near = np.linalg.norm(positives.astype(np.float64) - state, axis=1)  # (m,)
    far = np.linalg.norm(negatives.astype(np.float64) - state, axis=1)  # (k,)
    chunks = far[: len(far) // m * m].reshape(-1, m)  # (k // m, m)
    return float(np.maximum(0.0, near - chunks + margin).sum())


# --- terms ------------------------------------------------------------------------------------------------------------------


@dataclass
class _Lineup:
    """The candidates of one talk and what is known of them."""

    candidates: tuple[Facts, ...]
    """the true persona first, then the distractors"""
    evidence: npt.NDArray[np.float64]
    """shape (candidates,): summed log-likelihoods of the replies so far"""
    potential: float
    """log-posterior of the true persona"""
    turns: list[Turn] = field(default_factory=list)
    """what was said so far, line and reply"""


class Identification:
    """The change in the log-posterior of the true persona among it and K distractors.

    `Phi_t = log softmax(e_1 + ... + e_t)[true]`, where `e_i` is the matcher's log-likelihood of reply i under each candidate,
    so `Phi_0 = -log(K + 1)`. The term of turn t is `Phi_t - Phi_(t-1)`; over a talk it sums to `Phi_T + log(K + 1)`, which is
    at most `log(K + 1)` and 0 for replies that say nothing. A reply that says again what was said before is no evidence: its
    `e_i` is 0, and so is its term (`convogym.evidence`). Distractors are drawn when the talk starts: any of the pool, or,
    where they are to be hard, from the `HARD_POOL` K personas that share the largest part of their content words with it.
    """

    def __init__(
        self,
        matcher: PersonaMatcher,
        personas: Sequence[Persona],
        num_distractors: int = NUM_DISTRACTORS,
        hard: bool = False,
        name: str = "identification",
    ) -> None:
        """Takes the pool the distractors come from; personas with the same facts in any order count once.

        Args:
            matcher: gives each reply's log-likelihood under each candidate.
            personas: the pool.
            num_distractors: K, at least 1.
            hard: draw those that are hard to tell from the true persona.
            name: of the term; another matcher's needs another.

        Raises:
            InputError: the pool has no `num_distractors` personas beside the true one.
        """
        if num_distractors < 1:
            raise InputError(f"`num_distractors` must be at least 1, got {num_distractors}.")
        self._matcher = matcher
        self._pool = list({frozenset(persona.facts): persona.facts for persona in personas}.values())
        self._num_distractors = num_distractors
        self._is_hard = hard
        self.name = name
        if len(self._pool) <= num_distractors:
            raise InputError(
                f"`num_distractors` must be below the number of different personas, {len(self._pool)}, got {num_distractors}; "
                "lower it or give more `personas`."
            )

    def begin(self, persona: Facts, rng: np.random.Generator) -> _Lineup:
        """Draws the distractors, none of them with the true persona's facts."""
        pool = self._most_alike(persona) if self._is_hard else self._pool
        drawn = rng.choice(len(pool), self._num_distractors + 1, replace=False)
        others = [pool[i] for i in drawn if set(pool[i]) != set(persona)][: self._num_distractors]
        size = len(others) + 1
        return _Lineup((persona, *others), np.zeros(size), -math.log(size))

    def score(self, scenes: Sequence[Scene], memories: Sequence[_Lineup]) -> list[float]:
        """Asks the matcher for this turn's evidence and adds it to that of the turns before."""
        turns = [(scene.line, scene.reply) for scene in scenes]
        gains = []
        lineups = [lineup.candidates for lineup in memories]
        found = new_evidence(self._matcher, turns, [lineup.turns for lineup in memories], lineups)
        for lineup, turn, evidence in zip(memories, turns, found, strict=True):
            lineup.evidence = lineup.evidence + evidence
            lineup.turns.append(turn)
            potential = float(log_posterior(lineup.evidence)[0])
            gains.append(potential - lineup.potential)
            lineup.potential = potential
        return gains

    @cached_property
    def _words(self) -> list[frozenset[str]]:
        return [content_words(" ".join(facts)) for facts in self._pool]

    def _most_alike(self, persona: Facts) -> list[Facts]:
        """The personas of the pool that share most words with this one, itself perhaps among them, by Jaccard's index."""
        own = content_words(" ".join(persona))
        shares = np.array([len(own & words) / max(len(own | words), 1) for words in self._words])
        most = np.argsort(-shares, kind="stable")[: HARD_POOL * self._num_distractors + 1]
        return [self._pool[i] for i in most]


class GoalFollowing:
    """The judge's probability, 0..1, that the line carries out its goal, given the utterance before it."""

    name = "goal_following"

    def __init__(self, judge: GoalJudge, goals: GoalSet) -> None:
        """Checks that the judge, which knows the published goals, can judge all goals asked for."""
        unknown = [goal for goal in goals.goals if goal not in PUBLISHED_GOALS]
        if unknown:
            raise InputError(
                f"`goal_following` judges the {len(PUBLISHED_GOALS)} published goals, got {unknown}; leave it out of `reward`."
            )
        self._judge = judge

    def begin(self, persona: Facts, rng: np.random.Generator) -> None:
        """Remembers nothing."""

    def score(self, scenes: Sequence[Scene], memories: Sequence[Any]) -> list[float]:
        """Looks up each scene's goal in the judge's answer."""
        chances = self._judge.probabilities([scene.previous for scene in scenes], [scene.line for scene in scenes])  # (n, 11)
        return [float(row[PUBLISHED_GOALS.index(scene.goal)]) for row, scene in zip(chances, scenes, strict=True)]


class Repetition:
    """How much of the reply the responder said before, 0..1 (see `repetition`); give it a negative weight."""

    name = "repetition"

    def begin(self, persona: Facts, rng: np.random.Generator) -> None:
        """Remembers nothing: a scene holds the earlier replies."""

    def score(self, scenes: Sequence[Scene], memories: Sequence[Any]) -> list[float]:
        """Compares each reply with the earlier ones of its talk."""
        return [repetition(scene.reply, scene.earlier_replies) for scene in scenes]


@dataclass(frozen=True)
class _Ranked:
    """What the ranking term keeps of one talk."""

    persona: Facts
    """the positives"""
    rng: np.random.Generator
    """draws new negatives at every turn"""


class Ranking:
    """The original's reward: minus `triplet_loss` of the mean reply features, with 20 random facts as negatives.

    An absolute level, not a change; new negatives at every turn. A state as far from every fact as from any other gives -18
    for a persona of 3 facts, and -20 for 4 or 5.
    """

    name = "ranking"

    def __init__(self, embed: Embed, personas: Sequence[Persona], num_negatives: int = NUM_NEGATIVES) -> None:
        """Takes the embedder of facts and the pool of random facts; each fact is embedded once, when first needed."""
        self._embed = embed
        self._facts = list(dict.fromkeys(fact for persona in personas for fact in persona.facts))
        self._num_negatives = num_negatives
        self._vectors: dict[str, npt.NDArray[np.float32]] = {}

    def begin(self, persona: Facts, rng: np.random.Generator) -> _Ranked:
        """Keeps the generator of the negatives.

        Raises:
            InputError: the pool has too few facts beside the persona's.
        """
        others = len(self._facts) - len(set(persona) & set(self._facts))
        if others < self._num_negatives:
            raise InputError(
                f"`ranking` needs {self._num_negatives} facts beside the persona's, got {others}; give more `personas`."
            )
        return _Ranked(persona, rng)

    def score(self, scenes: Sequence[Scene], memories: Sequence[_Ranked]) -> list[float]:
        """Draws the negatives, embeds what is new in one call, and ranks."""
        negatives = [self._draw(memory) for memory in memories]
        facts = [fact for memory, drawn in zip(memories, negatives, strict=True) for fact in (*memory.persona, *drawn)]
        new = [fact for fact in dict.fromkeys(facts) if fact not in self._vectors]
        if new:
            self._vectors.update(zip(new, np.array(self._embed(new)), strict=True))
        return [
            -triplet_loss(scene.state, self._matrix(memory.persona), self._matrix(drawn))
            for scene, memory, drawn in zip(scenes, memories, negatives, strict=True)
        ]

    def _draw(self, memory: _Ranked) -> list[str]:
        number = min(self._num_negatives + len(set(memory.persona)), len(self._facts))
        drawn = memory.rng.choice(len(self._facts), number, replace=False)
        return [self._facts[i] for i in drawn if self._facts[i] not in memory.persona][: self._num_negatives]

    def _matrix(self, facts: Iterable[str]) -> npt.NDArray[np.float32]:
        return np.stack([self._vectors[fact] for fact in facts])


# --- sums -------------------------------------------------------------------------------------------------------------------


class Reward:
    """A weighted sum of terms with different names."""

    def __init__(self, *terms: tuple[float, Term]) -> None:
        """Takes (weight, term) pairs, at least one."""
        names = [term.name for _, term in terms]
        if not terms or len(set(names)) != len(names):
            raise InputError(f"a reward must have one or more terms with different names, got {names}.")
        self.terms = terms

    def begin(self, persona: Facts, seed: int) -> list[Any]:
        """Starts a talk.

        Args:
            persona: the responder's facts.
            seed: makes the terms' own draws, each term's independent of which others there are; >= 0.

        Returns:
            The terms' memories, to be handed to `score`.
        """
        return [term.begin(persona, np.random.default_rng([seed, zlib.crc32(term.name.encode())])) for _, term in self.terms]

    def score(self, scenes: Sequence[Scene], memories: Sequence[list[Any]]) -> list[dict[str, float]]:
        """The unweighted value of every term, by name, for each scene."""
        if not scenes:
            return []
        columns = [term.score(scenes, [memory[k] for memory in memories]) for k, (_, term) in enumerate(self.terms)]
        return [
            {term.name: float(column[i]) for (_, term), column in zip(self.terms, columns, strict=True)}
            for i in range(len(scenes))
        ]

    def belief(self, memories: Sequence[Any]) -> Belief | None:
        """What the judge of the first `Identification` among the terms believes of a talk; None where there is none."""
        for (_, term), memory in zip(self.terms, memories, strict=True):
            if isinstance(term, Identification):
                return Belief(memory.candidates, np.exp(log_posterior(memory.evidence)))
        return None

    def total(self, values: Mapping[str, float]) -> float:
        """The weighted sum of the terms' values."""
        return float(sum(weight * values[term.name] for weight, term in self.terms))


# P2 Bot's weights (`worlds/selfplay.py`: 0.1 coherence + 0.5 persona + 0.5 language - 0.1 penalty). What the terms measure is
# told at each; P2 Bot's penalty for repetition is a cosine of sentence vectors, here it is a share of word pairs.
SUMS: Mapping[str, Mapping[str, float]] = {
    "p2bot": {"coherence": 0.1, "mutual_persona": 0.5, "language": 0.5, "repetition": -0.1},
}
REWARDS = (
    "identification",
    "identification_lm",
    "goal_following",
    "coverage",
    "repetition",
    "ranking",
    "mutual_persona",
    "coherence",
    "language",
    "manual",
)
LEARNED = "learned:"  # before the folder that `convogym fit-reward` wrote

_SUMMAND = re.compile(
    r"\s*(?P<sign>[+-])?\s*(?:(?P<weight>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*\*\s*)?"
    r"(?P<name>learned:[^\s*+]+|[A-Za-z_]\w*)\s*(?=[+-]|$)"
)


def parse_reward(text: str) -> list[tuple[float, str]]:
    """Reads a weighted sum like `"0.6*identification + 0.3*goal_following - 0.1*repetition"`; a bare name has weight 1.

    `p2bot` stands for the sum of P2 Bot, `learned:FOLDER` for a fitted reward; a minus after the folder needs a blank before.

    Returns:
        (weight, term name) pairs in the order of the text.

    Raises:
        InputError: the text is not such a sum, a term comes twice, or a weight is not finite.
        UnknownNameError: a name is neither in `REWARDS` nor in `SUMS`.
    """
    if not isinstance(text, str):
        raise InputError(f"`reward` must be a text or a `Reward`, got {type(text).__name__}.")
    summands: list[tuple[float, str]] = []
    position = 0
    while position < len(text) or not summands:
        match = _SUMMAND.match(text, position)
        if match is None or (summands and match["sign"] is None):
            rest = text[position : position + 60]
            raise InputError(
                f"`reward` must be a sum like '0.6*identification-0.1*repetition', cannot read {rest!r} in {text[:120]!r}."
            )
        name, weight = match["name"], float(match["weight"] or 1.0)
        if name not in (*REWARDS, *SUMS) and not name.startswith(LEARNED):
            raise UnknownNameError("reward", name, (*REWARDS, *SUMS, f"{LEARNED}FOLDER"))
        if not math.isfinite(weight):
            raise InputError(f"a weight in `reward` must be finite, got {match['weight']} for {name!r}.")
        weight = -weight if match["sign"] == "-" else weight
        for part, share in SUMS.get(name, {name: 1.0}).items():
            if part.partition(":")[0] in (known.partition(":")[0] for _, known in summands):
                raise InputError(f"`reward` must name each term once, got {part!r} twice in {text[:120]!r}.")
            summands.append((weight * share, part))
        position = match.end()
    return summands


class Reader(GoalJudge, PersonaMatcher, Protocol):
    """Reads lines and replies: goal judge and persona matcher in one."""


class Scorer(ReplyScorer, PersonaMatcher, Protocol):
    """A language model that judges replies: how likely they are, and under whose persona."""


def build_reward(
    text: str,
    *,
    personas: Sequence[Persona],
    goals: GoalSet,
    embed: Embed,
    reader: Callable[[], Reader],
    scorer: Callable[[], Scorer],
    num_distractors: int = NUM_DISTRACTORS,
    hard_distractors: bool = False,
) -> Reward:
    """Builds the weighted sum that a text names.

    Args:
        text: see `parse_reward`.
        personas: where distractors and random facts come from.
        goals: the goals that lines will be asked to carry out.
        embed: embeds facts into the space of the replies' features, for `ranking`.
        reader: makes the judge and matcher; called only if a term needs it.
        scorer: makes the language model that judges replies; called only if a term needs it.
        num_distractors: K of `identification`.
        hard_distractors: whether they are to be hard to tell from the true persona.

    Raises:
        InputError: a term cannot be built, e.g. for want of personas; `CheckpointError` for a fitted one that is not there.
    """

    def made(name: str) -> Term:
        match name:
            case "identification":
                return Identification(reader(), personas, num_distractors, hard_distractors)
            case "identification_lm":
                return Identification(scorer(), personas, num_distractors, hard_distractors, name)
            case "goal_following":
                return GoalFollowing(reader(), goals)
            case "coverage":
                return Coverage()
            case "repetition":
                return Repetition()
            case "ranking":
                return Ranking(embed, personas)
            case "mutual_persona":
                return MutualPersona(reader())
            case "coherence":
                return Coherence(scorer())
            case "language":
                return Language(scorer())
            case "manual":
                return Manual()
        return Learned(PreferenceHead.load(Path(name.removeprefix(LEARNED))), _turn_reader(reader()))

    return Reward(*((weight, made(name)) for weight, name in parse_reward(text)))


def _turn_reader(reader: Any) -> TurnReader:
    if not hasattr(reader, "features"):
        raise InputError(f"`learned` needs a reader with `features`, as persona-reader has, got {type(reader).__name__}.")
    return reader  # type: ignore[no-any-return]

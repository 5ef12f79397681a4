"""Measures a language model: likelihood of replies, generated replies, ranking of candidates, obedience to goals.

Knows models and dialogues; knows nothing of commands. Everything is a function of the model, the dialogues and the seed.

Letters: N candidates, T tokens, C hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from convogym.agents.decoder import Generated
from convogym.agents.double_heads import DoubleHeads, choice_of, head_scores
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.agents.training import padded, target_nll
from convogym.dialogue import Dialogue
from convogym.errors import InputError
from convogym.goals import DEFAULT_GOALS, GoalSet
from convogym.layouts import P2, header
from convogym.metrics import consensus
from convogym.speakers import GoalJudge, PersonaMatcher
from convogym.transfertransfo import Question

MATCHER_WEIGHT = 8.0  # best of 1, 2, 4, 8 and 16 on the 52 Persona-Chat dialogues that were kept apart from training

Tick = Callable[[int], object]
"""called with the number of dialogues or lines just done"""


def no_tick(done: int) -> None:
    """The tick of whoever shows no progress."""


def _ids(text: str, model: LanguageModel) -> list[int]:
    return [*model.tokenizer.encode(text), model.tokenizer.eos]


def _text(said: Generated, model: LanguageModel) -> str:
    return " ".join(model.tokenizer.decode(said.ids).split())


@dataclass(frozen=True)
class Likelihood:
    """How likely a model found the replies of some dialogues."""

    nll: npt.NDArray[np.float64]
    """shape (dialogues,): summed over all reply tokens, eos included, in nats"""
    tokens: npt.NDArray[np.int64]
    """shape (dialogues,): reply tokens, eos included"""
    words: npt.NDArray[np.int64]
    """shape (dialogues,): white-space words of the raw replies, plus one a reply"""

    @property
    def ppl_word(self) -> float:
        """exp(total NLL / words)."""
        return float(np.exp(self.nll.sum() / self.words.sum()))

    @property
    def ppl_token(self) -> float:
        """exp(total NLL / tokens)."""
        return float(np.exp(self.nll.sum() / self.tokens.sum()))


@torch.inference_mode()
def likelihood(model: LanguageModel, dialogues: Sequence[Dialogue], tick: Tick = no_tick) -> Likelihood:
    """Scores every reply given the responder's persona and all that was said before it.

    A dialogue longer than the context is read in windows of whole turns.

    Raises:
        InputError: a turn alone is longer than the context.
    """
    nll = np.zeros(len(dialogues))
    tokens, words = np.zeros(len(dialogues), np.int64), np.zeros(len(dialogues), np.int64)
    for i, dialogue in enumerate(dialogues):
        replies = [turn.reply for turn in dialogue.turns if turn.reply is not None]
        expected = sum(len(_ids(reply, model)) for reply in replies)
        for example in model.reply_examples(dialogue, model.network.shape.n_positions):
            losses = target_nll(model.network, padded([example]))
            nll[i] += float(losses.double().sum())
            tokens[i] += losses.numel()
        if tokens[i] != expected:
            raise InputError(
                f"dialogue {i + 1} has a turn longer than the {model.network.shape.n_positions} tokens this model reads."
            )
        words[i] = sum(len(reply.split()) + 1 for reply in replies)
        tick(1)
    return Likelihood(nll, tokens, words)


def generated_replies(
    model: LanguageModel,
    dialogues: Sequence[Dialogue],
    sampling: Sampling,
    seed: int,
    rows: int = 64,
    tick: Tick = no_tick,
    candidates: int = 1,
) -> list[list[str]]:
    """The model's own reply at every turn of every dialogue: the `consensus` of `candidate_replies`, with its arguments.

    Where there is a choice, what it replied in the same dialogue before is not taken again.
    """
    out = []
    for turns in candidate_replies(model, dialogues, sampling, seed, rows, tick, candidates):
        replies = list[str]()
        for texts in turns:
            replies.append(texts[consensus(texts, replies)])
        out.append(replies)
    return out


def candidate_replies(
    model: LanguageModel,
    dialogues: Sequence[Dialogue],
    sampling: Sampling,
    seed: int,
    rows: int = 64,
    tick: Tick = no_tick,
    candidates: int = 1,
) -> list[list[list[str]]]:
    """What the model might reply at every turn of every dialogue that has a reply, each after the true history.

    Args:
        model: the responder.
        dialogues: with the responder's persona where it is known.
        sampling: how replies are drawn; `top_k=1` is greedy.
        seed: of the draws, one generator a dialogue.
        rows: dialogues advanced together; changes nothing in the replies.
        tick: told of progress.
        candidates: replies drawn at each turn. All are drawn in the dialogue's one slot, so that its context is read once.

    Returns:
        By dialogue, turn and draw.
    """
    decoder = model.decoder()
    room = decoder.room - sampling.max_tokens
    out: list[list[list[str]]] = [[] for _ in dialogues]
    for first in range(0, len(dialogues), rows):
        group = list(enumerate(dialogues[first : first + rows]))
        rngs = [np.random.default_rng([seed, first + i]) for i, _ in group]
        decoder.forget()
        for turn in range(max(len(d.turns) for _, d in group)):
            speaking = [(i, d) for i, d in group if turn < len(d.turns) and d.turns[turn].reply is not None]
            if not speaking:
                continue
            contexts = [
                model.prompt(d.persona.facts if d.persona else (), d.utterances[: 2 * turn + 1], (), room).ids
                for _, d in speaking
            ]
            slots = [i for i, _ in speaking]
            noise = np.stack([rngs[i].random((candidates, sampling.max_tokens)) for i in slots], 1)  # (N, slots, tokens)
            drawn = [[_text(g, model) for g in decoder.generate(slots, contexts, each, sampling)] for each in noise]
            for i, *texts in zip(slots, *drawn, strict=True):
                out[first + i].append(texts)
        tick(len(group))
    return out


@torch.inference_mode()
def candidate_scores(
    model: LanguageModel, dialogue: Dialogue, turn: int, candidates: Sequence[str], alone: Callable[[str], float]
) -> npt.NDArray[np.float64]:
    """How much better each candidate fits the talk than it is likely anyway: log p(reply | persona, history) - log p(reply).

    The mutual-information score of Li et al. 2016 ("A Diversity-Promoting Objective Function", eq. 9, lambda = 1): without the
    second
    term the shortest and dullest reply wins.

    Args:
        model: the ranker.
        dialogue: supplies persona and history.
        turn: 0-based; the history ends with this turn's line.
        candidates: replies, the true one among them.
        alone: log p(reply) without persona and history.

    Returns:
        (len(candidates),).
    """
    longest = max(len(_ids(candidate, model)) for candidate in candidates)
    shape = model.network.shape
    facts = dialogue.persona.facts if dialogue.persona else ()
    room = shape.n_positions - min(longest, shape.n_positions // 2)
    context = list(model.prompt(facts, dialogue.utterances[: 2 * turn + 1], (), room).ids)
    conditional = _continuation_log_probs(model, context, candidates)
    scores: npt.NDArray[np.float64] = conditional - np.array([alone(candidate) for candidate in candidates])
    return scores


@torch.inference_mode()
def unconditional_log_prob(model: LanguageModel, text: str) -> float:
    """Log p(text) as the first thing a responder without a persona says."""
    context = header(model.tokenizer, P2, ())
    return float(_continuation_log_probs(model, context, [text])[0])


def _continuation_log_probs(model: LanguageModel, context: Sequence[int], texts: Sequence[str]) -> npt.NDArray[np.float64]:
    shape, network = model.network.shape, model.network
    rows = [_ids(text, model)[: shape.n_positions - len(context)] for text in texts]
    width = max(map(len, rows))
    size = (shape.n_layer, 1, shape.n_head, len(context) + width, shape.n_embd // shape.n_head)
    keys, values = torch.zeros(size), torch.zeros(size)
    first = network.cached(torch.tensor([list(context)]), torch.zeros(1, dtype=torch.long), keys, values)[:, -1:]  # (1, 1, C)
    keys, values = (cache.expand(-1, len(rows), -1, -1, -1).clone() for cache in (keys, values))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    hidden = first.expand(len(rows), -1, -1)
    if width > 1:
        start = torch.full((len(rows),), len(context))
        lengths = mask[:, :-1].sum(1)
        hidden = torch.cat([hidden, network.cached(ids[:, :-1], start, keys, values, lengths)], 1)  # (N, T, C)
    picked = functional.log_softmax(network.logits(hidden[mask]), -1).gather(-1, ids[mask][:, None]).squeeze(-1).double()
    sums = torch.zeros(len(rows), dtype=torch.double).index_add(0, mask.nonzero()[:, 0], picked)
    return sums.numpy()


class Ranked(NamedTuple):
    """Of every reply of a dialogue, whether it came first among its candidates."""

    by_model: npt.NDArray[np.bool_]
    with_matcher: npt.NDArray[np.bool_]
    """the same by both: the model's score + `MATCHER_WEIGHT` times the matcher's evidence for the responder's persona"""


def ranks_of_gold(
    model: LanguageModel,
    matcher: PersonaMatcher,
    dialogues: Sequence[Dialogue],
    seed: int,
    distractors: int = 19,
    tick: Tick = no_tick,
) -> list[Ranked]:
    """For every dialogue and reply, whether the true reply ranks first among it and random replies of the same dialogues.

    Where a turn brings its own candidates (ConvAI2 with candidates), those are ranked instead. A model with a second head
    ranks by it (TransferTransfo, P2 Bot), any other by `candidate_scores`.
    """
    pool = [turn.reply for d in dialogues for turn in d.turns if turn.reply]
    if len(set(pool)) <= distractors:
        raise InputError(f"ranking needs more than {distractors} different replies, got {len(set(pool))}; take a larger file.")
    rng = np.random.default_rng(seed)
    known: dict[str, float] = {}

    def alone(text: str) -> float:
        if text not in known:
            known[text] = unconditional_log_prob(model, text)
        return known[text]

    out = []
    for dialogue in dialogues:
        facts = dialogue.persona.facts if dialogue.persona else ()
        first: list[tuple[bool, bool]] = []
        for i, turn in enumerate(dialogue.turns):
            if not turn.reply:
                continue
            others = [text for text in turn.candidates or () if text != turn.reply]
            if not others:
                chosen: set[str] = set()
                while len(chosen) < distractors:
                    text = pool[int(rng.integers(len(pool)))]
                    if text != turn.reply:
                        chosen.add(text)
                others = sorted(chosen)
            candidates = (*others, turn.reply)
            if isinstance(model.network, DoubleHeads):
                question = Question(facts, dialogue.utterances[: 2 * i + 1], candidates)
                scores = head_scores(model.network, choice_of(model, question))
            else:
                scores = candidate_scores(model, dialogue, i, candidates, alone)
            evidence = matcher.evidence([(turn.line, text) for text in candidates], [[facts]] * len(candidates))
            both = scores + MATCHER_WEIGHT * np.concatenate(evidence)
            first.append((bool(scores[-1] > scores[:-1].max()), bool(both[-1] > both[:-1].max())))
        out.append(Ranked(*np.array(first, bool).reshape(-1, 2).T))
        tick(1)
    return out


@dataclass(frozen=True)
class Context:
    """A moment in a talk at which the goal speaker is to speak."""

    partner_persona: tuple[str, ...]
    """facts of the goal speaker"""
    history: tuple[str, ...]
    """what was said; even length"""
    goals: tuple[str | None, ...]
    """goal of every line in it"""

    @property
    def before(self) -> str:
        """What was said last, "" at the opening of a talk."""
        return self.history[-1] if self.history else ""


def contexts_of(dialogues: Sequence[Dialogue], count: int, rng: np.random.Generator) -> list[Context]:
    """Random moments of the dialogues, their openings among them."""
    out = []
    for _ in range(count):
        dialogue = dialogues[int(rng.integers(len(dialogues)))]
        out.append(context_before(dialogue, int(rng.integers(0, len(dialogue.turns)))))
    return out


def context_before(dialogue: Dialogue, turn: int) -> Context:
    """The moment before a dialogue's 0-based turn."""
    turns = dialogue.turns[:turn]
    history = tuple(text for turn in turns for text in (turn.line, turn.reply or "..."))
    partner = dialogue.partner_persona.facts if dialogue.partner_persona else ()
    return Context(partner, history, tuple(_known_goal(turn.goals) for turn in turns))


def _known_goal(goals: tuple[str, ...] | None) -> str | None:
    """The first of a line's goals that models are taught; steered-talk has others."""
    return next((goal for goal in goals or () if goal in DEFAULT_GOALS), None)


@dataclass(frozen=True)
class SteeredLine:
    """A line the model said when it was given a goal."""

    context: int
    """which context"""
    action: int
    """the goal it was given"""
    text: str
    probabilities: tuple[float, ...]
    """the judge's, of each published goal"""


class Said(NamedTuple):
    """A line that was said for a goal, before anybody judged it."""

    context: int
    """which context"""
    action: int
    """which goal it was given"""
    text: str
    surprisal: float
    """mean negative log-probability of its tokens, in nats"""
    features: npt.NDArray[np.float32]
    """shape (C,): mean of the last hidden states that predicted its tokens"""


def said_lines(
    model: LanguageModel,
    contexts: Sequence[Context],
    goals: Sequence[str],
    seed: int,
    sampling: Sampling | None = None,
    rows: int = 128,
    tick: Tick = no_tick,
    wanted: Sequence[tuple[int, int]] | None = None,
    candidates: int = 1,
) -> list[Said]:
    """The line the model says for every goal in every context, in that order; the arguments are those of `steered_lines`.

    `wanted` names the pairs of context and goal that are asked for; None = all.
    """
    sampling = sampling or model.sampling
    decoders = {apart: model.decoder(apart) for apart in {model.says_apart(goal) for goal in goals}}
    room = model.network.shape.n_positions - sampling.max_tokens
    if wanted is None:
        wanted = [(c, action) for c in range(len(contexts)) for action in range(len(goals))]
    groups = [
        (decoder, group)
        for apart, decoder in decoders.items()
        for group in _chunks([(c, action) for c, action in wanted if model.says_apart(goals[action]) == apart], rows)
    ]
    out: list[Said] = []
    for decoder, group in groups:
        decoder.forget()
        prompts = [
            model.prompt(contexts[c].partner_persona, contexts[c].history, (*contexts[c].goals, goals[action]), room).ids
            for c, action in group
        ]
        shape = candidates, sampling.max_tokens
        noise = np.stack(
            [np.random.default_rng([seed, c, action]).random(shape) for c, action in group], 1
        )  # (N, group, tokens)
        draws = [decoder.generate(range(len(group)), prompts, each, sampling) for each in noise]
        for (c, action), *drawn in zip(group, *draws, strict=True):
            best = consensus([_text(said, model) for said in drawn], contexts[c].history[::2])
            said = drawn[best]
            out.append(Said(c, action, _text(said, model), -said.log_prob / said.tokens, said.features))
        tick(len(group))
    return sorted(out, key=lambda line: line[:2])


def steered_lines(
    model: LanguageModel,
    judge: GoalJudge,
    contexts: Sequence[Context],
    goals: GoalSet,
    seed: int,
    sampling: Sampling | None = None,
    rows: int = 128,
    tick: Tick = no_tick,
    candidates: int = 1,
) -> list[SteeredLine]:
    """The line the model says for every goal in every context, judged.

    Args:
        model: the goal speaker.
        judge: says which goals a line carries out.
        contexts: where.
        goals: each is tried in each context.
        seed: of the draws, one generator a line.
        sampling: how lines are drawn; None = as the model usually speaks.
        rows: lines drawn together; changes nothing in them.
        tick: told of progress.
        candidates: draws of each line, of which the `consensus` is said, no earlier line of the context again.
    """
    said = said_lines(model, contexts, goals.goals, seed, sampling, rows, tick, candidates=candidates)
    judged = judge.probabilities([contexts[line.context].before for line in said], [line.text for line in said])
    return [SteeredLine(s.context, s.action, s.text, tuple(map(float, p))) for s, p in zip(said, judged, strict=True)]


def _chunks(items: Sequence[tuple[int, int]], size: int) -> Iterator[Sequence[tuple[int, int]]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]

"""Scores a model the way PersonaGPT's own script does, so that figures stand beside its published ones. Prints nothing.

After `train.py: evaluate_loop` and `preprocess_dataset.py: convert_to_XY` of illidanlab/personaGPT. Unlike ConvAI2's scores:

- Both speakers' utterances count, each after its speaker's own persona and all that was said; the first 20 of a dialogue.
- An utterance's first token is given and not scored; but that of the dialogue's opening line is.
- Perplexity is exp(mean over utterances of their mean NLL a token), whatever their length.
- F1 compares *sets of tokens* of the likeliest next tokens, the true ones before each being given, with the true tokens.

Two things of the script are not repeated here. It ends every utterance twice, in what was said before too; a model trained so
gets the second end for nearly nothing, and one that was not is not to be asked for it (`Forced.nll_two_ends` says what that is
worth). And where an utterance of one token leaves it nothing to compare, its mean is not a number; here the utterance has no
F1.

Letters: M scored tokens, V vocabulary, C hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch

from convogym.agents.model import LanguageModel
from convogym.agents.scoring import Tick, no_tick
from convogym.dialogue import Dialogue
from convogym.errors import InputError
from convogym.layouts import Example, line_examples, responder_examples

UTTERANCES = 20  # of a dialogue, at most (`convert_to_XY`)
SMALL = 1e-3  # in the denominator of F1 (`evaluate_loop`)


@dataclass(frozen=True)
class Forced:
    """One utterance, every token guessed after the true ones before it."""

    nll: float
    """mean over its scored tokens, the end included, in nats"""
    tokens: int
    """how many those are, at least 1"""
    f1: float | None
    """set F1 of the guesses, 0..1; None where nothing but the end is scored"""

    @property
    def nll_two_ends(self) -> float:
        """The mean if a second end were counted that costs nothing: the least the script's own figure can be."""
        return self.nll * self.tokens / (self.tokens + 1)


def teacher_forced(model: LanguageModel, dialogues: Sequence[Dialogue], tick: Tick = no_tick) -> list[list[Forced]]:
    """Scores every utterance of every dialogue: speaker 2's, then speaker 1's.

    Raises:
        InputError: a turn alone is longer than the model's context.
    """
    longest = model.network.shape.n_positions
    out = []
    for i, dialogue in enumerate(dialogues):
        said = dialogue.utterances[:UTTERANCES]
        shown = Dialogue.from_utterances(said, dialogue.persona, dialogue.partner_persona)
        found: list[Forced] = []
        for example in responder_examples(model.tokenizer, shown, longest):
            found += _scored(model, example, False)
        for n, example in enumerate(line_examples("inline", model.tokenizer, shown, longest, lambda goals: None)):
            found += _scored(model, example, n == 0)
        if len(found) != len(said):
            raise InputError(f"dialogue {i + 1} has a turn longer than the {longest} tokens this model reads.")
        out.append(found)
        tick(1)
    return out


@torch.inference_mode()
def _scored(model: LanguageModel, example: Example, is_opening: bool) -> list[Forced]:
    """The utterances among an example's targets; the first of them scored from its first token where it opens the dialogue."""
    ids = torch.tensor(example.ids)
    learnt = torch.tensor(example.learnt)
    hidden = model.network.hidden(ids[None])[0, :-1][learnt[1:]]  # (M, C)
    log_probs = torch.log_softmax(model.network.logits(hidden).float(), -1)  # (M, V)
    truth = ids[1:][learnt[1:]]
    losses = -log_probs.gather(-1, truth[:, None])[:, 0].double()
    guesses, wanted, eos = log_probs.argmax(-1).tolist(), truth.tolist(), model.tokenizer.eos
    out = []
    start = 0
    for end in (place for place, token in enumerate(wanted) if token == eos):
        first = start if is_opening and start == 0 else start + 1
        scored = slice(first, end + 1)
        f1 = set_f1(_first_utterance(guesses[scored], eos), wanted[first:end]) if first < end else None
        out.append(Forced(float(losses[scored].mean()), end + 1 - first, f1))
        start = end + 1
    return out


def _first_utterance(guesses: Sequence[int], eos: int) -> list[int]:
    """The guesses before the first end among them; an end in front is left out (`utils.py: filter_turn_indices`)."""
    return next((list(group) for is_end, group in groupby(guesses, lambda token: token == eos) if not is_end), [])


def set_f1(guess: Sequence[int], truth: Sequence[int]) -> float:
    """PersonaGPT's F1: P = |set of both| / guessed tokens, R = |set of both| / true tokens, F1 = 2 P R / (P + R + 0.001).

    Args:
        guess: token ids; () scores 0.
        truth: at least one token id.
    """
    both = len(set(guess) & set(truth))
    if not both:
        return 0.0
    precision, recall = both / len(guess), both / len(truth)
    return 2 * precision * recall / (precision + recall + SMALL)

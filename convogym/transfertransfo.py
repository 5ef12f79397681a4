"""TransferTransfo's input: persona, history and reply as segments, each opened by a speaker token. Knows ids, not models.

    <bos>fact fact ...<speaker2>line<speaker1>reply<speaker2>line<speaker1>reply<eos>

As `build_input_from_segments` of transfer-learning-conv-ai (`train.py`): the facts follow one another with nothing between,
only the reply to come is ended, and whoever replies is <speaker1>. Only the last `2 * max_history + 1` utterances are read.
Every token has a type, the speaker of its segment (`GPT2.types`); the original gives the types of a history of even length to
the wrong speakers, here they always follow the tokens. Where its input did not fit, the original stopped; here the oldest
utterances are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convogym.dialogue import Dialogue
from convogym.errors import InputError
from convogym.layouts import Example, Prompt, Tokenizer

LAYOUT = "transfertransfo"
BOS, EOS, SPEAKER1, SPEAKER2, PAD = "<bos>", "<eos>", "<speaker1>", "<speaker2>", "<pad>"
CONTROL_TOKENS = (BOS, SPEAKER1, SPEAKER2, PAD)  # `SPECIAL_TOKENS` of train.py, which has <eos> second
MAX_HISTORY = 2  # exchanges before the last line: --max_history


def _segments(tokenizer: Tokenizer, facts: Sequence[str], history: Sequence[str]) -> tuple[list[int], list[list[int]]]:
    """The persona's segment and those of the history, oldest first."""
    head = [tokenizer.control(BOS), *(i for fact in facts for i in tokenizer.encode(fact))]
    marks = tokenizer.control(SPEAKER1), tokenizer.control(SPEAKER2)
    said = [[marks[(len(history) - i) % 2], *tokenizer.encode(text)] for i, text in enumerate(history)]
    return head, said


def prompt(tokenizer: Tokenizer, facts: Sequence[str], history: Sequence[str], max_history: int, room: int) -> Prompt:
    """The ids after which the owner of a persona speaks.

    Args:
        tokenizer: makes the ids.
        facts: of who speaks, () where unknown.
        history: everything said; the last is the partner's.
        max_history: exchanges read before the last utterance.
        room: the most ids. Where there would be more, the oldest utterances are dropped, and count as `dropped_turns`; those
            that `max_history` leaves out do not.

    Raises:
        InputError: the persona and the last utterance alone do not fit.
    """
    head, said = _segments(tokenizer, facts, history[max(0, len(history) - 2 * max_history - 1) :])
    dropped = 0
    while len(head) + sum(map(len, said)) + 1 > room and len(said) > 1:
        said.pop(0)
        dropped += 1
    ids = [*head, *(i for segment in said for i in segment), tokenizer.control(SPEAKER1)]
    if len(ids) > room:
        raise InputError(
            f"the persona and the last utterance need more than the {room} tokens this model can read; shorten one of them."
        )
    return Prompt(tuple(ids), dropped)


def reply_example(
    tokenizer: Tokenizer, facts: Sequence[str], history: Sequence[str], reply: str, max_history: int, max_tokens: int
) -> Example:
    """A reply after its prompt; the reply and its <eos> are learnt, the speaker token before it is not.

    Raises:
        InputError: persona, last utterance and reply alone have more than `max_tokens`.
    """
    target = [*tokenizer.encode(reply), tokenizer.eos]
    before = prompt(tokenizer, facts, history, max_history, max_tokens - len(target)).ids
    return Example((*before, *target), (False,) * len(before) + (True,) * len(target), False)


@dataclass(frozen=True)
class Question:
    """A moment of a dialogue, and the replies to choose from."""

    facts: tuple[str, ...]
    """of who replies, () where unknown"""
    history: tuple[str, ...]
    """everything said before, the partner's line last"""
    candidates: tuple[str, ...]
    """replies to choose from, the true one last; at least one"""


def rotated(facts: Sequence[str], times: int) -> tuple[str, ...]:
    """The facts with the last one taken to the front `times` times (`personality_permutations` of train.py)."""
    cut = -times % len(facts) if facts else 0
    return (*facts[cut:], *facts[:cut])


def questions_of(dialogue: Dialogue, permutations: int = 1) -> list[Question]:
    """Every reply of a dialogue as a question, once for each rotation of the persona; with the corpus's candidates, if any.

    Args:
        dialogue: replies are speaker 2's.
        permutations: rotations, at least 1.
    """
    facts = dialogue.persona.facts if dialogue.persona else ()
    found = []
    for times in range(permutations):
        said: list[str] = []
        for turn in dialogue.turns:
            said.append(turn.line)
            if turn.reply is not None:
                others = tuple(text for text in turn.candidates or () if text != turn.reply)
                found.append(Question(rotated(facts, times), tuple(said), (*others, turn.reply)))
                said.append(turn.reply)
    return found

"""Text to token ids and back, control tokens out of the text's reach. Knows vocabularies; knows nothing of layouts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from convogym import transfertransfo
from convogym.errors import CheckpointError
from convogym.layouts import CONTROL_TOKENS
from convogym.text import normalise

EOS = "<|endoftext|>"


def special_tokens(layout: str) -> tuple[str, tuple[str, ...]]:
    """What ends an utterance in a layout, and the layout's other control tokens."""
    if layout == transfertransfo.LAYOUT:
        return transfertransfo.EOS, transfertransfo.CONTROL_TOKENS
    return EOS, CONTROL_TOKENS


class BPETokenizer:
    """A byte-level BPE vocabulary followed by eos (inside it, for GPT-2) and the control tokens."""

    def __init__(self, bpe: tokenizers.Tokenizer, *, lower: bool, layout: str = "inline") -> None:
        """Takes a vocabulary and adds what it lacks.

        Args:
            bpe: byte-level BPE. Missing eos or control tokens get the next free ids, in the order eos, control tokens.
            lower: whether text is brought to the project's spelling first (`convogym.text.normalise`).
            layout: says what eos and the control tokens are.
        """
        eos, controls = special_tokens(layout)
        known = bpe.get_vocab(with_added_tokens=True)
        self.own_ids: int = 1 + max((i for token, i in known.items() if token not in (eos, *controls)), default=-1)
        """one more than the highest id that is none of eos and the control tokens"""
        for token in (eos, *controls):
            bpe.add_special_tokens([token])  # where it is there already, this makes sure that no text can become it
        self._bpe = bpe
        self.lower = lower
        ids = bpe.get_vocab(with_added_tokens=True)
        self._control = {token: ids[token] for token in controls}
        self._eos = ids[eos]
        self._others = sorted(
            i for i, token in bpe.get_added_tokens_decoder().items() if token.special and token.content not in (eos, *controls)
        )
        bpe.encode_special_tokens = True  # text that looks like a control token stays text
        self._encode = lru_cache(maxsize=1 << 16)(self._encode_now)

    @staticmethod
    def learn(texts: Iterable[str], size: int, layout: str = "inline") -> BPETokenizer:
        """Learns a lower-case vocabulary.

        Args:
            texts: normalised text.
            size: number of ids in all, eos and control tokens included.
            layout: says what those are.
        """
        bpe = tokenizers.Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size - 1 - len(special_tokens(layout)[1]),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[],
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return BPETokenizer(bpe, lower=True, layout=layout)

    @staticmethod
    def load(folder: Path, *, lower: bool, layout: str = "inline") -> BPETokenizer:
        """Reads `tokenizer.json`, or GPT-2's `vocab.json` and `merges.txt`.

        Raises:
            CheckpointError: neither is there, they cannot be read, or nothing in them ends an utterance.
        """
        whole, vocab, merges = folder / "tokenizer.json", folder / "vocab.json", folder / "merges.txt"
        try:
            if whole.is_file():
                bpe = tokenizers.Tokenizer.from_file(str(whole))
            elif vocab.is_file() and merges.is_file():
                bpe = tokenizers.Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
                bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
                bpe.decoder = decoders.ByteLevel()
                added = folder / "added_tokens.json"
                if added.is_file():
                    by_id = sorted(json.loads(added.read_text("utf-8")).items(), key=lambda item: int(item[1]))
                    bpe.add_special_tokens([token for token, _ in by_id])
                    for token, wanted in by_id:
                        if bpe.token_to_id(token) != wanted:
                            raise CheckpointError(f"{added}: gives {token!r} the id {wanted}, which is not the next free one.")
            else:
                raise CheckpointError(f"{folder}: expected tokenizer.json, or vocab.json and merges.txt; found neither.")
        except CheckpointError:
            raise
        except Exception as error:  # the tokenizers library raises bare Exception for anything it cannot parse
            raise CheckpointError(f"{folder}: its tokenizer cannot be read ({error}).") from error
        if special_tokens(layout)[0] == EOS and bpe.token_to_id(EOS) is None:
            raise CheckpointError(
                f"{folder}: its vocabulary has no {EOS!r}, so the model never learnt to end an utterance; take another base."
            )
        return BPETokenizer(bpe, lower=lower, layout=layout)

    def save(self, folder: Path) -> None:
        """Writes `tokenizer.json`."""
        (folder / "tokenizer.json").write_text(self._bpe.to_str(), "utf-8")

    def __len__(self) -> int:
        """The number of ids."""
        return int(self._bpe.get_vocab_size(with_added_tokens=True))

    @property
    def eos(self) -> int:
        """The id that ends an utterance."""
        return self._eos

    @property
    def control_ids(self) -> tuple[int, ...]:
        """The ids no text ever has: eos, the layout's control tokens, and other special tokens of the vocabulary."""
        return (self._eos, *self._control.values(), *self._others)

    def control(self, token: str) -> int:
        """The id of a control token."""
        return self._control[token]

    def _encode_now(self, text: str) -> tuple[int, ...]:
        if self.lower:
            text = normalise(text)
        return tuple(self._bpe.encode(text, add_special_tokens=False).ids)

    def encode(self, text: str) -> Sequence[int]:
        """The ids of plain text."""
        return self._encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; eos and control tokens are left out."""
        return str(self._bpe.decode(list(ids), skip_special_tokens=True))

"""Text to token ids and back, control tokens out of the text's reach. Knows vocabularies; knows nothing of layouts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from convogym.errors import CheckpointError
from convogym.layouts import CONTROL_TOKENS
from convogym.text import normalise

EOS = "<|endoftext|>"


class BPETokenizer:
    """A byte-level BPE vocabulary followed by eos (inside it, for GPT-2) and the control tokens."""

    def __init__(self, bpe: tokenizers.Tokenizer, *, lower: bool) -> None:
        """Takes a vocabulary and adds what it lacks.

        Args:
            bpe: byte-level BPE. Missing eos or control tokens get the next free ids, in the order eos, `CONTROL_TOKENS`.
            lower: whether text is brought to the project's spelling first (`convogym.text.normalise`).
        """
        for token in (EOS, *CONTROL_TOKENS):
            bpe.add_special_tokens([token])  # where it is there already, this makes sure that no text can become it
        self._bpe = bpe
        self.lower = lower
        ids = bpe.get_vocab(with_added_tokens=True)
        self._control = {token: ids[token] for token in CONTROL_TOKENS}
        self._eos = ids[EOS]
        bpe.encode_special_tokens = True  # text that looks like a control token stays text
        self._encode = lru_cache(maxsize=1 << 16)(self._encode_now)

    @staticmethod
    def learn(texts: Iterable[str], size: int) -> BPETokenizer:
        """Learns a lower-case vocabulary.

        Args:
            texts: normalised text.
            size: number of ids in all, eos and control tokens included.
        """
        bpe = tokenizers.Tokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size - 1 - len(CONTROL_TOKENS),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[],
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return BPETokenizer(bpe, lower=True)

    @staticmethod
    def load(folder: Path, *, lower: bool) -> BPETokenizer:
        """Reads `tokenizer.json`, or GPT-2's `vocab.json` and `merges.txt`.

        Raises:
            CheckpointError: neither is there, or they cannot be read.
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
        return BPETokenizer(bpe, lower=lower)

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
        """The ids no text ever has, eos included."""
        return (self._eos, *self._control.values())

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

"""A language model as a speaker: requests in, utterances out. Knows layouts and decoding; knows nothing of environments."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from convogym.agents.decoder import Generated
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.errors import InputError
from convogym.speakers import Request, Utterance

SILENCE = "..."  # what stands in the record where a speaker said nothing readable


class ModelSpeaker:
    """One side of many conversations, spoken by a language model (see `convogym.speakers.Speaker`)."""

    def __init__(self, model: LanguageModel, sampling: Sampling | None = None) -> None:
        """Takes a model; two speakers may share it, each with its own cache.

        Raises:
            InputError: `sampling.max_tokens` leaves the model no room to read.
        """
        self.model = model
        self.sampling = sampling or model.sampling
        if self.sampling.max_tokens > model.network.shape.n_positions // 2:
            raise InputError(
                f"`max_tokens` must be at most half of the {model.network.shape.n_positions} tokens {model.name} can read, "
                f"got {self.sampling.max_tokens}."
            )
        self._decoder = model.decoder()
        self._facts: dict[str, npt.NDArray[np.float32]] = {}

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def taught(self) -> tuple[str, ...]:
        """Goals the model was taught beyond the published ones."""
        return self.model.taught

    @property
    def feature_size(self) -> int:
        """The model's hidden size."""
        return self.model.network.shape.n_embd

    @property
    def max_tokens(self) -> int:
        """The longest utterance, in tokens."""
        return self.sampling.max_tokens

    @property
    def cache_bytes(self) -> int:
        """Memory its cache takes."""
        return self._decoder.cache_bytes

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        """Answers every request, in order; see `convogym.speakers.Speaker.speak`.

        Raises:
            InputError: a persona and its last utterance alone do not fit in the model's context.
        """
        if not requests:
            return []
        room = self._decoder.room - self.sampling.max_tokens
        prompts = [self.model.prompt(r.persona, r.history, r.goals, room) for r in requests]
        noise = np.stack([r.noise for r in requests])
        listened = any(r.heard is not None for r in requests)
        generated = self._decoder.generate(
            [r.slot for r in requests],
            [p.ids for p in prompts],
            noise,
            self.sampling,
            (lambda place, ids: self._tell(requests[place], ids)) if listened else None,
        )
        return [self._utterance(g, p.dropped_turns > 0) for g, p in zip(generated, prompts, strict=True)]

    def _tell(self, request: Request, ids: Sequence[int]) -> None:
        """Tells whoever listens to a request what was said so far, less a character of which only some bytes are there."""
        if request.heard is not None:
            request.heard(" ".join(self.model.tokenizer.decode(ids).split()).rstrip("\N{REPLACEMENT CHARACTER}"))

    def _utterance(self, generated: Generated, dropped: bool) -> Utterance:
        text = " ".join(self.model.tokenizer.decode(generated.ids).split())
        return Utterance(
            text=text or SILENCE,
            tokens=generated.tokens,
            features=generated.features,
            log_prob=generated.log_prob,
            is_empty=not text,
            is_cut_off=generated.is_cut_off,
            is_context_dropped=dropped,
        )

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Mean last hidden state (`GPT2.standardised`) of each text standing alone, eos included, (len(texts), feature_size).

        Computed once a text and kept: facts come back in every episode.
        """
        tokenizer, network = self.model.tokenizer, self.model.network
        for text in texts:
            if text not in self._facts:
                ids = [*tokenizer.encode(text), tokenizer.eos][: network.shape.n_positions]
                hidden = network.hidden(torch.tensor([ids], device=self.model.device))[0]  # (T, C)
                self._facts[text] = network.standardised(hidden.mean(0)).float().cpu().numpy()
        return np.stack([self._facts[text] for text in texts]) if texts else np.zeros((0, self.feature_size), np.float32)

"""A language model as a speaker: requests in, utterances out. Knows layouts and decoding; knows nothing of environments."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from convogym.agents.decoder import Decoder, Generated, Task
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.errors import InputError
from convogym.layouts import Prompt
from convogym.speakers import Request, Utterance

SILENCE = "..."  # what stands in the record where a speaker said nothing readable


class ModelSpeaker:
    """One side of many conversations, spoken by a language model (see `convogym.speakers.Speaker`)."""

    def __init__(self, model: LanguageModel, sampling: Sampling | None = None) -> None:
        """Takes a model; two speakers may share it, each with its own cache. One may also speak for both sides (`exchange`).

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
        self._apart: Decoder | None = None  # of lines for taught goals, made when the first is asked for
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
        return self._decoder.cache_bytes + (0 if self._apart is None else self._apart.cache_bytes)

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        """Answers every request, in order; see `convogym.speakers.Speaker.speak`.

        Raises:
            InputError: a persona and its last utterance alone do not fit in the model's context.
        """
        return self._spoken(requests, lambda place, utterance: None)[0]

    def exchange(
        self, requests: Sequence[Request], reply_request: Callable[[int, str], Request]
    ) -> tuple[list[Utterance], list[Utterance]]:
        """Says a line in each conversation and the reply to it, each reply as soon as its own line is said.

        What is said is what `speak` would say, first asked for the lines and then for the replies.

        Args:
            requests: of the lines.
            reply_request: what is asked for after the line of the n-th request, given its text.

        Raises:
            InputError: a persona and its last utterance alone do not fit in the model's context.
        """
        lines, replies = self._spoken(requests, lambda place, line: reply_request(place, line.text))
        return lines, replies

    def _spoken(
        self, requests: Sequence[Request], following: Callable[[int, Utterance], Request | None]
    ) -> tuple[list[Utterance], list[Utterance]]:
        """The utterances of the requests, and of the requests that follow them; `following` gives none or one for each."""
        first, second = dict[int, Utterance](), dict[int, Utterance]()
        prompts: dict[Hashable, Prompt] = {}
        places: dict[Hashable, int] = {}

        def task(place: int, request: Request) -> Task:
            side = len(request.history) % 2  # whose context it is: a slot may be asked for both
            prompt = self.model.prompt(request.persona, request.history, request.goals, room)
            slot = (request.slot, side)
            if places.setdefault(slot, place) != place:
                raise InputError("`slots` must be distinct, got one twice.")
            prompts[slot] = prompt
            return Task(slot, prompt.ids, request.noise, self._heard(request))

        def ended(done: Task, generated: Generated) -> Task | None:
            place = places.pop(done.slot)
            utterance = self._utterance(generated, prompts[done.slot].dropped_turns > 0)
            if place in first:
                second[place] = utterance
                return None
            first[place] = utterance
            request = following(place, utterance)
            return None if request is None else task(place, request)

        waiting: list[Task] = []

        def ended_apart(done: Task, generated: Generated) -> None:
            following_task = ended(done, generated)
            waiting.extend([following_task] if following_task else [])

        room = self._decoder.room - self.sampling.max_tokens
        tasks: dict[bool, list[Task]] = {True: [], False: []}
        for place, request in enumerate(requests):
            is_steered = len(request.history) % 2 == 0 and bool(request.goals)
            tasks[is_steered and self.model.says_apart(request.goals[-1])].append(task(place, request))
        if tasks[True]:
            self._apart = self._apart or self.model.decoder(apart=True)
            self._apart.run(tasks[True], self.sampling, ended_apart)
        self._decoder.run([*tasks[False], *waiting], self.sampling, ended)
        return [first[place] for place in sorted(first)], [second[place] for place in sorted(second)]

    def _heard(self, request: Request) -> Callable[[Sequence[int]], None] | None:
        """Tells whoever listens to a request what was said so far, less a character of which only some bytes are there."""
        heard = request.heard
        if heard is None:
            return None
        decode = self.model.tokenizer.decode
        return lambda ids: heard(" ".join(decode(ids).split()).rstrip("\N{REPLACEMENT CHARACTER}"))

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

"""A language model as a speaker: requests in, utterances out. Knows layouts and decoding; knows nothing of environments."""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from convogym.agents.decoder import Decoder, Generated, Task
from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.errors import InputError
from convogym.layouts import Prompt
from convogym.speakers import Request, Utterance

Key = TypeVar("Key")

SILENCE = "..."  # what stands in the record where a speaker said nothing readable
FACTS = 30_000  # texts whose `embed` is kept, those asked for last: all facts of a corpus, at most some 100 MB


class ModelSpeaker:
    """One side of many conversations, spoken by a language model (see `convogym.speakers.Speaker`).

    May be used from any thread; who speaks makes others wait. `convogym.agents.shared` lets them join instead.
    """

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
        self._speaking = threading.Lock()  # of both decoders at once: two threads could each hold one and want the other
        self._embedded = functools.lru_cache(FACTS)(functools.partial(_mean_state, model))

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
        said, asked = dict[int, Utterance](), enumerate(requests)
        self.attend(lambda: asked, lambda place, answer: said.update({place: _given(answer)}))
        return [said[place] for place in range(len(requests))]

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
        lines, replies = dict[int, Utterance](), dict[int, Utterance]()
        asked = deque(enumerate(requests))

        def answered(place: int, answer: Utterance | Exception) -> None:
            utterance = _given(answer)
            if place in lines:
                replies[place] = utterance
            else:
                lines[place] = utterance
                asked.append((place, reply_request(place, utterance.text)))

        self.attend(lambda: _drained(asked), answered)
        return [lines[place] for place in range(len(requests))], [replies[place] for place in range(len(requests))]

    def attend(
        self, asked: Callable[[], Iterable[tuple[Key, Request]]], answered: Callable[[Key, Utterance | Exception], None]
    ) -> None:
        """Answers whoever asks, each as soon as it is said, until nobody is being answered and nobody asks.

        What is said is what `speak` would say, whoever else is being answered. Other threads' calls wait until it returns.

        Args:
            asked: before every step, gives the requests made since it was last asked, each with a key of the caller's.
            answered: is told each answer under its key; whatever is wrong with one request is told under its own key: an
                `InputError` where a persona and its last utterance alone do not fit in the model's context, where there is
                too little noise, or where the slot is being spoken in. Must not call the speaker.

        Raises:
            Whatever goes wrong while it speaks, or in `asked` or `answered`; who was being answered then gets no answer.
        """
        with self._speaking:
            self._attend(asked, answered)

    def _attend(
        self, asked: Callable[[], Iterable[tuple[Key, Request]]], answered: Callable[[Key, Utterance | Exception], None]
    ) -> None:
        under_way: dict[tuple[bool, Hashable], tuple[Key, Prompt]] = {}
        waiting: dict[bool, deque[Task]] = {False: deque(), True: deque()}  # True: of lines for taught goals
        steps: dict[bool, Generator[list[tuple[Task, Generated]], None, None]] = {}
        try:
            while True:
                asking = False
                for key, request in asked():
                    asking = True
                    try:
                        apart, task, prompt = self._task(request)
                        if (apart, task.slot) in under_way:
                            raise InputError("`slots` must be distinct, got one twice.")
                    except Exception as error:  # whatever it is, it is this request's alone
                        answered(key, error)
                        continue
                    under_way[apart, task.slot] = key, prompt
                    waiting[apart].append(task)
                for apart, tasks in waiting.items():
                    if tasks and apart not in steps:
                        steps[apart] = self._decoder_of(apart).steps(tasks, self.sampling)
                if not steps and not asking:
                    return
                for apart in list(steps):
                    ended = next(steps[apart], None)
                    if ended is None:
                        del steps[apart]
                    for task, generated in ended or ():
                        key, prompt = under_way.pop((apart, task.slot))
                        answered(key, self._utterance(generated, prompt.dropped_turns > 0))
        finally:
            for each in steps.values():
                each.close()

    def _task(self, request: Request) -> tuple[bool, Task, Prompt]:
        """Whether a request is for a line of a taught goal, what the decoder is to do for it, and from which prompt."""
        side = len(request.history) % 2  # whose context it is: a slot may be asked for both
        prompt = self.model.prompt(
            request.persona, request.history, request.goals, self._decoder.room - self.sampling.max_tokens
        )
        task = Task((request.slot, side), prompt.ids, request.noise, self._heard(request))
        self._decoder.check(task, self.sampling)
        return side == 0 and bool(request.goals) and self.model.says_apart(request.goals[-1]), task, prompt

    def _decoder_of(self, apart: bool) -> Decoder:
        if apart:
            self._apart = self._apart or self.model.decoder(apart=True)
            return self._apart
        return self._decoder

    def _heard(self, request: Request) -> Callable[[Sequence[int]], None] | None:
        """Tells whoever listens to a request what was said so far, less a character of which only some bytes are there.

        Who raises is told no more: their fault must not end what others are being answered.
        """
        if request.heard is None:
            return None
        listening = [request.heard]
        decode = self.model.tokenizer.decode

        def tell(ids: Sequence[int]) -> None:
            try:
                for heard in listening:
                    heard(" ".join(decode(ids).split()).rstrip("\N{REPLACEMENT CHARACTER}"))
            except Exception:
                listening.clear()

        return tell

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

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Mean last hidden state (`GPT2.standardised`) of each text standing alone, eos included, (len(texts), feature_size).

        Computed once a text and kept, of the `FACTS` texts asked for last: facts come back in every episode.
        """
        return np.stack([self._embedded(text) for text in texts]) if texts else np.zeros((0, self.feature_size), np.float32)


@torch.inference_mode()
def _mean_state(model: LanguageModel, text: str) -> npt.NDArray[np.float32]:
    tokenizer, network = model.tokenizer, model.network
    ids = [*tokenizer.encode(text), tokenizer.eos][: network.shape.n_positions]
    hidden = network.hidden(torch.tensor([ids], device=model.device))[0]  # (T, C)
    vector: npt.NDArray[np.float32] = network.standardised(hidden.mean(0)).float().cpu().numpy()
    return vector


def _given(answer: Utterance | Exception) -> Utterance:
    if isinstance(answer, Exception):
        raise answer
    return answer


def _drained(queue: deque[Key]) -> Iterator[Key]:
    """Takes out what a queue has."""
    while queue:
        yield queue.popleft()

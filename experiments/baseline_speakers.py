"""Two other ways to speak with a model's weights, for comparison: the original's loop, and `generate` of transformers.

Both answer the requests that `ModelSpeaker` answers, with its prompts, its sampling and its two rules (an utterance has a
token before its eos; control tokens are never said), and both encode every prompt anew. What differs is the use of the
network, which is the transformers library's, on the same tensors. Knows nothing of environments or clocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from convogym.agents.model import LanguageModel
from convogym.agents.sampling import Sampling
from convogym.agents.speaking import SILENCE
from convogym.speakers import Request


class Said(NamedTuple):
    """One utterance."""

    text: str
    tokens: int
    """how many were drawn, eos included"""
    ids: tuple[int, ...]
    """without the eos that ended it"""


def in_transformers(model: LanguageModel) -> Any:
    """The transformers library's `GPT2LMHeadModel` on the very tensors of a model (nothing is copied)."""
    from transformers import GPT2Config, GPT2LMHeadModel

    eos = model.tokenizer.eos
    config = GPT2Config(
        **dataclasses.asdict(model.network.shape),
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=eos,
        eos_token_id=eos,
    )
    network: Any = GPT2LMHeadModel(config)
    weights = model.network.state_dict()
    network.load_state_dict({**weights, "lm_head.weight": weights["transformer.wte.weight"]}, assign=True)
    network.train(False)
    return network


class ReferenceLoop:
    """Speaks as `Agent.__call__` of convogym 0.1.2 (af1tang/convogym, agents.py) does.

    One dialogue at a time. Each utterance starts from nothing: the whole prompt is encoded with no cache, then token by token
    with a cache that is thrown away at its end; every token is drawn from the filtered distribution with `multinomial`.
    """

    def __init__(self, model: LanguageModel, network: Any, sampling: Sampling, seed: int = 0) -> None:
        """Takes the model and what `in_transformers` made of it."""
        self._model, self._network, self._sampling = model, network, sampling
        self._banned = torch.tensor(_banned(model), dtype=torch.long, device=model.device)
        self._generator = torch.Generator(model.device).manual_seed(seed)

    def speak(self, requests: Sequence[Request]) -> list[Said]:
        """Answers every request, in order; their noise is not used."""
        return [self._answer(ids) for ids in _prompts(self._model, requests, self._sampling)]

    @torch.no_grad()
    def _answer(self, ids: Sequence[int]) -> Said:
        eos = self._model.tokenizer.eos
        new, past, said = torch.tensor([ids], device=self._model.device), None, []
        for n in range(self._sampling.max_tokens):
            out = self._network(new, past_key_values=past, use_cache=True)
            past, logits = out.past_key_values, out.logits[0, -1].float()  # (V,)
            logits[self._banned] = -torch.inf
            if n == 0:
                logits[eos] = -torch.inf
            shares = torch.softmax(filtered(logits / self._sampling.temperature, self._sampling), -1)
            token = torch.multinomial(shares, 1, generator=self._generator)  # (1,)
            said.append(int(token))
            if said[-1] == eos:
                break
            new = token[None]  # (1, 1)
        return _said(self._model, said)


def filtered(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits with all but the top k, then all but the nucleus, at minus infinity.

    As `top_k_top_p_filtering` of convogym 0.1.2 (utils/_sampling.py): ties with the k-th stay, and so does the token that
    crosses p.

    Args:
        logits: (V,).
        sampling: k and p.
    """
    least = torch.topk(logits, min(sampling.top_k, len(logits))).values[-1]
    logits = logits.masked_fill(logits < least, -torch.inf)
    ordered, tokens = torch.sort(logits, descending=True)  # (V,)
    shares = torch.softmax(ordered, -1)
    outside = shares.cumsum(-1) - shares > sampling.top_p
    return logits.masked_fill(torch.zeros_like(outside).scatter(0, tokens, outside), -torch.inf)


class BatchedGenerate:
    """Speaks with `model.generate`: all prompts in one batch, padded at the left, encoded anew for each utterance."""

    def __init__(self, model: LanguageModel, network: Any, sampling: Sampling, seed: int = 0) -> None:
        """Takes the model and what `in_transformers` made of it."""
        from transformers import GenerationConfig

        self._model, self._network, self._sampling = model, network, sampling
        self._config = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=True,
            top_k=sampling.top_k,
            top_p=sampling.top_p,
            temperature=sampling.temperature,
            max_new_tokens=sampling.max_tokens,
            min_new_tokens=1,
            suppress_tokens=_banned(model),
            bos_token_id=model.tokenizer.eos,
            eos_token_id=model.tokenizer.eos,
            pad_token_id=model.tokenizer.eos,
        )
        self._random = torch.Generator(model.device).manual_seed(seed).get_state()

    @torch.inference_mode()
    def speak(self, requests: Sequence[Request]) -> list[Said]:
        """Answers every request, in order; their noise is not used."""
        prompts = _prompts(self._model, requests, self._sampling)
        width, eos = max(map(len, prompts)), self._model.tokenizer.eos
        device = self._model.device
        ids = torch.tensor([[eos] * (width - len(each)) + each for each in prompts], device=device)  # (B, T)
        mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in prompts], device=device)
        is_cuda = device.type == "cuda"
        with torch.random.fork_rng(devices=[device] if is_cuda else []):  # `generate` draws from torch's global generator
            (torch.cuda if is_cuda else torch).set_rng_state(self._random)
            out = self._network.generate(ids, attention_mask=mask, generation_config=self._config)
            self._random = (torch.cuda if is_cuda else torch).get_rng_state()
        return [_said(self._model, row) for row in out[:, width:].tolist()]


def _prompts(model: LanguageModel, requests: Sequence[Request], sampling: Sampling) -> list[list[int]]:
    room = model.network.shape.n_positions - sampling.max_tokens
    return [list(model.prompt(r.persona, r.history, r.goals, room).ids) for r in requests]


def _banned(model: LanguageModel) -> list[int]:
    """The ids that are never said; eos ends an utterance and is none of them."""
    unused = range(len(model.tokenizer), model.network.shape.vocab_size)
    return [i for i in (*model.tokenizer.control_ids, *unused) if i != model.tokenizer.eos]


def _said(model: LanguageModel, drawn: Sequence[int]) -> Said:
    """The utterance of drawn ids, of which those after the first eos are padding."""
    eos = model.tokenizer.eos
    ids = tuple(drawn[: drawn.index(eos)]) if eos in drawn else tuple(drawn)
    text = " ".join(model.tokenizer.decode(ids).split())
    return Said(text or SILENCE, len(ids) + (eos in drawn), ids)

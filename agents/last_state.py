"""The last token's hidden state of texts, by a language model: the original's state estimator with `reduce="last"`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from convogym.agents.model import LanguageModel


def last_states(model: LanguageModel) -> Callable[[Sequence[str]], npt.NDArray[np.float32]]:
    """What maps texts to the last hidden state (`GPT2.standardised`) of each one's end token, each read alone.

    Of a text longer than the context its newest part is read. The original reads the replies alone, too, and takes the last of
    the tokens' states in the last layer (`states.py: BaseStateEstimator`).
    """

    @torch.inference_mode()
    def encode(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        network, tokenizer = model.network, model.tokenizer
        found = np.zeros((len(texts), network.shape.n_embd), np.float32)
        rows = [[*tokenizer.encode(text), tokenizer.eos][-network.shape.n_positions :] for text in texts]
        width = max(map(len, rows))
        ids = torch.zeros(len(rows), width, dtype=torch.long, device=model.device)
        for place, row in enumerate(rows):
            ids[place, : len(row)] = torch.tensor(row)  # padded at the right: no token sees what comes after it
        hidden = network.hidden(ids)  # (N, T, C)
        for place, row in enumerate(rows):
            found[place] = network.standardised(hidden[place, len(row) - 1]).float().cpu().numpy()
        return found

    return encode

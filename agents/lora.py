"""Low-rank adapters (Hu et al. 2021) on a network's layers, by the peft library. Knows modules; knows nothing of training.

peft knows the affine maps of the transformers library, whose `Conv1D` holds the very tensors that `gpt2.Linear` holds; so
those stand in while adapters are on. Word embeddings stay trainable, for a caller may have new control tokens to teach.
"""

from __future__ import annotations

from typing import Any

import torch

from convogym.agents.gpt2 import GPT2, Linear
from convogym.errors import InputError

MAPS = ("c_attn", "c_proj", "c_fc")
ALPHA = 2  # times the rank: an adapter's update is scaled by alpha / rank


def add_adapters(network: GPT2, rank: int, seed: int) -> None:
    """Freezes the layers and gives each of their affine maps a low-rank update, which starts at 0.

    Args:
        network: changed in place; still computes what it did.
        rank: of the updates, at least 1.
        seed: of the adapters' weights.

    Raises:
        InputError: the rank is none, or peft is not installed.
    """
    if rank < 1:
        raise InputError(f"the rank of adapters must be at least 1, got {rank}.")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError('`peft` is not installed: run pip install "convogym[lora]".') from error
    from transformers.pytorch_utils import Conv1D

    for block in network.transformer.layers():
        for part in (block.attn, block.mlp):
            for name, old in list(part.named_children()):
                if isinstance(old, Linear):
                    new: Any = Conv1D(old.weight.size(1), old.weight.size(0))  # type: ignore[no-untyped-call]
                    new.weight, new.bias = old.weight, old.bias
                    setattr(part, name, new)
    config = LoraConfig(r=rank, lora_alpha=ALPHA * rank, target_modules=list(MAPS), fan_in_fan_out=True)
    with torch.random.fork_rng(devices=[]):  # peft draws from torch's global generator
        torch.manual_seed(seed)
        inject_adapter_in_model(config, network.transformer.h)
    for parameter_name, parameter in network.transformer.named_parameters():
        parameter.requires_grad = "lora_" in parameter_name or parameter_name.startswith(("wte", "wpe"))


def merge_adapters(network: GPT2) -> None:
    """Adds the updates to the maps and takes the adapters off: the network is an ordinary one again, in place."""
    from peft.tuners.lora import LoraLayer

    for block in network.transformer.layers():
        for part in (block.attn, block.mlp):
            for name, adapted in list(part.named_children()):
                if isinstance(adapted, LoraLayer):
                    adapted.merge(safe_merge=True)
                    held: Any = adapted.get_base_layer()
                    plain = Linear(*held.weight.shape)
                    plain.weight, plain.bias = held.weight, held.bias
                    setattr(part, name, plain)
    for parameter in network.parameters():
        parameter.requires_grad = True

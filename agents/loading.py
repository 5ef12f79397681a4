"""Finds a model by name: shipped, in a folder, or on the hub. Knows where models are; knows nothing of what is in them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import torch

from convogym.agents.model import LanguageModel
from convogym.errors import CheckpointError, InputError, UnknownNameError

SHIPPED = ("persona-mini",)


def shipped_folder(name: str) -> Path:
    """Where the package keeps a shipped model."""
    return Path(str(files("convogym") / "models" / name))


def load(name: str | Path = "persona-mini", device: str = "cpu", layout: str | None = None) -> LanguageModel:
    """Loads a GPT-2-family model.

    Args:
        name: a shipped model ("persona-mini"), a folder in the hub's format, or a hub id ("af1tang/personaGPT"; needs the
            network once, then comes from the hub's cache).
        device: where the weights go, e.g. "cpu" or "cuda".
        layout: that the model is going to be trained in; None = its own.

    Raises:
        UnknownNameError: no shipped model, folder or hub id is called so.
        CheckpointError: what was found cannot be used.
    """
    text = str(name)
    if text in SHIPPED:
        return LanguageModel.load(shipped_folder(text), text, device, layout)
    folder = Path(text).expanduser()
    if folder.exists():
        return LanguageModel.load(folder, text, device, layout)
    if text.count("/") == 1 and not text.startswith((".", "/", "~")):
        return LanguageModel.load(_downloaded(text), text, device, layout)
    raise UnknownNameError("model", text, [*SHIPPED, "a folder", "a hub id such as af1tang/personaGPT"])


def load_to_speak(name: str | Path = "persona-mini", device: str = "cpu") -> LanguageModel:
    """Loads a model for conversations alone: as `load` does, but on CUDA in bfloat16, in which it should not be trained.

    Raises:
        InputError: `device` is no device that torch finds.
    """
    check_device(device)
    return on_device(load(name), device)


def on_device(model: LanguageModel, device: str) -> LanguageModel:
    """The same model, moved, and on CUDA in bfloat16; `device` is one that `check_device` lets pass."""
    is_cuda = torch.device(device).type == "cuda"
    model.network.to(device=device, dtype=torch.bfloat16 if is_cuda else torch.float32)
    return model


def check_device(device: str) -> None:
    """Refuses what is neither "cpu" nor a CUDA device that torch finds; raises `InputError`."""
    found = torch.cuda.device_count()
    known = ["cpu", *(["cuda"] if found else []), *(f"cuda:{number}" for number in range(found))]
    if device not in known:
        raise InputError(f"`device` must be one of {', '.join(known)} (all that torch finds here), got {device!r}.")


def _downloaded(repo: str) -> Path:
    """The hub repository's files in the local cache, fetched if need be."""
    from huggingface_hub import snapshot_download

    patterns = ["config.json", "generation_config.json", "model.safetensors"]
    patterns += ["tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"]
    try:
        folder = Path(snapshot_download(repo, allow_patterns=patterns))
        if not (folder / "model.safetensors").exists():
            folder = Path(snapshot_download(repo, allow_patterns=[*patterns, "pytorch_model.bin"]))
    except Exception as error:  # the hub client raises its own, the HTTP client's and OS errors
        raise CheckpointError(
            f"{repo}: neither a folder here nor to be had from the hub ({type(error).__name__}); "
            "check the spelling and the network."
        ) from error
    return folder

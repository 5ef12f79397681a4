"""Replaces a folder whole or not at all. Knows files; knows nothing of what is in them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from convogym.errors import InputError

MODEL_FILES = frozenset(
    (
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "taught.safetensors",
        "tokenizer.json",
        "README.md",
        "pytorch_model.bin",
        "vocab.json",
        "merges.txt",
    )
)
"""what a folder may hold that is going to be replaced"""


def check_replaceable(folder: Path) -> None:
    """Refuses a folder that holds anything but a model.

    Raises:
        InputError: it is a file, the root, or holds files that a model folder has not.
    """
    whole = Path(os.path.abspath(folder))
    if not whole.name:
        raise InputError(f"{folder}: expected a folder for a model, got the root of the file system.")
    if whole.exists() and not whole.is_dir():
        raise InputError(f"{folder}: expected a folder for a model, got a file.")
    foreign = sorted(path.name for path in whole.iterdir() if path.name not in MODEL_FILES) if whole.exists() else []
    if foreign:
        raise InputError(f"{folder}: holds {foreign[0]!r}, which is no part of a model; choose a new folder.")


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Gives an empty folder to fill; at the end of the block it takes the place of `folder`.

    A card (README.md) in the old folder is kept. If the block fails, the old folder stays as it was.

    Raises:
        InputError: see `check_replaceable`.
        OSError: the disk is full or may not be written.
    """
    folder = Path(os.path.abspath(folder))
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    old = folder.with_name(f".{folder.name}.old.{os.getpid()}")
    try:
        yield scratch
        if (folder / "README.md").is_file():
            shutil.copy(folder / "README.md", scratch / "README.md")
        scratch.chmod(0o755)
        for path in scratch.iterdir():
            path.chmod(0o644)  # safetensors writes files for its owner alone
        if folder.exists():
            os.rename(folder, old)
        os.rename(scratch, folder)
    except SafetensorError as error:
        raise OSError(f"{folder}: the weights could not be written ({error}); is the disk full?") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)

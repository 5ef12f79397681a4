"""A learned policy on disk: a folder with `policy.json` (what it is) and `policy.safetensors` (its weights).

Both hold numbers and names only: reading a folder runs no code of whoever wrote it. Each file is whole or not there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from convogym.errors import CheckpointError
from convogym.policies.networks import build
from convogym.policies.spec import PolicySpec

if TYPE_CHECKING:
    from stable_baselines3.common.policies import BasePolicy

FORMAT = 1  # of policy.json; a reader refuses what it does not know
SPEC_FILE = "policy.json"
WEIGHTS_FILE = "policy.safetensors"
MAX_SPEC_BYTES = 10_000_000


def write(folder: Path, spec: PolicySpec, network: BasePolicy) -> None:
    """Writes both files to a folder, which is made if need be.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    tensors = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in network.state_dict().items()}
    weights = to_bytes(tensors)
    text = json.dumps(
        {"format": FORMAT, "kind": "convogym policy", **asdict(spec), "sha256": hashlib.sha256(weights).hexdigest()},
        indent=2,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _replace_files({folder / WEIGHTS_FILE: weights, folder / SPEC_FILE: (text + "\n").encode()})
    except OSError as problem:
        raise CheckpointError(
            f"cannot write the policy to {folder}: {problem.strerror or problem}; "
            "choose a folder that can be written, with free space."
        ) from problem


def read(folder: Path) -> tuple[PolicySpec, BasePolicy, str]:
    """Reads what `write` wrote.

    Returns:
        What the policy is, its network, and the SHA-256 of its weights in hexadecimal.

    Raises:
        CheckpointError: a file is missing, damaged, of another format, or does not go with the other.
    """
    spec, digest = _read_spec(folder)
    tensors = _read_weights(folder, digest)
    widths = (spec.observation_size, *spec.net_arch)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    try:
        if sum(inputs * outputs for inputs, outputs in pairwise(widths)) > numbers:  # before all that memory is asked for
            raise RuntimeError(f"there are only {numbers} of them.")
        network = build(spec)
        network.load_state_dict(tensors, strict=True)
    except RuntimeError as problem:
        lines = " ".join(str(problem).split())[:300]
        raise CheckpointError(
            f"the weights in {folder} are not those of the policy that {SPEC_FILE} describes: {lines}"
        ) from problem
    return spec, network, digest


def _replace_files(contents: Mapping[Path, bytes]) -> None:
    """Writes all files beside their places first and moves them there only when all are on disk."""
    drafts = {path: path.with_name(f".{path.name}.{os.getpid()}.draft") for path in contents}
    try:
        for path, draft in drafts.items():
            with open(draft, "wb") as file:
                file.write(contents[path])
                file.flush()
                os.fsync(file.fileno())
        for path, draft in drafts.items():
            os.replace(draft, path)
    finally:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)


def _read_bytes(path: Path, limit: int | None = None) -> bytes:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise CheckpointError(
                f"{path} is too large to be a policy's: {path.stat().st_size} bytes, expected at most {limit}."
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(
            f"{path.parent} is no policy: {path.name} is missing; expected a folder written by `convogym train-policy`."
        ) from None
    except OSError as problem:
        raise CheckpointError(f"cannot read {path}: {problem.strerror or problem}.") from problem


def _read_spec(folder: Path) -> tuple[PolicySpec, str]:
    """The spec of a stored policy and the SHA-256 of its weights."""
    path = folder / SPEC_FILE
    raw = _read_bytes(path, MAX_SPEC_BYTES)
    try:
        said = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise CheckpointError(
            f"{path} is damaged: it is no JSON ({problem}); train the policy again or restore the file."
        ) from problem
    if not isinstance(said, dict) or said.get("kind") != "convogym policy":
        raise CheckpointError(f"{path} describes no convogym policy; expected a folder written by `convogym train-policy`.")
    if said.get("format") != FORMAT:
        raise CheckpointError(
            f"{path} has format {said.get('format')!r}, this version of convogym reads format {FORMAT}; "
            "load it with the version that wrote it, or train the policy again."
        )
    try:
        spec = PolicySpec(
            algorithm=said["algorithm"],
            observation_size=said["observation_size"],
            num_actions=said["num_actions"],
            goals=None if said["goals"] is None else tuple(str(goal) for goal in said["goals"]),
            net_arch=tuple(said["net_arch"]),
            goal_blocks=said.get("goal_blocks", 0),  # not there in policies from before `belief`
            training=dict(said["training"]),
            versions=dict(said["versions"]),
        )
        return spec, str(said["sha256"])
    except (KeyError, TypeError, ValueError) as problem:
        raise CheckpointError(f"{path} is damaged: {problem}; train the policy again or restore the file.") from problem


def _read_weights(folder: Path, digest: str) -> dict[str, Tensor]:
    path = folder / WEIGHTS_FILE
    raw = _read_bytes(path)
    if hashlib.sha256(raw).hexdigest() != digest:
        raise CheckpointError(
            f"{path} is damaged or belongs to another policy: it is not the file that {SPEC_FILE} was written with; "
            "train the policy again or restore both files."
        )
    try:
        tensors = from_bytes(raw)
    except SafetensorError as problem:
        raise CheckpointError(f"{path} is damaged: {problem}; train the policy again or restore the file.") from problem
    for key, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path} is damaged: {key} holds numbers that are not finite; train the policy again.")
    return tensors

"""Paths that a test may or may not find: the corpora kept outside the repository, and the checkout itself.

Both functions skip the calling test, with the reason, where the path is missing: without the corpora, and when the tests
are run from a copy of their folder against an installed wheel.
"""

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("CONVOGYM_SHARED", CHECKOUT.parent / "shared"))


def shared_path(*parts: str) -> Path:
    """The path of a shared corpus; a test that asks for one carries `@pytest.mark.shared`."""
    return _path_or_skip(SHARED.joinpath(*parts), "set CONVOGYM_SHARED to the folder of the shared corpora")


def checkout_path(*parts: str) -> Path:
    """The path of a file of the repository that is not installed, such as setup.cfg or README.md."""
    return _path_or_skip(CHECKOUT.joinpath(*parts), "run the tests from the checkout to include this one")


def _path_or_skip(path: Path, advice: str) -> Path:
    if not path.exists():
        pytest.skip(f"{path} is missing: {advice}")
    return path

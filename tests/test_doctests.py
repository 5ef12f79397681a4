"""The examples in the docstrings do what they show.

Modules are imported by their real names: `pytest --doctest-modules agents` would import a second copy of each as `agents.*`.
"""

import doctest
import importlib
import pkgutil

import pytest

PACKAGES = ("convogym", "convogym.agents", "convogym.envs", "convogym.experiments", "convogym.policies")


def module_names() -> list[str]:
    names = set(PACKAGES)
    for package in PACKAGES:
        path = importlib.import_module(package).__path__
        names.update(module.name for module in pkgutil.iter_modules(path, f"{package}."))
    return sorted(name for name in names if not name.endswith(".__main__"))


@pytest.mark.parametrize("name", module_names())
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__name__ == name
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0

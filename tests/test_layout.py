"""The repository is laid out as setup.cfg says, and imports go one way: experiments -> policies, envs, agents -> convogym."""

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest
from shared_data import checkout_path

FOLDERS = ("agents", "convogym", "envs", "experiments", "policies")
SB3 = frozenset({"stable_baselines3", "sb3_contrib"})
HEAVY = frozenset({"torch", "transformers", "tokenizers", "matplotlib", "tensorboard"}) | SB3


@dataclass(frozen=True)
class Rule:
    """What the modules of one folder may import."""

    ours: frozenset[str] = frozenset()
    """The other folders it may import, besides `convogym`."""
    banned: frozenset[str] = frozenset()
    """Libraries it must not import anywhere."""
    banned_on_import: frozenset[str] = frozenset()
    """Libraries it may import inside functions only."""
    exceptions: Mapping[str, frozenset[str]] | None = None
    """Per file name, libraries that file may import after all."""


RULES = {
    "agents": Rule(banned=SB3 | {"gymnasium"}),
    "convogym": Rule(banned=HEAVY),
    "envs": Rule(banned_on_import=HEAVY, exceptions={"sb3.py": SB3}),
    "policies": Rule(
        banned=frozenset({"transformers"}),
        banned_on_import=SB3,
        exceptions=dict.fromkeys(("learned.py", "learners.py", "networks.py", "training.py", "zips.py"), SB3),
    ),
    "experiments": Rule(ours=frozenset({"agents", "envs", "policies"})),
}
LAZY_FOLDERS = {("envs", "make.py"): frozenset({"agents"})}  # the factory finds speakers by name, when it is called


@dataclass(frozen=True)
class Import:
    """One imported module."""

    module: str
    """Its full name, such as `convogym.envs.rewards`."""
    line: int
    """Where it is imported."""
    on_import: bool
    """Whether importing the file imports it: False inside functions and under `if TYPE_CHECKING`."""

    @property
    def folder(self) -> str | None:
        """Which of our folders it lies in; None for other people's modules."""
        top, *rest = self.module.split(".")
        if top != "convogym":
            return None
        return rest[0] if rest and rest[0] in FOLDERS else "convogym"


def imports_of(source: str) -> list[Import]:
    return list(_walk(ast.parse(source), on_import=True))


def _walk(node: ast.AST, on_import: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, child.lineno, on_import) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            module = "." * child.level + (child.module or "")
            names = [f"{module}.{alias.name}" for alias in child.names] if module == "convogym" else [module]
            yield from (Import(name, child.lineno, on_import) for name in names)
        else:
            is_lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or (
                isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            )
            yield from _walk(child, on_import and not is_lazy)


def violations(folder: str, name: str, source: str) -> list[str]:
    rule = RULES[folder]
    allowed = rule.ours | {folder, "convogym"}
    excepted = (rule.exceptions or {}).get(name, frozenset())
    found = []
    for item in imports_of(source):
        top = item.module.split(".")[0]
        if item.module.startswith("."):
            found.append(f"line {item.line}: relative import {item.module}")
        elif item.folder is not None:
            lazily = LAZY_FOLDERS.get((folder, name), frozenset()) if not item.on_import else frozenset()
            if item.folder not in allowed | lazily:
                found.append(f"line {item.line}: {folder} must not import {item.module}")
        elif top in rule.banned - excepted:
            found.append(f"line {item.line}: {folder} must not import {top}")
        elif item.on_import and top in rule.banned_on_import - excepted:
            found.append(f"line {item.line}: {folder} may import {top} only inside a function")
    return found


def module_files(folder: str) -> list[Path]:
    return sorted(path for path in checkout_path(folder).rglob("*.py") if path.name[0] != ".")


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(checkout_path("setup.cfg"), encoding="utf-8")
    return parser


def test_setup_cfg_lists_exactly_the_packages_on_disk() -> None:
    options = setup_cfg()["options"]
    listed = options["packages"].split()
    homes = dict(line.split(" = ") for line in options["package_dir"].strip().splitlines())
    root = checkout_path()
    on_disk = {str(path.parent.relative_to(root)) for folder in FOLDERS for path in (root / folder).rglob("__init__.py")}
    assert sorted(listed) == sorted(homes)
    assert set(homes.values()) == on_disk


def test_every_folder_of_modules_is_a_package() -> None:
    for folder in FOLDERS:
        for path in module_files(folder):
            assert (path.parent / "__init__.py").exists(), f"{path.parent} has modules but no __init__.py"


def test_the_type_checker_sees_every_package_under_its_real_name() -> None:
    links = {path.name: path.resolve() for path in checkout_path("typecheck", "convogym").iterdir() if path.is_symlink()}
    assert links == {folder: checkout_path(folder) for folder in FOLDERS if folder != "convogym"}


def test_tests_are_not_a_package_and_the_root_has_no_conftest() -> None:
    root = checkout_path("setup.cfg").parent
    assert not (root / "tests" / "__init__.py").exists()
    assert not (root / "conftest.py").exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_go_one_way(folder: str) -> None:
    found = {str(path): violations(folder, path.name, path.read_text(encoding="utf-8")) for path in module_files(folder)}
    assert not {path: lines for path, lines in found.items() if lines}


@pytest.mark.parametrize(
    ("folder", "name", "source"),
    [
        ("convogym", "goals.py", "import torch"),
        ("convogym", "goals.py", "def f():\n    from convogym.agents import load"),
        ("agents", "load.py", "from convogym.envs.rewards import ranking"),
        ("envs", "rewards.py", "from torch import nn"),
        ("envs", "persona_chat.py", "from convogym.agents import load"),
        ("envs", "make.py", "from convogym.agents import load"),
        ("envs", "make.py", "from convogym import agents"),
        ("envs", "make.py", "from . import rewards"),
        ("policies", "human.py", "import stable_baselines3"),
        ("policies", "human.py", "import convogym.experiments.cli"),
    ],
)
def test_an_import_the_wrong_way_is_found(folder: str, name: str, source: str) -> None:
    assert len(violations(folder, name, source)) == 1


@pytest.mark.parametrize(
    ("folder", "name", "source"),
    [
        ("convogym", "goals.py", "import numpy, json\nfrom convogym.errors import InputError"),
        ("envs", "make.py", "def f():\n    from convogym.agents import load"),
        ("envs", "rewards.py", "def f():\n    import torch"),
        ("envs", "rewards.py", "if TYPE_CHECKING:\n    import torch"),
        ("policies", "learners.py", "from sb3_contrib import MaskablePPO"),
        ("experiments", "demo.py", "import torch\nfrom convogym.envs import PersonaChatEnv"),
    ],
)
def test_an_import_the_right_way_is_let_through(folder: str, name: str, source: str) -> None:
    assert violations(folder, name, source) == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_module_opens_by_saying_what_it_is(folder: str) -> None:
    silent = [path for path in module_files(folder) if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert not silent


def test_importing_the_packages_loads_no_heavy_library_and_prints_nothing() -> None:
    code = "import sys, convogym, convogym.agents, convogym.envs, convogym.policies; sys.stderr.write(' '.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == ""
    assert HEAVY.isdisjoint(ran.stderr.split())


def test_every_data_file_gets_into_the_wheel() -> None:
    root = checkout_path("convogym")
    patterns = setup_cfg()["options.package_data"]["convogym"].split()
    shipped = {path for pattern in patterns for path in root.glob(pattern)}
    hidden = {path for path in root.rglob("*") if path.suffix in {".py", ".pyc"} or "__pycache__" in path.parts}
    assert {path for path in root.rglob("*") if path.is_file()} - hidden == shipped


@pytest.mark.parametrize("name", ["py.typed", "data/steered_talk/train.jsonl", "data/steered_talk/dev.jsonl"])
def test_a_data_file_is_installed(name: str) -> None:
    assert files("convogym").joinpath(name).is_file()


@pytest.mark.parametrize("name", ["agents", "envs", "experiments", "policies", "tests"])
def test_only_the_name_convogym_is_installed(name: str, tmp_path: Path) -> None:
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "None", f"the name {name!r} can be imported from anywhere"

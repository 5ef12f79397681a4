"""Named sets of personas that need no download, train and held-out apart. Knows the grammar and the shipped corpus by name.

| name | personas |
|---|---|
| `grammar-train`, `grammar-held-out` | 2,000 and 500 of the grammar, stored in `data/grammar_personas`; no fact in both |
| `steered-talk-train`, `steered-talk-dev` | the responders' of the shipped corpus |
| `train` | `grammar-train`, then `steered-talk-train` |
| `held-out` | `grammar-held-out`, then `steered-talk-dev` |

No persona is in both `train` and `held-out`; a few facts of the shipped corpus ("i never married.") are. Any other name is the
path of a file for `convogym.readers.read_personas`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np

from convogym import grammar, steered_talk
from convogym.dialogue import Persona
from convogym.errors import InputError, UnknownNameError
from convogym.readers import read_personas

_GRAMMAR_SIZES: Mapping[str, int] = {"train": 2000, "held-out": 500}
_SEED = 20110211  # of the grammar's pools: changing it changes what a named split is


def _distinct(personas: Iterable[Persona]) -> tuple[Persona, ...]:
    first: dict[frozenset[str], Persona] = {}
    for persona in personas:
        first.setdefault(frozenset(persona.facts), persona)
    return tuple(first.values())


def draw_from_grammar(split: str) -> tuple[Persona, ...]:
    """Draws the grammar's set of a split anew, which takes seconds; what is stored must equal it.

    Args:
        split: "train" or "held-out".
    """
    rng = np.random.default_rng([_SEED, *split.encode()])
    personas: dict[frozenset[str], Persona] = {}
    for _ in range(100 * _GRAMMAR_SIZES[split]):
        facts = tuple(fact.text for fact in grammar.sample_persona(rng, split))
        personas.setdefault(frozenset(facts), Persona(facts))
        if len(personas) == _GRAMMAR_SIZES[split]:
            return tuple(personas.values())
    raise InputError(f"the grammar's {split!r} split has fewer than {_GRAMMAR_SIZES[split]} personas, got {len(personas)}.")


def write_grammar_sets(folder: Path) -> None:
    """Writes the grammar's sets as they are stored in the package: after a change of the grammar, into its data folder."""
    for split in _GRAMMAR_SIZES:
        rows = [json.dumps(persona.facts) for persona in draw_from_grammar(split)]
        (folder / f"{split}.json").write_text("[\n" + ",\n".join(rows) + "\n]\n", "utf-8")


def _from_grammar(split: str) -> tuple[Persona, ...]:
    stored = resources.files("convogym").joinpath("data", "grammar_personas", f"{split}.json").read_text("utf-8")
    return tuple(Persona(tuple(facts)) for facts in json.loads(stored))


def _from_steered_talk(split: str) -> tuple[Persona, ...]:
    return _distinct(dialogue.persona for dialogue in steered_talk.load(split) if dialogue.persona is not None)


_SETS: Mapping[str, Callable[[], tuple[Persona, ...]]] = {
    "train": lambda: load_personas("grammar-train") + load_personas("steered-talk-train"),
    "held-out": lambda: load_personas("grammar-held-out") + load_personas("steered-talk-dev"),
    "grammar-train": lambda: _from_grammar("train"),
    "grammar-held-out": lambda: _from_grammar("held-out"),
    "steered-talk-train": lambda: _from_steered_talk("train"),
    "steered-talk-dev": lambda: _from_steered_talk("dev"),
}
PERSONA_SETS: tuple[str, ...] = tuple(_SETS)


@cache
def _named(name: str) -> tuple[Persona, ...]:
    return _SETS[name]()


def load_personas(name: str | Path) -> tuple[Persona, ...]:
    """The personas of a named set or of a file, always in the same order.

    A named set is made once and kept; a file is read at every call.

    Args:
        name: one of `PERSONA_SETS`, or the path of a persona CSV or a dialogue file.

    Raises:
        UnknownNameError: neither a known name nor a file.
        CorpusError: a file without usable personas.
    """
    if isinstance(name, str) and name in _SETS:
        return _named(name)
    if not Path(name).exists():
        raise UnknownNameError("persona set or file", str(name), PERSONA_SETS)
    return tuple(read_personas(name))

"""Named persona sets are the same every time, large enough, and apart from one another."""

from pathlib import Path

import pytest

from convogym.dialogue import Persona
from convogym.errors import CorpusError, UnknownNameError
from convogym.personas import PERSONA_SETS, draw_from_grammar, load_personas


def facts(name: str) -> set[str]:
    return {fact for persona in load_personas(name) for fact in persona.facts}


def test_sets_have_their_sizes_and_no_persona_twice() -> None:
    sizes = {name: len(load_personas(name)) for name in PERSONA_SETS}
    assert sizes["grammar-train"] == 2000 and sizes["grammar-held-out"] == 500
    assert sizes["train"] == 2000 + sizes["steered-talk-train"]
    assert sizes["held-out"] == 500 + sizes["steered-talk-dev"]
    for name in PERSONA_SETS:
        assert len({frozenset(persona.facts) for persona in load_personas(name)}) == sizes[name]


def test_every_persona_has_three_to_five_facts() -> None:
    assert {len(persona.facts) for name in PERSONA_SETS for persona in load_personas(name)} == {3, 4, 5}


def test_held_out_personas_are_not_among_the_training_ones() -> None:
    assert not facts("grammar-train") & facts("grammar-held-out")
    train = {frozenset(persona.facts) for persona in load_personas("train")}
    held_out = {frozenset(persona.facts) for persona in load_personas("held-out")}
    assert not train & held_out
    # two people may both have never married, but hardly anything else is shared
    assert len(facts("train") & facts("held-out")) < 0.01 * len(facts("held-out"))


def test_a_set_is_made_once() -> None:
    assert load_personas("grammar-held-out") is load_personas("grammar-held-out")


def test_the_stored_sets_are_those_the_grammar_makes() -> None:
    """After a change of the grammar, `write_grammar_sets(Path("convogym/data/grammar_personas"))`."""
    assert load_personas("grammar-train") == draw_from_grammar("train")
    assert load_personas("grammar-held-out") == draw_from_grammar("held-out")


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("Fact 1,Fact 2\ni ski.,i sail.\n")
    assert load_personas(path) == load_personas(str(path)) == (Persona(("i ski.", "i sail.")),)
    with pytest.raises(CorpusError):
        load_personas(tmp_path)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'held-out'"):
        load_personas("heldout")

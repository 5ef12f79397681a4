"""The pretraining run as a whole, on a corpus of a few dialogues: what it writes, and that it can be cut anywhere."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from convogym import grammar
from convogym.agents.loading import load
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import InputError
from convogym.experiments.corpora import kept_apart, pieced, rarer_words, read_folder, reordered, reworded, shifted, spelled
from convogym.experiments.pretrain import RECIPE, RELEASED, phases, pretrain
from convogym.readers import write_dialogues

TINY = dataclasses.replace(
    RECIPE,
    vocabulary=600,
    n_embd=16,
    n_layer=4,
    n_head=4,
    epoch=0.05,
    fact_steps=2,
    talk_steps=2,
    answer_steps=1,
    more_answer_steps=1,
    line_steps=1,
    name_steps=1,
    more_name_steps=1,
    more_steps=1,
    own_steps=1,
    own_again_steps=1,
    last_steps=1,
    settling_steps=1,
    near_steps=1,
    told_steps=1,
    oblique_steps=1,
    oblique_told_steps=1,
    own_draws=(2, 2, 2, 2, 2),
    own_talks=0.002,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one corpus."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("corpora")
    write_dialogues(path / "personachat_train_part.jsonl.gz", [grammar.dialogue(rng, "train", 4) for _ in range(60)])
    return path


def weights(out: Path) -> list[torch.Tensor]:
    return list(load(out / "model").network.state_dict().values())


def test_another_word_stands_wherever_a_word_of_the_persona_was_said() -> None:
    talk = Dialogue(
        (Turn("any pets?", "two ocelots, and one called rex."), Turn("an ocelot!", "yes. i have them.")),
        Persona(("i have two ocelots.", "my ocelot is called rex.")),
    )
    words = ("ocelot", "plum", "rex")
    after = reworded(talk, words, np.random.default_rng(3))
    assert after.persona is not None
    animal, name = after.persona.facts[1].removeprefix("my ").removesuffix(".").split(" is called ")
    assert {animal, name} <= set(words) and (animal, name) != ("ocelot", "rex")
    assert after.persona.facts[0] == f"i have two {animal}s."
    assert [turn.reply for turn in after.turns] == [f"two {animal}s, and one called {name}.", "yes. i have them."]
    assert after.turns[1].line == f"an {animal}!"
    assert reworded(talk, ("plum",), np.random.default_rng(3)) is talk


def test_the_thousand_commonest_words_are_not_among_the_rarer_ones() -> None:
    letters = "abcdefghij"
    common = " ".join(f"{a}{b}{c}z" for a in letters for b in letters for c in letters)
    talk = Dialogue((Turn(common, f"{common} zebra"), Turn("quail", None)))
    assert rarer_words({"a": [talk]}) == ("quail", "zebra")


def test_a_cut_run_resumes_to_the_same_model(folder: Path, tmp_path: Path) -> None:
    """Cut within a phase and at borders; the model is a mean of the weights at the ends of phases."""
    whole = pretrain(folder, tmp_path / "whole", TINY, seed=3)
    for cut in (1, 12, 16):
        out = tmp_path / f"cut{cut}"
        pretrain(folder, out, TINY, seed=3, until=cut)
        pretrain(folder, out, TINY, seed=3, resume=True)
        assert all(torch.equal(a, b) for a, b in zip(weights(tmp_path / "whole"), weights(out), strict=True))
        entries = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert [entry["step"] for entry in entries] == sorted({entry["step"] for entry in entries})
    log = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").read_text().splitlines()]
    ended = [phase for phase, *_ in phases(TINY, 3)]
    assert [entry["phase"] for entry in log] == ended and all(entry["watch"] for entry in log)

    ends = [
        (share, load_file(tmp_path / "whole" / f"end_of_{phase.replace(' ', '_')}.safetensors"))
        for phase, share in RELEASED.items()
    ]
    assert sum(RELEASED.values()) == pytest.approx(1.0)
    for name, weight in whole.network.state_dict().items():
        torch.testing.assert_close(weight, torch.stack([share * end[name] for share, end in ends]).sum(0))
    assert set(json.loads((tmp_path / "whole" / "mean.json").read_text())["watch"]) >= {"personachat_train_part", "grammar"}


def test_a_finished_folder_is_not_overwritten_unasked(folder: Path, tmp_path: Path) -> None:
    pretrain(folder, tmp_path / "run", TINY, until=1)
    with pytest.raises(InputError, match="--resume"):
        pretrain(folder, tmp_path / "run", TINY)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected corpora"):
        read_folder(tmp_path)
    with pytest.raises(InputError, match="found none"):
        read_folder(tmp_path / "nowhere")


def test_watched_dialogues_are_not_trained_on(folder: Path) -> None:
    train, watch = ({str(talk) for talks in part.values() for talk in talks} for part in kept_apart(read_folder(folder)))
    assert len(watch) == 2 and not watch & train


def test_reordering_facts_keeps_what_replies_reveal() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        before = grammar.dialogue(rng, "train")
        after = reordered(before, rng)
        assert before.persona and after.persona and set(before.persona.facts) == set(after.persona.facts)
        for a, b in zip(before.turns, after.turns, strict=True):
            assert {before.persona.facts[i] for i in a.facts or ()} == {after.persona.facts[i] for i in b.facts or ()}


def test_a_pieced_dialogue_has_pieces_of_three_and_their_facts_among_others() -> None:
    rng = np.random.default_rng(2)
    talks = [grammar.dialogue(rng, "train") for _ in range(12)]
    known = {(turn.line, turn.reply): (talk, turn) for talk in talks if talk.persona for turn in talk.turns}
    telling = [talk for talk in talks if any(turn.facts for turn in talk.turns)]
    sources = set[int]()
    for _ in range(40):
        made = pieced(telling, rng)
        assert made.persona is not None and len(made.persona.facts) == len(set(made.persona.facts)) <= 5
        parts = []
        for turn in made.turns:
            talk, before = known[turn.line, turn.reply]
            assert talk.persona is not None
            assert [made.persona.facts[i] for i in turn.facts or ()] == [talk.persona.facts[i] for i in before.facts or ()]
            parts.append(id(talk))
        sources.add(len(set(parts)))
        assert 2 <= len(made.turns) <= 9 and any(turn.facts for turn in made.turns)
    assert sources <= {1, 2, 3} and 3 in sources


def test_the_other_chair_swaps_personas_and_drops_the_first_line() -> None:
    talk = grammar.dialogue(np.random.default_rng(2), "train")
    other = shifted(talk)
    assert other is not None
    assert other.utterances == talk.utterances[1:]
    assert other.persona == talk.partner_persona and other.partner_persona == talk.persona


def test_spelling_keeps_labels() -> None:
    talk = grammar.dialogue(np.random.default_rng(3), "train")
    assert [t.goals for t in spelled(talk).turns] == [t.goals for t in talk.turns]

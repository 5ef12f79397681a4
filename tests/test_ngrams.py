"""The judge that knows lines by their words alone."""

from __future__ import annotations

import numpy as np
import torch

from convogym.agents.ngrams import BUCKETS, NGramHead, hashed

ANIMALS = ("dog", "cat", "horse", "parrot", "goldfish", "rabbit", "hamster", "turtle")
DISHES = ("soup", "pizza", "salad", "noodles", "rice", "pancakes", "stew", "curry")


def labelled(copies: int) -> tuple[list[str], np.ndarray]:
    """Questions about animals (goal 0), about dishes (goal 1), and about nothing."""
    rows = []
    for n in range(copies):
        rows += [(f"do you have a {word} number {n}?", 0) for word in ANIMALS]
        rows += [(f"do you cook {word} number {n}?", 1) for word in DISHES]
        rows += [(f"how was day {n} for you, my {word}?", 2) for word in ("friend", "dear", "pal", "neighbor")]
    truth = np.zeros((len(rows), 2), bool)
    for i, (_, goal) in enumerate(rows):
        if goal < 2:
            truth[i, goal] = True
    return [text for text, _ in rows], truth


def test_words_pairs_and_pieces_have_buckets_and_upper_case_does_not_matter() -> None:
    assert hashed("Any pets?") == hashed("any pets?") == sorted(set(hashed("any pets?")))
    assert len(hashed("any pets?")) == 3 + 2 + (3 + 2 + 1) + (4 + 3 + 2) + (1 + 0 + 0)  # words, pairs, pieces of each word
    assert all(0 <= bucket < BUCKETS for bucket in hashed("how do you do?"))
    assert hashed("") == []


def test_before_it_learns_all_odds_are_even() -> None:
    assert torch.equal(NGramHead(3).logits(["hello.", ""]), torch.zeros(2, 3))


def test_it_learns_what_words_ask_for() -> None:
    texts, truth = labelled(6)
    head = NGramHead(2)
    head.fit(texts, truth, seed=0)
    with torch.no_grad():
        found = (
            head.logits(["do you have a cat at home?", "do you cook rice with that?", "how was work, my friend?"]) > 0
        ).numpy()
    assert found.tolist() == [[True, False], [False, True], [False, False]]


def test_it_finds_as_many_labels_as_there_are_in_texts_it_did_not_learn_from() -> None:
    """One line in five is labelled at random: nothing tells them, so only the number can be right."""
    rng = np.random.default_rng(1)
    words = [f"w{i}" for i in range(300)]
    texts = [" ".join(rng.choice(words, 6)) for _ in range(500)]
    truth = rng.random((500, 1)) < 0.2
    head = NGramHead(1)
    head.fit(texts, truth, seed=0)
    with torch.no_grad():
        found = (head.logits([" ".join(rng.choice(words, 6)) for _ in range(500)]) > 0).float().mean()
    assert 0.1 < found < 0.3


def test_the_same_seed_gives_the_same_head() -> None:
    texts, truth = labelled(2)
    heads = [NGramHead(2) for _ in range(2)]
    for head in heads:
        head.fit(texts, truth, seed=4)
    assert torch.equal(heads[0].weight, heads[1].weight) and torch.equal(heads[0].bias, heads[1].bias)

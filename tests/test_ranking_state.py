"""The original's ranking-trained state: its loss, what it learns, its files, and its place in the environment."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import env_kwargs
from tiny import tiny_model

from convogym.agents.ranking_state import RankingHead, Talk, ranked_facts, ranking_loss, train_head
from convogym.envs.persona_chat import PersonaChatEnv
from convogym.envs.rewards import triplet_loss
from convogym.errors import CheckpointError, InputError
from convogym.experiments.fit_state import fit_state

SIZE = 8


def talks(count: int) -> tuple[list[Talk], np.ndarray]:
    """Talks whose states show their facts, turned by a fixed rotation and drowned by one common direction."""
    rng = np.random.default_rng(0)
    pool = rng.normal(size=(60, SIZE)).astype(np.float32)
    turned, _ = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))
    found = []
    for _ in range(count):
        own = rng.choice(60, 3, replace=False)
        said = pool[own].mean(0) @ turned + 3.0
        found.append(Talk(said.astype(np.float32), pool[own], np.setdiff1d(np.arange(60), own)))
    return found, pool


def test_the_loss_is_that_of_the_reward() -> None:
    rng = np.random.default_rng(1)
    state, own, random = (rng.normal(size=shape).astype(np.float32) for shape in ((2, 4), (3, 4), (20, 4)))
    wanted = sum(triplet_loss(each, own, random) for each in state)
    parts = [torch.from_numpy(own)] * 2, [torch.from_numpy(random)] * 2
    assert float(ranking_loss(torch.from_numpy(state), *parts)) == pytest.approx(wanted, rel=1e-5)


def test_scores_are_those_counted_by_hand() -> None:
    """The state is the first true fact; the second lies behind all 20 others, the third among the first five."""
    facts = np.array([[1.0, 0.0], [-1.0, 0.0], [0.9, 0.1]], np.float32)
    pool = np.concatenate([facts, np.tile(np.array([[0.0, 1.0]], np.float32), (20, 1))])
    talk = Talk(facts[0], facts, np.arange(3, 23))
    [[prec_1, prec_5, rec_5, rec_10]] = ranked_facts(None, [talk], pool, seed=0)
    assert (prec_1, prec_5) == (1.0, 2 / 5) and rec_5 == rec_10 == pytest.approx(2 / 3)


def test_a_head_learns_what_the_states_show() -> None:
    seen, pool = talks(256)
    torch.manual_seed(0)
    head = RankingHead(SIZE)
    losses = list(train_head(head, seen, pool, 60, seed=0))
    before, after = ranked_facts(None, seen, pool, 1)[:, 1].mean(), ranked_facts(head, seen, pool, 1)[:, 1].mean()
    assert np.mean(losses[-8:]) < 0.75 * np.mean(losses[:8])
    assert after > before + 0.1
    assert not head.training


def test_a_head_survives_its_folder_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    head = RankingHead(SIZE)
    head.save(tmp_path / "state", "tiny")
    again = RankingHead.load(tmp_path / "state", SIZE)
    assert all(torch.equal(a, b) for a, b in zip(head.state_dict().values(), again.state_dict().values(), strict=True))
    with pytest.raises(CheckpointError, match="states of 9 numbers"):
        RankingHead.load(tmp_path / "state", 9)
    (tmp_path / "state" / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(CheckpointError, match="expected a state estimator"):
        RankingHead.load(tmp_path / "state", SIZE)
    with pytest.raises(CheckpointError, match="expected a state estimator"):
        RankingHead.load(tmp_path / "nowhere", SIZE)


def test_the_environment_shows_the_code_of_all_replies(tmp_path: Path) -> None:
    model = tiny_model()
    speaker = model.responder()
    head = RankingHead(speaker.feature_size).eval()
    head.save(tmp_path / "state", "tiny")
    kwargs = env_kwargs(
        observation=f"ranking:{tmp_path / 'state'}", reward="coverage", num_turns=2, responder=speaker, goal_speaker=None
    )
    env = PersonaChatEnv(**kwargs)
    env.reset(seed=1)
    observation, _, _, _, info = env.step(1)
    with torch.inference_mode():
        wanted = head(torch.from_numpy(speaker.embed([info["reply"]])))[0].numpy()
    assert isinstance(observation, np.ndarray)
    np.testing.assert_allclose(observation[: len(wanted)], wanted, atol=1e-6)
    assert env.observation_space.contains(observation)
    with pytest.raises(InputError, match="fit-state"):
        PersonaChatEnv(**env_kwargs(observation="ranking"))


def test_fitting_tells_what_the_head_is_worth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convogym.experiments.fit_state.GRAMMAR_DIALOGUES", 20)
    passes: list[int] = []
    found = fit_state(tiny_model(), None, tmp_path / "state", 2, 0, passes.append)
    assert passes == [1, 1] and found["loss_of_last_pass"] < found["loss_of_first_pass"]
    for name in ("head_prec_5", "without_prec_5"):
        low, high = found[f"{name}_interval"]
        assert 0 <= low <= found[name] <= high <= 1
    assert RankingHead.load(tmp_path / "state", tiny_model().network.shape.n_embd)

"""Evaluation: the same episodes for all, honest winners, and figures that add up."""

from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeJudge, FakeMatcher, GatedSpeaker, env_kwargs, small_personas

from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments.evaluate_policy import evaluate_policies
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.policies.learned import LearnedPolicy
from convogym.policies.networks import build
from convogym.policies.spec import PolicySpec

PETS = CyclePolicy(11, [1])  # what opens the gated speaker
WORK = CyclePolicy(11, [2])


def run(*policies: Any, episodes: int = 12, **options: Any) -> dict[str, Any]:
    env = PersonaChatVectorEnv(4, autoreset_mode="NextStep", **env_kwargs(responder=GatedSpeaker("pets")))
    return evaluate_policies(policies, env, episodes, **options)


def test_a_policy_that_finds_more_out_wins() -> None:
    found = run(PETS, WORK)
    [difference] = found["differences"]
    assert found["policies"]["cycle:1"]["mean_return"] > 1
    assert found["policies"]["cycle:2"]["mean_return"] == pytest.approx(0, abs=1e-9)
    assert difference["winner"] == difference["a"] == "cycle:1"
    assert difference["mean_interval"][0] > 0
    [swapped] = run(WORK, PETS)["differences"]
    assert swapped["winner"] == swapped["b"] == "cycle:1"
    assert swapped["mean"] == pytest.approx(-difference["mean"])


def test_equal_policies_have_no_winner() -> None:
    found = run(PETS, CyclePolicy(11, [1]))
    assert list(found["policies"]) == ["cycle:1", "cycle:1 (2)"]
    assert found["returns"]["cycle:1"] == found["returns"]["cycle:1 (2)"]
    [difference] = found["differences"]
    assert (difference["mean"], difference["mean_interval"], difference["winner"]) == (0, [0, 0], None)


def test_three_policies_are_compared_pairwise() -> None:
    found = run(PETS, WORK, RandomPolicy(11))
    assert [(each["a"], each["b"]) for each in found["differences"]] == [
        ("cycle:1", "cycle:2"),
        ("cycle:1", "random"),
        ("cycle:2", "random"),
    ]


def test_the_summary_adds_up() -> None:
    found = run(PETS)
    summary = found["policies"]["cycle:1"]
    assert summary["n"] == found["n"] == len(found["returns"]["cycle:1"]) == 12
    assert summary["mean_return"] == pytest.approx(sum(found["returns"]["cycle:1"]) / 12)
    assert summary["mean_return"] == pytest.approx(sum(summary["turn_rewards"]))
    assert summary["mean_return"] == pytest.approx(summary["terms"]["identification"])
    assert len(summary["turn_rewards"]) == 4
    assert summary["goals_asked"] == 1
    assert summary["faults"]["repeated"] == summary["repetition"] == 0
    assert summary["mean_return_interval"][0] <= summary["mean_return"] <= summary["mean_return_interval"][1]
    assert found["differences"] == []


def test_the_seed_decides_everything() -> None:
    first, again, other = (run(RandomPolicy(11), seed=seed)["returns"] for seed in (0, 0, 1))
    assert first == again != other


def test_too_few_episodes_or_policies_are_refused() -> None:
    with pytest.raises(InputError, match="at least 2"):
        run(PETS, episodes=1)
    with pytest.raises(InputError, match="at least one policy"):
        run()


def test_a_matcher_tells_whose_talk_it_was() -> None:
    """Facts that are told put the true persona first; shrugs fit all personas alike, and a tie is no identification."""
    pool = small_personas()
    found = run(PETS, WORK, matcher=FakeMatcher(), pool=pool)
    assert found["policies"]["cycle:1"]["true_persona_first"] == 1.0
    assert found["policies"]["cycle:2"]["true_persona_first"] == 0.0
    assert found["policies"]["cycle:1"]["true_persona_first_interval"] == [1.0, 1.0]


def test_too_few_personas_to_tell_apart_are_refused() -> None:
    with pytest.raises(InputError, match="20 personas beside the true one"):
        run(PETS, matcher=FakeMatcher(), pool=small_personas(20))


def test_the_figures_of_identification_add_up() -> None:
    """The gated speaker tells its next fact at every turn that asks for pets: four facts in four turns."""
    found = run(PETS, WORK, matcher=FakeMatcher(), pool=small_personas(), judge=FakeJudge())
    told, mute = found["policies"]["cycle:1"], found["policies"]["cycle:2"]
    assert told["facts_revealed"] == 4 and mute["facts_revealed"] == 0
    assert told["turns_to_first"] == 1 and mute["turns_to_first"] == 5
    assert told["prec_1"] == 1.0 and told["rec_10"] > 0.5  # facts of like wording ("i have pet3.") tie, and count against
    assert mute["prec_1"] == mute["rec_10"] == 0.0  # all facts alike
    assert told["goals_followed"] == mute["goals_followed"] == 1.0


def test_what_could_have_been_seen_is_told_with_every_difference() -> None:
    [difference] = run(PETS, RandomPolicy(11), episodes=40)["differences"]
    half_width = (difference["mean_interval"][1] - difference["mean_interval"][0]) / 2
    assert difference["detectable"] == pytest.approx(half_width * 2.8 / 1.96, rel=0.2)


def learnt(seed: int, steps: int = 10) -> LearnedPolicy:
    spec = PolicySpec("ppo", 12, 11, training={"seed": seed, "total_steps": steps, "environment": {"observation": "goals"}})
    torch.manual_seed(seed)
    return LearnedPolicy(spec, build(spec), name=f"run {seed} of {steps}")


def test_runs_that_differ_in_their_seed_alone_are_one_method() -> None:
    """The interval of a method's difference counts the chance in its runs, so it is wider than that of their mean return."""
    runs = [learnt(seed) for seed in (0, 1, 2)]
    found = run(PETS, *runs, learnt(0, steps=20), matcher=FakeMatcher(), pool=small_personas())
    assert found["methods"] == {
        "cycle:1": ["cycle:1"],
        "ppo x 3": ["run 0 of 10", "run 1 of 10", "run 2 of 10"],
        "run 0 of 20": ["run 0 of 20"],
    }
    gap = found["differences"][0]
    returns = found["returns"]
    pooled = np.mean([returns[name] for name in found["methods"]["ppo x 3"]])
    assert gap["mean"] == pytest.approx(np.mean(returns["cycle:1"]) - pooled)
    assert gap["winner"] == "cycle:1"
    assert gap["also"]["turns_to_first"]["mean"] < 0 and gap["also"]["turns_to_first"]["winner"] == "cycle:1"


def test_each_policy_may_see_its_own_environment() -> None:
    env = PersonaChatVectorEnv(4, autoreset_mode="NextStep", **env_kwargs(responder=GatedSpeaker("pets")))
    other = PersonaChatVectorEnv(
        2, autoreset_mode="NextStep", **env_kwargs(responder=GatedSpeaker("pets"), observation="goals")
    )
    alike = evaluate_policies([PETS, PETS], [env, other], 6)
    assert alike["returns"]["cycle:1"] == alike["returns"]["cycle:1 (2)"]
    with pytest.raises(InputError, match="one for each of the 2 policies, got 1"):
        evaluate_policies([PETS, PETS], [env], 6)

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convogym.errors import CheckpointError, InputError, UnknownNameError
from convogym.goals import DEFAULT_GOALS, GoalSet
from convogym.policies.base import PolicyLeft, allowed_actions, draw
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.policies.human import HumanPolicy, understand_goal
from convogym.policies.loading import make_policy

ALL = list(range(11))


def seen(number: int) -> Any:
    return np.zeros((number, 4), dtype=np.float32)


def play(policy: Any, turns: int, number: int = 1, masks: Any = None) -> list[list[int]]:
    state, taken = None, []
    for turn in range(turns):
        actions, state = policy.predict(seen(number), state, np.full(number, turn == 0), False, masks)
        assert actions.dtype == np.int64 and actions.shape == (number,)
        taken.append(actions.tolist())
    return taken


def answering(*answers: str) -> tuple[HumanPolicy, list[str]]:
    shown: list[str] = []
    lines = iter(answers)

    def read(prompt: str) -> str:
        for line in lines:
            return line
        raise EOFError

    return HumanPolicy(view=lambda: "> hi\n< hello\n", read=read, write=shown.append), shown


def test_importing_the_package_and_its_light_modules_loads_no_torch() -> None:
    code = (
        "import sys, convogym.policies, convogym.policies.base, convogym.policies.baselines, convogym.policies.loading;"
        "assert not {'torch', 'stable_baselines3'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_random_is_uniform_over_what_is_allowed() -> None:
    masks = np.zeros((3000, 5), dtype=bool)
    masks[:, [1, 4]] = True
    policy = RandomPolicy(5, seed=0)
    actions, _ = policy.predict(seen(3000), action_masks=masks)
    assert set(actions.tolist()) == {1, 4}
    assert 0.45 < (actions == 1).mean() < 0.55
    assert policy.probabilities(seen(1), masks[:1]).tolist() == [[0, 0.5, 0, 0, 0.5]]


def test_random_is_the_same_by_seed_and_another_by_another_seed() -> None:
    assert play(RandomPolicy(11, 1), 8, 4) == play(RandomPolicy(11, 1), 8, 4)
    assert play(RandomPolicy(11, 1), 8, 4) != play(RandomPolicy(11, 2), 8, 4)


def test_cycle_goes_through_all_goals_and_round_again() -> None:
    assert play(CyclePolicy(3), 5, 2) == [[0, 0], [1, 1], [2, 2], [0, 0], [1, 1]]
    assert play(CyclePolicy(5, [3, 1, 3]), 4) == [[3], [1], [3], [3]]


def test_cycle_starts_over_with_each_conversation() -> None:
    policy = CyclePolicy(4)
    _, state = policy.predict(seen(2), None, np.array([True, True]))
    _, state = policy.predict(seen(2), state, np.array([False, False]))
    actions, _ = policy.predict(seen(2), state, np.array([True, False]))
    assert actions.tolist() == [0, 2]


def test_cycle_passes_over_what_is_not_allowed() -> None:
    masks = np.array([[True, False, True, False]])
    assert play(CyclePolicy(4), 4, 1, masks) == [[0], [2], [0], [2]]
    assert play(CyclePolicy(4, [1, 3]), 2, 1, masks) == [[0], [0]]


@pytest.mark.parametrize("order", [[], [0, 11], [-1], [1.5], [True]])
def test_an_impossible_order_is_refused(order: Any) -> None:
    with pytest.raises(InputError, match="order"):
        CyclePolicy(11, order)


def test_masks_of_a_wrong_shape_or_without_a_choice_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(2, 3\), got \(2, 4\)"):
        allowed_actions(2, 3, np.ones((2, 4), dtype=bool))
    with pytest.raises(InputError, match="at least one action"):
        allowed_actions(2, 3, np.array([[True, False, False], [False, False, False]]))


def test_draw_never_takes_what_has_no_chance() -> None:
    chances = np.array([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.1, 0.2, 0.7]])
    assert draw(chances, np.array([0.0, 0.0, 0.5, 1 - 1e-16])).tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize(
    ("answer", "action"),
    [
        ("1", 1),
        (" 10 ", 10),
        ("ask about pets.", 1),
        ("ASK about PETS", 1),
        ("ask  about pe", 1),
        ("pets", 1),
        ("work", 2),
        ("ask about family.", 0),
        ("family", 0),
        ("food", 7),
        ("fav", 7),
        ("hob", 6),
        ("trav", 4),
    ],
)
def test_a_person_can_name_a_goal_in_many_ways(answer: str, action: int) -> None:
    assert understand_goal(answer, DEFAULT_GOALS, ALL) == action


@pytest.mark.parametrize(
    "answer", ["", "   ", "11", "-1", "99999999999999999999", "²", "m", "ask", "xyzzy", "\x00", "😀", "1.5"]
)
def test_nonsense_is_told_from_goals(answer: str) -> None:
    with pytest.raises(InputError):
        understand_goal(answer, DEFAULT_GOALS, ALL)


def test_an_ambiguous_answer_names_what_it_could_be() -> None:
    with pytest.raises(InputError, match=r"movies.*music"):
        understand_goal("talk about m", DEFAULT_GOALS, ALL)


def test_a_whole_name_wins_over_longer_ones_that_begin_with_it() -> None:
    goals = GoalSet(("talk about cars.", "talk about cars and bikes."), {})
    assert understand_goal("talk about cars", goals, [0, 1]) == 0
    assert understand_goal("cars", goals, [0, 1]) == 0


def test_the_person_sees_the_talk_and_the_goals_and_is_asked_again_after_nonsense() -> None:
    policy, shown = answering("xyzzy", "99", "movies")
    actions, _ = policy.predict(seen(1))
    assert actions.tolist() == [8]
    assert shown[0] == "> hi\n< hello" and " 8  talk about movies." in shown[1]
    assert "xyzzy" in shown[2] and "0 to 10" in shown[3] and len(shown) == 4


def test_the_person_may_take_only_what_is_allowed() -> None:
    masks = np.zeros((1, 11), dtype=bool)
    masks[0, [2, 3]] = True
    policy, shown = answering("pets", "work")
    assert policy.predict(seen(1), action_masks=masks)[0].tolist() == [2]
    assert "pets" not in shown[1] and "cannot be chosen now" in shown[2]


@pytest.mark.parametrize("end", [EOFError, KeyboardInterrupt])
def test_the_end_of_input_and_ctrl_c_are_a_clean_end(end: type[BaseException]) -> None:
    def read(prompt: str) -> str:
        raise end

    with pytest.raises(PolicyLeft):
        HumanPolicy(read=read, write=lambda text: None).predict(seen(1))


def test_a_pipe_can_stand_in_for_the_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("huh\n4\n"))
    policy = HumanPolicy()
    assert policy.predict(seen(1))[0].tolist() == [4]
    with pytest.raises(PolicyLeft):
        policy.predict(seen(1))
    assert "talk about travel." in capsys.readouterr().out


def test_names_make_the_policies_they_name() -> None:
    assert make_policy("random", 11, 0).name == "random"
    assert make_policy("cycle", 11, 0).name == "cycle"
    assert play(make_policy("cycle:3,1,2", 11, 0), 4) == [[3], [1], [2], [3]]
    assert make_policy("cycle:3,1,2", 11, 0).name == "cycle:3,1,2"
    assert isinstance(make_policy("human", 11, 0), HumanPolicy)


def test_an_unknown_name_tells_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'random'"):
        make_policy("randon", 11, 0)
    for name in ("", "\0", "x" * 5000):
        with pytest.raises(UnknownNameError):
            make_policy(name, 11, 0)


@pytest.mark.parametrize("name", ["cycle:", "cycle:a", "cycle:1,,2", "cycle:11", "cycle:1;2"])
def test_a_cycle_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="order"):
        make_policy(name, 11, 0)


def test_a_path_without_a_policy_is_refused(tmp_path: Path) -> None:
    for path in (str(tmp_path / "nowhere"), tmp_path / "nowhere", "./nowhere", "nowhere.zip", tmp_path):
        with pytest.raises(CheckpointError, match="train-policy"):
            make_policy(path, 11, 0)


def test_a_person_needs_a_text_for_every_action() -> None:
    with pytest.raises(InputError, match="12 actions"):
        make_policy("human", 12, 0)

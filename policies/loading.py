"""Finds the policy a name or a path stands for. Loads torch only where a learned policy is asked for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from convogym.errors import CheckpointError, InputError, UnknownNameError
from convogym.goals import DEFAULT_GOALS, GoalSet
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.policies.exploring import EpsilonPolicy, SoftmaxPolicy
from convogym.policies.fewer_goals import FewerGoals
from convogym.policies.human import HumanPolicy, write_to_stdout
from convogym.policies.lookahead import LookaheadPolicy
from convogym.policies.taking_over import TakeOver

if TYPE_CHECKING:
    from convogym.policies.base import Policy

_TAKE_OVER = re.compile(r"(?P<first>[^>]+)>(?P<second>.+)@(?P<turns>[0-9]{1,6})")

POLICY_NAMES: tuple[str, ...] = ("random", "cycle", "lookahead", "human")


def make_policy(
    name_or_path: str | Path,
    num_actions: int,
    seed: int,
    trust: bool = False,
    *,
    goals: GoalSet = DEFAULT_GOALS,
    observation_size: int | None = None,
    view: Callable[[], str] | None = None,
    read: Callable[[str], str] | None = None,
    write: Callable[[str], None] = write_to_stdout,
) -> Policy:
    """Makes the policy that a name stands for, or loads the one at a path.

    Args:
        name_or_path: `random`, `cycle`, `cycle:3,1,2` (that order), `lookahead`, `human`, or the folder (or a file in it) of a
            learned policy; `epsilon:0.2:NAME` and `softmax:0.5:NAME` explore around another, and in `FIRST>SECOND@3` the
            second takes over after three turns. A name wins over a folder of the same name; write `./random` for the folder.
        num_actions: the number of goals of the environment. A learned policy of the first of them, from before others were
            taught, goes on choosing among those it knows.
        seed: of the policy's own generator, where it draws.
        trust: also load a Stable-Baselines3 `.zip`, which can run code of whoever made it.
        goals: the goals by their codes; shown to a person, and compared with those a learned policy was trained on.
        observation_size: length of the environment's observation, compared with a learned policy's; None = not compared.
        view: what a person is shown before each choice; see `HumanPolicy`.
        read: what a person answers through.
        write: what a person is shown things through.

    Raises:
        UnknownNameError: no such name and no such path.
        InputError: a name with a part that makes no sense, such as an order naming goals that do not exist.
        CheckpointError: a path that holds no policy, a damaged one, or one for another environment.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str):
        if text.startswith(("epsilon:", "softmax:")) or (">" in text and not _is_there(text)):
            return _made_of_others(
                text,
                num_actions,
                seed,
                lambda part: make_policy(
                    part,
                    num_actions,
                    seed,
                    trust,
                    goals=goals,
                    observation_size=observation_size,
                    view=view,
                    read=read,
                    write=write,
                ),
            )
        if text == "random":
            return RandomPolicy(num_actions, seed)
        if text == "cycle":
            return CyclePolicy(num_actions)
        if text.startswith("cycle:"):
            return CyclePolicy(num_actions, _order(text.removeprefix("cycle:")))
        if text == "lookahead":
            return LookaheadPolicy(num_actions)
        if text == "human":
            if len(goals) != num_actions:
                raise InputError(f"`goals` must name all {num_actions} actions for a person to choose from, got {len(goals)}.")
            return HumanPolicy(goals, view, read, write)
    if not _is_there(text):
        if _looks_like_a_path(text):
            raise CheckpointError(f"there is no policy at {text!r}: expected a folder written by `convogym train-policy`.")
        raise UnknownNameError("policy", text, (*POLICY_NAMES, "cycle:3,1,2", "a folder written by `convogym train-policy`"))
    from convogym.policies.learned import load  # here, because it loads torch

    policy = load(text, trust=trust, seed=seed)
    known, names = policy.spec.num_actions, policy.spec.goals
    if names is not None and known < num_actions and not policy.spec.goal_blocks and goals.goals[:known] == names:
        extra = num_actions - known
        policy.check_fits(observation_size=None if observation_size is None else observation_size - extra)
        return FewerGoals(policy, known, num_actions)
    policy.check_fits(observation_size=observation_size, num_actions=num_actions, goals=goals.goals)
    return policy


def _made_of_others(text: str, num_actions: int, seed: int, make: Callable[[str], Policy]) -> Policy:
    """A policy that explores around another, or takes over from another."""
    taking_over = _TAKE_OVER.fullmatch(text)
    if taking_over:
        return TakeOver(make(taking_over["first"]), make(taking_over["second"]), int(taking_over["turns"]))
    kind, _, rest = text.partition(":")
    number, _, inner = rest.partition(":")
    try:
        amount = float(number)
    except ValueError:
        amount = math.nan
    if kind not in ("epsilon", "softmax") or not inner or math.isnan(amount):
        raise InputError(
            "a policy made of others must be like 'epsilon:0.2:cycle', 'softmax:0.5:runs/ppo' or 'random>runs/ppo@3', "
            f"got {text[:80]!r}."
        )
    if kind == "epsilon":
        return EpsilonPolicy(make(inner), amount, num_actions, seed)
    return SoftmaxPolicy(make(inner), amount, num_actions, seed)


def _order(text: str) -> list[int]:
    try:
        return [int(code) for code in text.split(",")]
    except ValueError:
        raise InputError(
            f"a cycle's order must be action codes with commas between, as in 'cycle:3,1,2', got 'cycle:{text[:60]}'."
        ) from None


def _is_there(text: str) -> bool:
    try:
        return bool(text) and Path(text).exists()
    except (OSError, ValueError):  # too long for the file system, or holds a null byte
        return False


def _looks_like_a_path(text: str) -> bool:
    return text.startswith((".", "/", "~")) or "/" in text or "\\" in text or text.endswith((".zip", ".json", ".safetensors"))

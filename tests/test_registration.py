"""`import convogym` makes `PersonaChat-v0` known, cheaply, and gives the project's everyday names on demand."""

import subprocess
import sys

import gymnasium as gym
import pytest

import convogym
from convogym.dialogue import Dialogue, Persona, Turn
from convogym.goals import DEFAULT_GOALS, GoalSet
from convogym.registration import ENV_ID, register_envs
from convogym.store import EpisodeStore

OWN_IMPORT_SECONDS = 0.05  # 0.2 s is what the whole import may take; Gymnasium needs up to 0.15 s of it


def output_of(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_the_environment_is_registered_in_single_and_vector_form() -> None:
    spec = gym.spec(ENV_ID)
    assert spec.entry_point == "convogym.envs:PersonaChatEnv"
    assert spec.vector_entry_point == "convogym.envs:PersonaChatVectorEnv"


def test_the_time_limit_is_left_to_the_environment() -> None:
    assert gym.spec(ENV_ID).max_episode_steps is None


def test_registering_again_changes_nothing_and_warns_of_nothing(recwarn: pytest.WarningsRecorder) -> None:
    before = gym.spec(ENV_ID)
    register_envs()
    assert gym.spec(ENV_ID) is before
    assert not recwarn.list


def test_a_fresh_interpreter_finds_it_without_loading_torch() -> None:
    code = "import sys, gymnasium, convogym; gymnasium.spec('PersonaChat-v0'); print('torch' in sys.modules)"
    assert output_of(code) == "False"


def test_importing_costs_little_beyond_gymnasium() -> None:
    # Processor time, the least of five: other programs on the machine make wall-clock time vary, not this.
    code = "import time, gymnasium; t = time.process_time(); import convogym; print(time.process_time() - t)"
    assert min(float(output_of(code)) for _ in range(5)) < OWN_IMPORT_SECONDS


def test_everyday_names_come_from_their_modules() -> None:
    assert convogym.DEFAULT_GOALS is DEFAULT_GOALS
    assert convogym.EpisodeStore is EpisodeStore
    assert (convogym.Dialogue, convogym.GoalSet, convogym.Persona, convogym.Turn) == (Dialogue, GoalSet, Persona, Turn)


def test_every_public_name_is_there() -> None:
    assert all(hasattr(convogym, name) for name in convogym.__all__)
    assert set(convogym.__all__) <= set(dir(convogym))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Gaols'"):
        convogym.Gaols  # noqa: B018 - the access is the test

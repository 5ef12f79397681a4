"""Recording: what a run is, that a kill loses nothing, and that resuming completes it."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from fakes import EchoSpeaker, env_kwargs

from convogym.envs.vector import PersonaChatVectorEnv
from convogym.episodes import Episode
from convogym.errors import InputError
from convogym.experiments.collect import collect, run_seeds
from convogym.experiments.console import Stopped
from convogym.policies.baselines import CyclePolicy, RandomPolicy
from convogym.store import EpisodeStore

TURNS = 4  # of the episodes of `fakes.env_kwargs`


def make(num_envs: int = 3, **changes: Any) -> PersonaChatVectorEnv:
    return PersonaChatVectorEnv(num_envs, autoreset_mode="NextStep", **env_kwargs(**changes))


def record(path: Path, episodes: int, num_envs: int = 3, policy: Any = None, **options: Any) -> dict[str, Any]:
    with EpisodeStore(path) as store:
        return collect(make(num_envs), policy or RandomPolicy(11), store, episodes, **options)


def stored(path: Path, **filters: Any) -> list[Episode]:
    with EpisodeStore(path) as store:
        return list(store.episodes(**filters))


def content(path: Path) -> set[tuple[Any, ...]]:
    """The finished episodes without what makes them unique: id and time."""
    return {
        (episode.seed, episode.policy, episode.persona, tuple(str(turn) for turn in episode.turns))
        for episode in stored(path, finished=True)
    }


class Interrupting(EchoSpeaker):
    """Presses Ctrl-C in a later turn."""

    def speak(self, requests: Any) -> Any:
        if len(self.batches) == 11:
            raise KeyboardInterrupt
        return super().speak(requests)


class TestRuns:
    def test_as_many_episodes_as_asked_are_finished_and_none_is_left_over(self, tmp_path: Path) -> None:
        done = record(tmp_path / "a.db", 7)
        episodes = stored(tmp_path / "a.db")
        assert len(episodes) == 7
        assert all(episode.finished and len(episode.turns) == TURNS for episode in episodes)
        assert len({episode.seed for episode in episodes}) == 7
        assert (done["recorded"], done["found"], done["turns"]) == (7, 0, 7 * TURNS)
        total = sum(turn.reward for episode in episodes for turn in episode.turns)
        assert done["mean_return"] == pytest.approx(total / 7)
        assert done["mean_return_interval"][0] <= done["mean_return"] <= done["mean_return_interval"][1]

    def test_chances_of_random_goals_are_recorded(self, tmp_path: Path) -> None:
        record(tmp_path / "a.db", 2)
        chances = [turn.propensity for episode in stored(tmp_path / "a.db") for turn in episode.turns]
        assert chances == pytest.approx([1 / 11] * 2 * TURNS)

    def test_the_same_seed_records_the_same_episodes_however_many_run_at_once(self, tmp_path: Path) -> None:
        record(tmp_path / "a.db", 5, num_envs=1)
        record(tmp_path / "b.db", 5, num_envs=4)
        record(tmp_path / "c.db", 5, seed=1)
        assert content(tmp_path / "a.db") == content(tmp_path / "b.db")
        assert not {each[0] for each in content(tmp_path / "a.db")} & {each[0] for each in content(tmp_path / "c.db")}

    def test_a_longer_run_begins_with_a_shorter_one(self) -> None:
        assert run_seeds(3, 9, "collect")[:4] == run_seeds(3, 4, "collect")
        assert set(run_seeds(3, 9, "collect")).isdisjoint(run_seeds(3, 9, "evaluate"))

    @pytest.mark.parametrize("episodes", [0, -3])
    def test_a_run_must_have_episodes(self, tmp_path: Path, episodes: int) -> None:
        with pytest.raises(InputError, match="at least 1"):
            record(tmp_path / "a.db", episodes)


class TestResuming:
    def test_a_run_that_is_in_the_store_is_not_recorded_twice_unasked(self, tmp_path: Path) -> None:
        record(tmp_path / "a.db", 3)
        with pytest.raises(InputError, match=r"holds 3 finished .*--resume"):
            record(tmp_path / "a.db", 3)
        assert len(stored(tmp_path / "a.db")) == 3

    def test_resuming_a_complete_run_does_nothing(self, tmp_path: Path) -> None:
        record(tmp_path / "a.db", 3)
        done = record(tmp_path / "a.db", 3, resume=True)
        assert (done["episodes"], done["recorded"], done["found"]) == (3, 0, 3)
        assert "mean_return" not in done

    def test_resuming_makes_a_run_longer(self, tmp_path: Path) -> None:
        record(tmp_path / "a.db", 3)
        done = record(tmp_path / "a.db", 8, resume=True)
        assert (done["episodes"], done["recorded"], done["found"]) == (8, 5, 3)
        record(tmp_path / "whole.db", 8)
        assert content(tmp_path / "a.db") == content(tmp_path / "whole.db")

    def test_runs_of_other_policies_seeds_and_responders_share_a_store(self, tmp_path: Path) -> None:
        class Other(EchoSpeaker):
            name = "other"

        path = tmp_path / "a.db"
        record(path, 3)
        record(path, 3, policy=CyclePolicy(11))
        record(path, 3, seed=5)
        with EpisodeStore(path) as store:
            collect(make(responder=Other()), RandomPolicy(11), store, 3)
        assert len(stored(path, finished=True)) == 12

    def test_ctrl_c_says_what_is_kept_and_the_rest_can_follow(self, tmp_path: Path) -> None:
        path = tmp_path / "a.db"
        with EpisodeStore(path) as store, pytest.raises(Stopped, match=r"2 of 6 episodes finished.*--resume"):
            collect(make(2, responder=Interrupting()), RandomPolicy(11), store, 6)
        assert [len(episode.turns) for episode in stored(path, finished=False)] == [1, 1]
        done = record(path, 6, resume=True)
        assert (done["found"], done["recorded"], done["left_unfinished"]) == (2, 4, 2)
        record(tmp_path / "whole.db", 6)
        assert content(path) == content(tmp_path / "whole.db")


KILLED = """
    import sys, time
    from fakes import EchoSpeaker, env_kwargs
    from convogym.envs.vector import PersonaChatVectorEnv
    from convogym.experiments.collect import collect
    from convogym.policies.baselines import RandomPolicy
    from convogym.store import EpisodeStore

    class Stuck(EchoSpeaker):
        turns = 0
        def speak(self, requests):
            if not requests[0].goals:
                if self.turns == int(sys.argv[2]):
                    print("stuck", flush=True)
                    time.sleep(600)
                self.turns += 1
            return super().speak(requests)

    env = PersonaChatVectorEnv(3, autoreset_mode="NextStep", **env_kwargs(responder=Stuck()))
    with EpisodeStore(sys.argv[1]) as store:
        print("found", collect(env, RandomPolicy(11), store, 9, resume=True)["found"], flush=True)
"""


class TestKill:
    @pytest.mark.parametrize("turns", [1, 6, 10])
    def test_kill_9_loses_the_turn_in_progress_at_most_and_resuming_completes_the_run(
        self, tmp_path: Path, turns: int
    ) -> None:
        path = tmp_path / "a.db"
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        code = [sys.executable, "-c", textwrap.dedent(KILLED), str(path)]
        first = [*code, str(turns)]  # after so many turns it waits in the middle of the next
        with subprocess.Popen(first, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "stuck\n"
            process.send_signal(signal.SIGKILL)
        assert sum(len(episode.turns) for episode in stored(path)) == 3 * turns
        before = {episode.id: episode.turns for episode in stored(path)}
        ran = subprocess.run([*code, "-1"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines()[-1] == f"found {3 * (turns // TURNS)}"
        assert len(stored(path, finished=True)) == 9
        assert all({episode.id: episode.turns for episode in stored(path)}[id] == said for id, said in before.items())
        record(tmp_path / "whole.db", 9)
        assert content(path) == content(tmp_path / "whole.db")

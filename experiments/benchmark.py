"""How many turns per second are spoken: by this package's speakers and environment, by two other ways, and at the very best.

Everything is measured in one process on the same weights, the same personas, goals and noise, the repetitions interleaved:
all systems once, then all again, so that a slow moment of the machine does not fall on one alone. What is measured and why is
in docs/performance.md. Prints nothing; gives a dict.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from convogym.agents.model import LanguageModel
from convogym.agents.reader import load_reader
from convogym.agents.reply_likelihood import load_scorer
from convogym.agents.sampling import Sampling
from convogym.agents.speaking import ModelSpeaker
from convogym.dialogue import Persona
from convogym.envs.rewards import Reward, build_reward
from convogym.envs.vector import PersonaChatVectorEnv
from convogym.errors import InputError
from convogym.experiments.baseline_speakers import BatchedGenerate, ReferenceLoop, in_transformers
from convogym.experiments.collect import run_seeds
from convogym.experiments.console import Tick, ignore_ticks, machine, stoppable
from convogym.experiments.matrix_floor import (
    READ_ROWS,
    RowCost,
    floor_seconds,
    memory_rate,
    memory_seconds,
    needed_work,
    row_operations,
    row_seconds,
)
from convogym.experiments.scripted_talks import Recorder, Script, Talked, converse, in_turn, one_after_another, play
from convogym.goals import DEFAULT_GOALS
from convogym.layouts import LAYOUTS
from convogym.personas import load_personas

SIZES = (1, 16, 64, 256)
REFERENCE, GENERATE, LONG = "reference", "generate", "long"  # names in `measured`, beside those `_of` makes


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sizes: tuple[int, ...] = SIZES
    """numbers of dialogues side by side, all different"""
    turns: int = 8
    """of each dialogue and repetition"""
    repeats: int = 3
    """repetitions, of which the median counts"""
    least: int = 8
    """dialogues of a repetition: smaller numbers talk one after another; no more than the largest of `sizes`"""
    batch: int = 64
    """dialogues of `generate` and of the long talks; no more than the largest of `sizes`"""
    early: tuple[int, int] = (2, 4)
    """first and last of the turns of the long talks, 1.., that the `late` ones are compared with"""
    late: tuple[int, int] = (26, 34)
    """likewise; the last is the last turn of the long talks"""

    def __post_init__(self) -> None:
        """Checks what the strings above say."""
        if self.turns < 1 or self.repeats < 1:
            raise InputError(f"`turns` and `repeats` must be at least 1, got {self.turns} and {self.repeats}.")
        if not self.sizes or min(self.sizes) < 1 or len(set(self.sizes)) != len(self.sizes):
            raise InputError(f"`sizes` must be different whole numbers of at least 1, got {self.sizes}.")
        spans = (1, *self.early, *self.late)
        if min(self.batch, self.least) < 1 or list(spans) != sorted(spans) or self.early[1] == self.late[0]:
            raise InputError(
                "`least` and `batch` must be at least 1, and `early` must be turns from 1 on before those of `late`, got "
                f"{self.least}, {self.batch}, {self.early}, {self.late}."
            )

    @property
    def largest(self) -> int:
        """The largest number of dialogues."""
        return max(self.sizes)

    @property
    def together(self) -> int:
        """Dialogues of `generate` and of the long talks."""
        return min(self.batch, self.largest)

    def rounds(self, size: int) -> list[tuple[int, int]]:
        """Which dialogues of all, from one to before another, talk side by side, one round after another."""
        number = max(1, min(self.least, self.largest) // size)
        return [(size * i, size * (i + 1)) for i in range(number)]

    @property
    def all_turns(self) -> int:
        """How many turns are taken in all, warm-up and untimed ones included."""
        warm = self.largest * self.turns + sum(self.sizes) - self.largest + len(LAYOUTS) * self.largest + 1 + self.together
        dialogues = [self.rounds(size)[-1][1] for size in self.sizes]
        others = self.rounds(1)[-1][1] + self.rounds(self.together)[-1][1]
        timed = ((1 + len(LAYOUTS)) * sum(dialogues) + others) * self.turns
        return warm + self.repeats * timed + (1 + self.repeats) * self.together * self.late[1]


QUICK = Plan(sizes=(1, 4), turns=2, repeats=1, least=2, batch=4, early=(1, 1), late=(4, 4))


def parse_sizes(text: str, name: str = "num_envs") -> tuple[int, ...]:
    """The numbers of dialogues in a text like "1,16,64"; raises `InputError` with the option's name for any other."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1 or len(set(sizes)) != len(sizes):
        raise InputError(f"`{name}` must be different whole numbers of at least 1 with commas between, got {text[:60]!r}.")
    return sizes


class ForgetfulSpeaker(ModelSpeaker):
    """The package's speaker, which can be told to forget what it computed, so that no run finds another's work done."""

    def forget(self) -> None:
        """Drops all that is cached; the memory is kept, as it is from episode to episode."""
        self._decoder.forget()


class _Timed:
    """A judge, and how long it took to answer."""

    def __init__(self, judge: Any) -> None:
        self._judge = judge
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._judge, name)
        if not callable(found):
            return found

        def timed(*arguments: Any) -> Any:
            began = time.perf_counter()
            answer = found(*arguments)
            self.seconds += time.perf_counter() - began
            return answer

        return timed


class _Both:
    """A speaker for both sides, for the environment and for scripts alike."""

    def __init__(self, model: LanguageModel, sampling: Sampling) -> None:
        self._model = model
        self.speaker = ForgetfulSpeaker(model, sampling)
        self._recorder = Recorder(self.speaker)
        self.spoken = 0.0  # seconds of all that was ever said in environments

    @property
    def cache_bytes(self) -> int:
        return self.speaker.cache_bytes

    def env(self, number: int, turns: int, personas: tuple[Persona, ...], reward: Reward) -> PersonaChatVectorEnv:
        return PersonaChatVectorEnv(
            number,
            goal_speaker=self._recorder,
            responder=self._recorder,
            personas=personas,
            reward=reward,
            num_turns=turns,
            autoreset_mode="NextStep",
        )

    def play(
        self, env: PersonaChatVectorEnv, seeds: Sequence[int], actions: npt.NDArray[np.int64], tick: Tick
    ) -> tuple[Talked, Script]:
        self._begin(self._model.layout)
        played = play(env, seeds, actions, self._recorder, tick)
        self.spoken += self._recorder.seconds
        return played

    def converse(self, script: Script, layout: str, tick: Tick) -> Talked:
        self._begin(layout)
        return converse(script, self.speaker.exchange, tick)

    def _begin(self, layout: str) -> None:
        """The same speaker and cache serve every layout; only the prompts differ."""
        self.speaker.model = dataclasses.replace(self._model, layout=layout)
        self.speaker.forget()


def benchmark(
    model: LanguageModel,
    plan: Plan = Plan(),
    *,
    reward: str = "identification",
    sampling: Sampling | None = None,
    seed: int = 0,
    tick: Tick = ignore_ticks,
) -> dict[str, Any]:
    """Measures everything; goals are uniformly random.

    Args:
        model: on any device; its judges are on the processor.
        plan: how much.
        reward: of the environment.
        sampling: of every system; None = as speakers do by default.
        seed: of the episodes, the goals, and what the two other systems draw.
        tick: told how many turns were done (`plan.all_turns` in all).

    Returns:
        See the table in docs/performance.md.

    Raises:
        InputError: the reward is none.
    """
    sampling = sampling or Sampling()
    with stoppable(lambda: "A benchmark that is not complete tells nothing, so nothing was kept."):
        where = machine()  # before, so that its load is other programs'
        found = _measure(model, plan, reward, sampling, seed, tick)
    return {**_summary(model, plan, found), "sampling": dataclasses.asdict(sampling), "seed": seed, "machine": where}


@dataclass
class _Found:
    """What was measured, one entry a repetition."""

    side_by_side: dict[str, int]
    """dialogues in one batch, by system"""
    runs: dict[str, list[Talked]]
    """by system"""
    scripts: list[Script]
    """of the largest number of dialogues"""
    shares: dict[int, list[dict[str, float]]]
    """of the environment's time, by number of dialogues: speaking, reading what was said to judge it, all the rest"""
    memory_rates: list[float]
    """bytes a second that the model's device reads"""
    row_seconds: list[dict[int, RowCost]]
    """by rows multiplied together, by torch: the numbers of dialogues and `READ_ROWS`"""
    byte_seconds: list[dict[int, RowCost]]
    """likewise as the decoder multiplies; the same where it has torch multiply"""
    cache_bytes: int
    """of the speaker that spoke in all environments"""
    max_tokens: int
    """the longest utterance"""
    start_memory: float | None
    """peak megabytes before anything had spoken: libraries and the model"""
    environment_memory: float | None
    """peak megabytes before anything but the environment had run"""


def _shares(speaking: float, reading: float) -> dict[str, float]:
    """Of an environment's time."""
    return {"speaking": speaking, "reading": reading, "rest": 1 - speaking - reading}


def _of(system: str, layout: str, size: int) -> str:
    return f"{system}.{layout}.{size}"


def _measure(model: LanguageModel, plan: Plan, reward: str, sampling: Sampling, seed: int, tick: Tick) -> _Found:
    start = peak_memory_mb()
    rng = np.random.default_rng(seed)
    seeds = iter(run_seeds(seed, (plan.repeats + 1) * plan.largest + plan.together, "benchmark"))

    def draw(turns: int, number: int) -> tuple[list[int], npt.NDArray[np.int64]]:
        """Seeds and goals of new episodes."""
        return [next(seeds) for _ in range(number)], rng.integers(len(DEFAULT_GOALS), size=(turns, number))

    personas = load_personas("train")
    both, long = _Both(model, sampling), _Both(model, sampling)
    judges: list[_Timed] = []

    def judge(load: Callable[[], Any]) -> Callable[[], Any]:
        """Loads it once for all environments, and only if a term needs it."""

        def loaded() -> Any:
            judges.append(_Timed(load()))
            return judges[-1]

        return functools.cache(loaded)

    terms = build_reward(
        reward,
        personas=personas,
        goals=DEFAULT_GOALS,
        embed=both.speaker.embed,
        reader=judge(load_reader),
        scorer=judge(load_scorer),
    )
    envs = {size: both.env(size, plan.turns, personas, terms) for size in plan.sizes}

    episodes, actions = draw(plan.turns, plan.largest)
    _, script = both.play(envs[plan.largest], episodes, actions, tick)  # caches have then the size they keep
    found = _Found({}, {}, [], {}, [], [], [], both.cache_bytes, sampling.max_tokens, start, peak_memory_mb())
    for size, env in envs.items():
        if size != plan.largest:
            both.play(env, episodes[:size], actions[:1, :size], tick)
    opening = Script(script.lines[:1], script.replies[:1])
    for layout in LAYOUTS:
        both.converse(opening, layout, tick)
    long_env = long.env(plan.together, plan.late[1], personas, terms)
    _, long_script = long.play(long_env, *draw(plan.late[1], plan.together), tick)
    network = in_transformers(model)
    reference = ReferenceLoop(model, network, sampling, seed)
    generate = BatchedGenerate(model, network, sampling, seed)
    others = ((REFERENCE, reference.speak, 1), (GENERATE, generate.speak, plan.together))
    for _, speak, size in others:
        converse(opening.part(0, size), in_turn(speak, speak), tick)

    def record(system: str, size: int, parts: Sequence[Talked]) -> None:
        found.side_by_side[system] = size
        found.runs.setdefault(system, []).append(one_after_another(parts))

    for _ in range(plan.repeats):
        episodes, actions = draw(plan.turns, plan.largest)
        for size, env in envs.items():
            before = (both.spoken, sum(each.seconds for each in judges))
            played = [both.play(env, episodes[a:b], actions[:, a:b], tick) for a, b in plan.rounds(size)]
            record(_of("environment", model.layout, size), size, [talked for talked, _ in played])
            after = (both.spoken, sum(each.seconds for each in judges))
            whole = sum(sum(talked.seconds) for talked, _ in played)
            found.shares.setdefault(size, []).append(_shares(*((b - a) / whole for a, b in zip(before, after, strict=True))))
            if size == plan.largest:
                script = played[0][1]
        found.scripts.append(script)
        for layout in LAYOUTS:
            for size in plan.sizes:
                talked = [both.converse(script.part(a, b), layout, tick) for a, b in plan.rounds(size)]
                record(_of("engine", layout, size), size, talked)
        for system, speak, size in others:
            record(system, size, [converse(script.part(a, b), in_turn(speak, speak), tick) for a, b in plan.rounds(size)])
        record(LONG, plan.together, [long.converse(long_script, model.layout, tick)])
        found.memory_rates.append(memory_rate(model.device))
        together = {*plan.sizes, READ_ROWS}
        found.row_seconds.append({rows: row_seconds(model.network, rows) for rows in together})
        in_bytes = model.network.is_plain
        found.byte_seconds.append(
            {rows: row_seconds(model.network, rows, in_bytes) for rows in together} if in_bytes else found.row_seconds[-1]
        )
    return found


def _summary(model: LanguageModel, plan: Plan, found: _Found) -> dict[str, Any]:
    """The medians and what follows from them."""
    speeds = {system: statistics.median(run.turns_per_s for run in runs) for system, runs in found.runs.items()}
    engine = {layout: {str(size): speeds[_of("engine", layout, size)] for size in plan.sizes} for layout in LAYOUTS}
    environment = {str(size): speeds[_of("environment", model.layout, size)] for size in plan.sizes}
    turn_seconds = [statistics.median(turn) for turn in zip(*(run.seconds for run in found.runs[LONG]), strict=True)]
    long_runs = [run.seconds for run in found.runs[LONG]]
    late = [_mean_turn(seconds, plan.late) / _mean_turn(seconds, plan.early) for seconds in long_runs]
    middle = [seconds[sum(plan.late) // 2 - 1] / seconds[sum(plan.early) // 2 - 1] for seconds in long_runs]
    result = {
        "engine": engine,
        "environment": {model.layout: environment},
        "environment_overhead": {size: 1 - speed / engine[model.layout][size] for size, speed in environment.items()},
        "environment_share": {
            str(size): {part: statistics.median(share[part] for share in shares) for part in shares[0]}
            for size, shares in found.shares.items()
        },
        "reference_turns_per_s": speeds[REFERENCE],
        "generate_turns_per_s": speeds[GENERATE],
        "ratio_to_reference": _over(engine, speeds[REFERENCE]),
        "ratio_to_generate": _over(engine, speeds[GENERATE]),
        "floor_fraction": {str(size): _floor_fraction(model, found, size, found.row_seconds) for size in plan.sizes},
        "byte_floor_fraction": {str(size): _floor_fraction(model, found, size, found.byte_seconds) for size in plan.sizes},
        "memory_floor_fraction": {
            str(size): _floor_fraction(model, found, size, found.byte_seconds, is_memory=True) for size in plan.sizes
        },
        "memory_gb_per_s": statistics.median(found.memory_rates) / 1e9,
        "matrix_gflops": _gflops(row_operations(model.network), found.row_seconds),
        "late_turn_ratio": statistics.median(late),
        "late_turn_ratio_single": statistics.median(middle),
        "late_turns": [list(plan.early), list(plan.late)],
        "long_turn_seconds": turn_seconds,
        "peak_memory_mb": peak_memory_mb(),
        "peak_memory_start_mb": found.start_memory,
        "peak_memory_environment_mb": found.environment_memory,
        "peak_device_memory_mb": torch.cuda.max_memory_allocated() / 1e6 if model.device.type == "cuda" else None,
        "cache_bytes": found.cache_bytes,
        "weights_bytes": sum(p.numel() * p.element_size() for p in model.network.parameters()),
        "measured": {
            system: {
                "side_by_side": found.side_by_side[system],
                "turns_per_s": speeds[system],
                "tokens_per_s": statistics.median(run.tokens_per_s for run in runs),
                "tokens_per_turn": statistics.mean(run.tokens_per_turn for run in runs),
                "repetitions": [run.turns_per_s for run in runs],
            }
            for system, runs in found.runs.items()
        },
        "unit": "turns per second, all dialogues together",
        "layout": model.layout,
        "responder": model.name,
        "device": torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else "cpu",
        "parameters": model.num_parameters,
        "plan": dataclasses.asdict(plan),
        "turns": plan.turns,
        "repeats": plan.repeats,
    }
    return {key: _rounded(value) for key, value in result.items()}


def _mean_turn(seconds: Sequence[float], span: tuple[int, int]) -> float:
    return statistics.mean(seconds[span[0] - 1 : span[1]])


def _over(engine: Mapping[str, Mapping[str, float]], speed: float) -> dict[str, dict[str, float]]:
    return {layout: {size: each / speed for size, each in speeds.items()} for layout, speeds in engine.items()}


def _floor_fraction(
    model: LanguageModel, found: _Found, size: int, seconds: Sequence[Mapping[int, RowCost]], *, is_memory: bool = False
) -> float:
    """The least time over the engine's time, in the model's own layout.

    Args:
        model: who spoke.
        found: how long it took.
        size: dialogues side by side.
        seconds: what a row costs, each repetition.
        is_memory: whether drawing is bound by what has to be read from memory, not by its matrix products.
    """
    shares = []
    for script, costs, rate, run in zip(
        found.scripts, seconds, found.memory_rates, found.runs[_of("engine", model.layout, size)], strict=True
    ):
        work = needed_work(model, script.part(0, len(run.said)), run, found.max_tokens)
        reading = min(cost.layers for cost in costs.values())
        least = (
            memory_seconds(model.network, work, reading, size, rate)
            if is_memory
            else floor_seconds(work, reading, costs[size])
        )
        shares.append(least / sum(run.seconds))
    return statistics.median(shares)


def _gflops(operations: RowCost, seconds: Sequence[Mapping[int, RowCost]]) -> dict[str, dict[str, float]]:
    """Rates of the matrix products, in 10^9 operations a second, by rows multiplied together and by part of the network."""
    return {
        str(rows): {
            "layers": statistics.median(operations.layers / cost[rows].layers for cost in seconds) / 1e9,
            "output": statistics.median(operations.output / cost[rows].output for cost in seconds) / 1e9,
        }
        for rows in sorted(seconds[0])
    }


def _rounded(value: Any) -> Any:
    """Five significant digits are more than a clock gives."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def peak_memory_mb() -> float | None:
    """The most main memory this process has had, in 10^6 bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # `ru_maxrss` is in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

"""`PersonaChatEnv`, the environment with one dialogue. A thin shell over `convogym.envs.talks`, as the vector form is."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from convogym.envs.make import Goals, Personas, make_parts
from convogym.envs.observations import Observation
from convogym.envs.rendering import TerminalView, render_image, render_text
from convogym.envs.rewards import NUM_DISTRACTORS, Reader, Reward
from convogym.envs.talks import Parts, Preview, Talk, Talks, read_options
from convogym.errors import UnknownNameError
from convogym.goals import GoalSet
from convogym.speakers import Speaker

RENDER_MODES = ("human", "ansi", "rgb_array")


def check_render_mode(render_mode: str | None) -> str | None:
    """The mode, unchanged; raises `UnknownNameError` if there is no such mode."""
    if render_mode is not None and render_mode not in RENDER_MODES:
        raise UnknownNameError("render mode", str(render_mode), RENDER_MODES)
    return render_mode


class PersonaChatEnv(gym.Env[Observation, int]):
    """A conversation with somebody who has a persona, steered by turn-level goals.

    ## Description
    Two speakers talk. The *goal speaker* opens every turn with a *line* that carries out a *goal* ("ask about pets."); the
    *responder* answers with a *reply* in the character of its *persona*, 3-5 facts that the goal speaker does not know. The
    agent picks the goals. By default both speakers are the language model that comes with the project, and the task is to
    find out in eight turns who the responder is.

    ## Action Space
    `Discrete(n)`: the code of the goal of the next line. The eleven published goals are

    | code | goal                  | code | goal                      |
    |------|-----------------------|------|---------------------------|
    | 0    | ask about kids.       | 6    | ask about hobbies.        |
    | 1    | ask about pets.       | 7    | ask about favorite food.  |
    | 2    | talk about work.      | 8    | talk about movies.        |
    | 3    | ask about marital status. | 9 | talk about music.        |
    | 4    | talk about travel.    | 10   | talk about politics.      |
    | 5    | ask about age and gender. |  |                           |

    `action_masks()` and `info["action_mask"]` say which may be chosen: all, or with `mask_repeats` those not taken yet.
    Choosing a masked goal is not an error.

    ## Observation Space
    `observation="embedding"`: a float32 `Box` of length `feature_size + 1 + n`: the mean of the responder's last hidden
    states over its replies so far, the turn divided by `num_turns`, and how often each goal was taken, divided by `num_turns`.
    `observation="goals"`: the same without the hidden states, so of length `1 + n`; quicker to learn from.
    `observation="belief"`: `goals` behind what the judge of the `identification` reward makes of the line-up so far, of length
    `3 + 3 n`; see `convogym.envs.observations.BeliefObserver`.
    `observation="last-token"`, `"ranking:FOLDER"` (of `convogym fit-state`), `"sentence-transformers"` and
    `"sentence-transformers:NAME"` (an encoder's name or folder): as `embedding`, with what the responder's model, that
    estimator or that encoder makes of all replies read alone in place of the mean.
    `observation="tokens"`: an int64 `Box` of the transcript's newest 512 token ids, -1 at the left of them.
    `observation="text"`: the transcript, one utterance a line, the goal speaker's first.

    ## Starting State
    Nothing was said, all zeros; a persona is drawn from `personas`. `reset(options=...)` takes `persona` (a list of facts),
    `history` (utterances that were said before, an even number) and `episode_seed` (repeats the episode whose reset info had
    it).

    ## Reward
    A weighted sum of terms, e.g. `reward="0.6*identification+0.3*goal_following-0.1*repetition"`; `info["reward_terms"]` has
    each term without its weight. See `convogym.envs.rewards` for the formulas.

    - `identification` (default): by how much this turn raised the log-probability of the true persona among it and
      `num_distractors` others, given the replies so far. Sums over an episode to at most `log(num_distractors + 1)`.
    - `identification_lm`: the same, by a language model's likelihood of the replies under each persona.
    - `goal_following`: probability that the line carries out its goal.
    - `coverage`: the share of the persona's facts that the reply states and none before it did.
    - `repetition`: how much of the reply the responder said before, 0..1.
    - `ranking`: the reward of the original convogym, minus a triplet loss of the mean reply features against persona facts.
    - `language`, `coherence`, `mutual_persona`: those of P2 Bot; `p2bot` stands for its weighted sum.
    - `manual`: a number that somebody types after every turn; `learned:FOLDER`: fitted by `convogym fit-reward`.

    ## Episode End
    `terminated` after `num_turns` turns; never `truncated`.

    ## Information
    `reset`: `persona`, `history`, `episode_seed`, `action_mask`. `step`: `turn` (1-based), `action`, `goal`, `line`, `reply`,
    `reward_terms`, `faults` (`line_empty`, `reply_empty`, `cut_off`, `repeated`, `context_dropped`: flags of the line or the
    reply), `line_log_prob`, `reply_log_prob`, `line_tokens`, `reply_tokens`, `persona`, `action_mask` (int8).

    ## Arguments
    Names and plain values keep the environment's spec serialisable; objects are taken as well.

    ```python
    import gymnasium as gym
    env = gym.make("convogym:PersonaChat-v0", responder="persona-mini", personas="held-out", num_turns=8)
    ```

    ## References
    - F. Tang, L. Zeng, F. Wang, J. Zhou, "Persona Authentication through Generative Dialogue", 2021, arXiv:2110.12949.
    - S. Zhang et al., "Personalizing Dialogue Agents: I have a dog, do you have pets too?", ACL 2018, arXiv:1801.07243.

    ## Version History
    - v0: first version.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 1}  # noqa: RUF012  # gymnasium.Env declares it an instance variable

    def __init__(
        self,
        responder: str | Speaker = "persona-mini",
        goal_speaker: str | Speaker | None = None,
        personas: Personas = "train",
        goals: Goals = "published",
        reward: str | Reward = "identification",
        observation: str = "embedding",
        num_turns: int = 8,
        num_distractors: int = NUM_DISTRACTORS,
        hard_distractors: bool = False,
        mask_repeats: bool = False,
        render_mode: str | None = None,
        reader: Reader | None = None,
        device: str = "cpu",
    ) -> None:
        """Loads what is named and puts the environment together.

        Args:
            responder: a model's name, or whoever answers.
            goal_speaker: the same for who says the lines; None = as the responder.
            personas: "train", "held-out", a file's path, or the personas.
            goals: "published", "taught" (and those that the goal speaker was taught), a list of goal texts, or a goal set.
            reward: a weighted sum of reward names, or a reward.
            observation: one of those above.
            num_turns: turns until the episode terminates.
            num_distractors: how many other personas `identification` tells the true one from.
            hard_distractors: whether those are the ones most like it in words, not any.
            mask_repeats: whether goals already taken are masked, as long as others are left.
            render_mode: "human" writes each turn to the terminal, "ansi" renders the transcript as text, "rgb_array" as image.
            reader: judge and matcher for the reward; None = those that come with the project.
            device: where named speakers are computed, "cpu" or "cuda" (there in bfloat16); judges stay on the processor.

        Raises:
            InputError: a value cannot be used; `UnknownNameError`, one of its kind, if it is an unknown name.
        """
        self.render_mode = check_render_mode(render_mode)
        parts = make_parts(
            responder=responder,
            goal_speaker=goal_speaker,
            personas=personas,
            goals=goals,
            reward=reward,
            observation=observation,
            num_turns=num_turns,
            num_distractors=num_distractors,
            hard_distractors=hard_distractors,
            mask_repeats=mask_repeats,
            reader=reader,
            device=device,
        )
        self._talks = Talks(parts, 1)
        self._view = TerminalView()
        self.action_space = spaces.Discrete(len(parts.goals))  # type: ignore[assignment]  # Discrete is a Space[int64]
        self.observation_space = parts.observer.space

    @property
    def parts(self) -> Parts:
        """What it is put together from, for who takes turns otherwise than by `step`."""
        return self._talks.parts

    @property
    def goals(self) -> GoalSet:
        """What the actions mean."""
        return self._talks.parts.goals

    @property
    def num_turns(self) -> int:
        """Turns until an episode terminates."""
        return self._talks.parts.num_turns

    @property
    def responder_name(self) -> str:
        """What the responder is called in records."""
        return self._talks.parts.responder.name

    @property
    def goal_speaker_name(self) -> str:
        """What the goal speaker is called in records."""
        return self._talks.parts.goal_speaker.name

    @property
    def talk(self) -> Talk:
        """The dialogue as it stands, for reading."""
        return self._talks.talks[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Starts a new dialogue; see "Starting State" above."""
        opening = read_options(options)
        super().reset(seed=seed)
        self.talk.np_random = self.np_random
        result = self._talks.begin(0, opening)
        self._show()
        return result

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Takes one turn: a line that carries out the goal, and the reply to it.

        Raises:
            InputError: the action is not a goal's code; nothing was said.
            gymnasium.error.ResetNeeded: the dialogue is over, or was never begun.
        """
        [outcome] = self._talks.advance([0], [self._talks.check_action(action)])
        self._show()
        return outcome.observation, outcome.reward, outcome.terminated, False, outcome.info

    def step_all_actions(self) -> list[Preview]:
        """What each goal would bring now, in the goals' order, with the draws that `step` would have; changes nothing.

        Raises:
            gymnasium.error.ResetNeeded: the dialogue is over, or was never begun.
        """
        [found] = self._talks.preview([0])
        return found

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """Which goals may be chosen next, shape (n,)."""
        return self.talk.action_masks()

    def render(self) -> Any:
        """The dialogue in the render mode: text, an image (height, width, 3), or None (what is new goes to the terminal)."""
        if self.render_mode == "ansi":
            return render_text(self.talk)
        if self.render_mode == "rgb_array":
            return render_image(self.talk)
        self._show()
        return None

    def _show(self) -> None:
        if self.render_mode == "human":
            self._view.show(self.talk)

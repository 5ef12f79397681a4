"""One talk in which a person takes part, as every front end uses it: terminal, browser, script.

Goals are offered, lines and replies proposed, accepted, rewritten or rejected; turns rated, taken back, handed to a policy.
Whatever happened is in the store when a method returns, so leaving at any time, or being killed, loses at most the turn in
progress. Knows nothing of keyboards, pages or commands. What a person types is text and nothing else.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from convogym.agents.shared import PASSING
from convogym.dialogue import MAX_UTTERANCE_CHARS, Persona, check_text
from convogym.envs.infos import turn_record
from convogym.envs.observations import make_observer
from convogym.envs.rewards import Repetition, Reward
from convogym.envs.talks import Opening, Outcome, Parts, Talk, Talks
from convogym.episodes import Comparison, Episode, TurnRecord
from convogym.errors import InputError
from convogym.goals import GoalSet
from convogym.policies.base import Policy, Previewing
from convogym.speakers import HUMAN, Request, Speaker, Utterance
from convogym.store import EpisodeStore

FREE_TALK = "talk freely."  # the one goal of a recorded talk that nobody steered
LOOK_AHEAD_SLOT = PASSING  # this, times the number of a talk's place from 1: slots of lines that may never be said
_TRIES = 8  # how many lines are drawn to find one that differs from those already proposed


class PersonSpeaks:
    """Stands for the goal speaker where a person says all the lines."""

    name = HUMAN
    feature_size = 1
    max_tokens = 1

    def speak(self, requests: Sequence[Request]) -> list[Utterance]:
        """Nobody can be asked for a person's lines; raises `InputError`."""
        raise InputError("in this talk a person says the lines; type one.")

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Zeros, shape (len(texts), 1)."""
        return np.zeros((len(texts), 1), np.float32)


def free_talk(responder: Speaker, persona: Persona, num_turns: int) -> Parts:
    """The parts of a talk in which a person says the lines and nothing is rewarded."""
    return Parts(
        goal_speaker=PersonSpeaks(),
        responder=responder,
        personas=(persona,),
        goals=GoalSet((FREE_TALK,), {}),
        reward=Reward((0.0, Repetition())),
        observer=make_observer("embedding", responder.feature_size, (FREE_TALK,), num_turns),
        num_turns=num_turns,
    )


class Session:
    """A talk, what may be done to it, and its record."""

    def __init__(
        self,
        parts: Parts,
        *,
        seed: int,
        persona: Persona | None = None,
        store: EpisodeStore | None = None,
        person: str | None = None,
        policy: Policy | None = None,
        spec: Mapping[str, Any] | None = None,
        place: int = 0,
        id: str | None = None,
    ) -> None:
        """Begins a talk; nothing is stored before its first turn.

        Args:
            parts: who talks about what; see `free_talk` for a talk without goals.
            seed: the episode's, 0..2**63-1: with the same acts of the person it gives the same talk.
            persona: the responder's; None = one of `parts`, drawn by the seed.
            store: where turns go; None = nowhere.
            person: the person's pseudonym, for the record.
            policy: who may take turns with `let_policy`.
            spec: the environment's arguments, for the record.
            place: which place it has among the sessions that share its speakers, 0..; distinct.
            id: the record's; None = the store chooses.
        """
        self.parts, self.store, self.person, self.policy = parts, store, person, policy
        self.episode: str | None = None
        """its id in the store; None before the first turn, and where nothing is stored"""
        self.turns: list[TurnRecord] = []
        """what was said so far, as it is recorded"""
        self.rating: float | None = None
        """the person's mark for the talk"""
        self.has_ended = False
        """whether it came to its last turn, or was ended"""
        self._spec, self._id = dict(spec or {}), id
        self._talks = Talks(parts, 1)
        self._place = place
        self._talk.np_random = np.random.default_rng(seed)
        facts = None if persona is None else persona.facts
        self._talks.begin(0, Opening(facts, (), seed))
        self._before: list[Talk] = []  # the talk before each turn, for undo
        self._utterances: list[tuple[Utterance, Utterance]] = []  # line and reply of each turn
        self._policy_state: Any = None
        self._policy_began = False
        self._lines: dict[tuple[int, int], Utterance] = {}  # of the turn to come, by goal and attempt
        self._asked: dict[int, int] = {}  # how many attempts of each goal were shown
        self._pending: tuple[int, Utterance] | None = None
        self._pair: tuple[int, Utterance, Utterance] | None = None
        self._judged: list[Comparison] = []
        self._other_reply: Utterance | None = None

    @classmethod
    def resumed(cls, parts: Parts, episode: Episode, *, store: EpisodeStore, place: int = 0) -> Session:
        """A recorded talk that is to go on where it stopped; what comes is what would have come without the interruption.

        Args:
            parts: who talks about what, as when it began.
            episode: the record; its goals must be those of `parts`.
            store: has the record.
            place: see `__init__`.

        Raises:
            InputError: the goals differ, the talk was not begun by a person, or it is at its end.
        """
        if episode.goals != parts.goals.goals or episode.history or episode.seed is None:
            raise InputError("this talk cannot go on: it was begun otherwise than talks are now.")
        if episode.finished or len(episode.turns) >= parts.num_turns:
            raise InputError("this talk is at its end; begin another.")
        persona = Persona(episode.persona)
        session = cls(
            parts,
            seed=episode.seed,
            persona=persona,
            store=store,
            person=episode.person,
            spec=episode.spec,
            place=place,
            id=episode.id,
        )
        nothing = np.zeros(parts.goal_speaker.feature_size, np.float32)
        heard = parts.responder.embed([turn.reply for turn in episode.turns])
        for turn, features in zip(episode.turns, heard, strict=True):
            line = Utterance(turn.line, 0, nothing, turn.line_log_prob)
            reply = Utterance(turn.reply, 0, features, turn.reply_log_prob)
            session._before.append(copy.deepcopy(session._talk))
            session._talks.take([0], [turn.action], [line], [reply])
            session._utterances.append((line, reply))
        session.turns, session.rating, session.episode = list(episode.turns), episode.rating, episode.id
        return session

    @property
    def _talk(self) -> Talk:
        return self._talks.talks[0]

    @property
    def seed(self) -> int:
        """The episode's."""
        return self._talk.episode_seed

    @property
    def persona(self) -> tuple[str, ...]:
        """The responder's facts."""
        return self._talk.persona

    @property
    def goals(self) -> GoalSet:
        """What lines can be about."""
        return self.parts.goals

    @property
    def is_free(self) -> bool:
        """Whether the person says all the lines."""
        return isinstance(self.parts.goal_speaker, PersonSpeaks)

    @property
    def allowed(self) -> list[int]:
        """Codes of the goals that may be chosen now."""
        return [int(code) for code in np.flatnonzero(self._talk.action_masks())]

    @property
    def proposed(self) -> str | None:
        """The line that `say` would say; None where none was proposed."""
        return self._pending[1].text if self._pending else None

    # --- the line to come ---------------------------------------------------------------------------------------------------

    def look_ahead(self, actions: Sequence[int] | None = None) -> dict[int, str]:
        """What the model would say for each goal, all asked in one batch; saying nothing yet.

        Args:
            actions: goal codes; None = all that are allowed.
        """
        self._check_going()
        wanted = self.allowed if actions is None else [self._check(action) for action in actions]
        missing = [action for action in dict.fromkeys(wanted) if (action, 0) not in self._lines]
        requests = [
            replace(self._talks.line_request(0, action), slot=LOOK_AHEAD_SLOT * (1 + self._place) + number)
            for number, action in enumerate(missing)
        ]
        if requests:
            for action, line in zip(missing, self.parts.goal_speaker.speak(requests), strict=True):
                self._lines[action, 0] = line
        return {action: self._lines[action, 0].text for action in wanted}

    def propose(self, action: int) -> str:
        """A line of the model's that carries out a goal; asked again at the same turn, another one. `say` then says it.

        Raises:
            InputError: there is no such goal, or the talk has ended.
        """
        self._check_going()
        self._check(action)
        line = self._next_line(action)
        self._pending = (action, line)
        return line.text

    def compare(self, action: int) -> tuple[str, str]:
        """Two different lines of the model's for a goal, between which `prefer` chooses."""
        self._check_going()
        self._check(action)
        first, second = self._next_line(action), self._next_line(action)
        if first.text == second.text:
            raise InputError("the model has only one thing to say here; propose it, or type another line.")
        self._pair = (action, first, second)
        return first.text, second.text

    def prefer(self, which: int) -> str:
        """Chooses the first (0) or second (1) line of `compare`; `say` then says it."""
        if self._pair is None:
            raise InputError("there are no two lines to choose from; ask for them with `compare`.")
        if which not in (0, 1):
            raise InputError(f"`which` must be 0 or 1, got {which!r}.")
        action, *lines = self._pair
        self._pair = None
        self._judged.append(Comparison("line", lines[which].text, lines[1 - which].text))
        self._pending = (action, lines[which])
        return lines[which].text

    # --- turns --------------------------------------------------------------------------------------------------------------

    def say(
        self, line: str | None = None, action: int | None = None, heard: Callable[[str], None] | None = None
    ) -> TurnRecord:
        """Says a line, and hears the reply: one turn.

        Args:
            line: the person's own words; None = the line that was proposed or preferred.
            action: the goal the words are for; None = that of the proposal, or the talk's only one.
            heard: told the reply so far while it is spoken (`convogym.speakers.Request.heard`).

        Returns:
            The turn, which is in the store.

        Raises:
            InputError: there is nothing to say, the text cannot be said, or the talk has ended. The talk is as it was.
            OSError: the turn could not be stored. The talk is as it was.
        """
        self._check_going()
        if action is None:
            action = self._pending[0] if self._pending else 0 if len(self.goals) == 1 else None
        if action is None:
            raise InputError("a line must have a goal; choose one.")
        self._check(action)
        pending = self._pending[1] if self._pending and self._pending[0] == action else None
        judged, corrected = list(self._judged), None
        if line is None:
            if pending is None:
                raise InputError("no line was proposed for this goal; propose one, or type it.")
            said = pending
        else:
            check_typed(line, "a line")
            nothing = np.zeros(self.parts.goal_speaker.feature_size, np.float32)  # nobody asks for a line's features
            said = Utterance(line, 0, nothing, 0.0) if pending is None or line != pending.text else pending
            if said is not pending:
                corrected = None if self.is_free else line
                if pending is not None:
                    judged.append(Comparison("line", line, pending.text))
        reply = self._heard(said, heard=heard)
        return self._take(action, said, reply, comparisons=tuple(judged), corrected_line=corrected)

    def let_policy(self) -> TurnRecord:
        """Lets the policy pick the goal of one turn, which the models then speak; the person takes over again after it.

        Raises:
            InputError: the session has no policy, or the talk has ended.
        """
        self._check_going()
        if self.policy is None or self.is_free:
            raise InputError("this talk has no policy that could take over; begin one with a policy.")
        observation = np.asarray(self._talks.observe(0))[None]
        masks = self._talk.action_masks()[None]
        if isinstance(self.policy, Previewing):
            self.policy.preview(np.array([[each.reward for each in self._talks.preview([0])[0]]]))
        chances = self.policy.probabilities(observation, masks, self._policy_state)
        starts = np.array([not self._policy_began])
        [action], state = self.policy.predict(observation, self._policy_state, starts, action_masks=masks)
        code = self._check(int(action))
        self.look_ahead([code])
        line = self._lines[code, 0]
        reply = self._heard(line)
        choice = {} if chances is None else {"propensity": float(chances[0, code]), "propensities": tuple(chances[0].tolist())}
        turn = self._take(code, line, reply, chosen_by=self.policy.name, **choice)
        self._policy_state, self._policy_began = state, True
        return turn

    def undo(self) -> TurnRecord:
        """Takes the last turn back, in the store too, and gives it.

        Raises:
            InputError: nothing was said yet.
        """
        if not self.turns:
            raise InputError("there is no turn to take back.")
        if self.store is not None and self.episode is not None:
            if len(self.turns) == 1:
                self.store.delete(self.episode)
                self.episode = self.rating = None
            else:
                self.store.retract(self.episode)
        self._talks.talks[0] = self._before.pop()
        self._utterances.pop()
        self.has_ended = False
        self._forget_proposals()
        return self.turns.pop()

    # --- judging what was said ----------------------------------------------------------------------------------------------

    def amend(self, reply: str) -> TurnRecord:
        """Puts the person's words in place of the last reply; the talk goes on from them.

        Raises:
            InputError: nothing was said yet, or the text cannot be a reply.
        """
        check_typed(reply, "a reply")
        last = self._last()
        if reply == last.reply:
            return last
        written = Utterance(reply, 0, self.parts.responder.embed([reply])[0], 0.0)
        return self._replace_reply(written, Comparison("reply", reply, last.reply), reply)

    def other_reply(self) -> tuple[str, str]:
        """The last reply and another that the model could have given, between which `prefer_reply` chooses."""
        last = self._last()
        line, reply = self._utterances[-1]
        after, self._talks.talks[0] = self._talk, copy.deepcopy(self._before[-1])
        try:
            for attempt in range(1, _TRIES + 1):
                other = self._heard(line, attempt)
                if other.text != reply.text:
                    self._other_reply = other
                    return last.reply, other.text
        finally:
            self._talks.talks[0] = after
        raise InputError("the model has only one thing to say here; type another reply if this one is wrong.")

    def prefer_reply(self, which: int) -> TurnRecord:
        """Chooses the reply that stands (0) or the other (1) of `other_reply`; the talk goes on from it."""
        last, other = self._last(), self._other_reply
        if other is None:
            raise InputError("there are no two replies to choose from; ask for them with `other_reply`.")
        if which not in (0, 1):
            raise InputError(f"`which` must be 0 or 1, got {which!r}.")
        self._other_reply = None
        if which == 1:
            return self._replace_reply(other, Comparison("reply", other.text, last.reply), None)
        comparison = Comparison("reply", last.reply, other.text)
        if self.store is not None and self.episode is not None:
            self.store.compare(self.episode, last.turn, comparison)
        self.turns[-1] = replace(last, comparisons=(*last.comparisons, comparison))
        return self.turns[-1]

    def correct(self, turn: int, line: str | None = None, reply: str | None = None) -> TurnRecord:
        """Says what a turn should have been; the talk stays as it was said.

        Raises:
            InputError: there is no such turn, neither text is given, or one cannot be said.
        """
        record = self._turn(turn)
        changes = {"corrected_line": line, "corrected_reply": reply}
        given = {name: text for name, text in changes.items() if text is not None}
        if not given:
            raise InputError("a correction must give a `line` or a `reply`, got neither.")
        changed = replace(record, **given)  # type: ignore[arg-type]  # checks the texts
        if self.store is not None and self.episode is not None:
            self.store.correct(self.episode, turn, line, reply)
        self.turns[turn - 1] = changed
        return changed

    def rate(self, value: float | None, turn: int | None = None) -> None:
        """Marks a turn, or with `turn=None` the whole talk; higher is better, None withdraws the mark.

        Raises:
            InputError: there is no such turn, nothing was said yet, or the value is no finite number.
        """
        if turn is not None:
            changed = replace(self._turn(turn), rating=value)
            if self.store is not None and self.episode is not None:
                self.store.rate(self.episode, turn, value)
            self.turns[turn - 1] = changed
            return
        self._last()
        if value is not None and not np.isfinite(value):
            raise InputError(f"a rating must be a finite number, got {value}.")
        if self.store is not None and self.episode is not None:
            self.store.rate_talk(self.episode, value)
        self.rating = value

    def end(self) -> None:
        """Ends the talk, which is then recorded as finished; one in which nothing was said leaves no record."""
        if self.store is not None and self.episode is not None:
            self.store.finish(self.episode)
        self.has_ended = True

    # --- inside -------------------------------------------------------------------------------------------------------------

    def _forget_proposals(self) -> None:
        """The turn to come is another one."""
        self._lines, self._asked, self._judged = {}, {}, []
        self._pending = self._pair = self._other_reply = None

    def _check(self, action: int) -> int:
        code = self._talks.check_action(action)
        if code not in self.allowed:
            raise InputError(f"{self.goals.text(code)!r} cannot be chosen now; choose one of {self.allowed}.")
        return code

    def _check_going(self) -> None:
        if self.has_ended:
            raise InputError("the talk has ended; take a turn back, or begin another.")

    def _turn(self, number: int) -> TurnRecord:
        if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= len(self.turns):
            raise InputError(f"`turn` must be in 1..{len(self.turns)}, got {number!r}.")
        return self.turns[number - 1]

    def _last(self) -> TurnRecord:
        if not self.turns:
            raise InputError("nothing was said yet.")
        return self.turns[-1]

    def _next_line(self, action: int) -> Utterance:
        """The next attempt at a goal that differs from those before, if one of a few does."""
        shown = {self._lines[action, n].text for n in range(self._asked.get(action, 0))}
        for _ in range(_TRIES):
            attempt = self._asked.get(action, 0)
            if (action, attempt) not in self._lines:
                request = self._talks.line_request(0, action, attempt)
                [self._lines[action, attempt]] = self.parts.goal_speaker.speak([self._placed(request)])
            self._asked[action] = attempt + 1
            if self._lines[action, attempt].text not in shown:
                break
        return self._lines[action, self._asked[action] - 1]

    def _heard(self, line: Utterance, attempt: int = 0, heard: Callable[[str], None] | None = None) -> Utterance:
        """The responder's reply to a line."""
        request = replace(self._talks.reply_request(0, line.text, attempt), heard=heard)
        [reply] = self.parts.responder.speak([self._placed(request)])
        return reply

    def _placed(self, request: Request) -> Request:
        """The request under this session's own slots."""
        return replace(request, slot=request.slot + 2 * self._place)

    def _take(self, action: int, line: Utterance, reply: Utterance, **marks: Any) -> TurnRecord:
        """Takes a turn, whole: the talk, the record and the store have it, or none of them."""
        before = copy.deepcopy(self._talk)
        try:
            [outcome] = self._talks.take([0], [action], [line], [reply])
            record = _record(outcome, marks)
            self._store(record, outcome.terminated)
        except BaseException:
            self._talks.talks[0] = before
            raise
        self._before.append(before)
        self._utterances.append((line, reply))
        self.turns.append(record)
        self.has_ended = outcome.terminated
        self._forget_proposals()
        return record

    def _store(self, record: TurnRecord, is_last: bool) -> None:
        if self.store is None:
            return
        with self.store.transaction():
            episode = self.episode or self.store.begin(
                policy=HUMAN if self.policy is None else f"{HUMAN}+{self.policy.name}",
                responder=self.parts.responder.name,
                goal_speaker=self.parts.goal_speaker.name,
                persona=self.persona,
                goals=self.goals.goals,
                seed=self.seed,
                spec=self._spec,
                person=self.person,
                id=self._id,
            )
            self.store.append(episode, record)
            if is_last:
                self.store.finish(episode)
        self.episode = episode

    def _replace_reply(self, reply: Utterance, comparison: Comparison, corrected: str | None) -> TurnRecord:
        last = self.turns[-1]
        line, _ = self._utterances[-1]
        after, self._talks.talks[0] = self._talk, copy.deepcopy(self._before[-1])
        try:
            [outcome] = self._talks.take([0], [last.action], [line], [reply])
            marks = {
                "propensity": last.propensity,
                "propensities": last.propensities,
                "chosen_by": last.chosen_by,
                "corrected_line": last.corrected_line,
                "corrected_reply": corrected,
                "rating": last.rating,
                "comparisons": (*last.comparisons, comparison),
            }
            record = _record(outcome, marks)
            if self.store is not None and self.episode is not None:
                with self.store.transaction():
                    self.store.retract(self.episode)
                    self._store(record, self.has_ended)
        except BaseException:
            self._talks.talks[0] = after
            raise
        self._utterances[-1] = (line, reply)
        self.turns[-1] = record
        self._forget_proposals()
        return record


def _record(outcome: Outcome, marks: Mapping[str, Any]) -> TurnRecord:
    return replace(turn_record(outcome.info, outcome.reward), **{"chosen_by": HUMAN, **marks})


def check_typed(text: str, name: str) -> None:
    """Refuses what a person cannot say: blank, too long, more than a line, no text; raises `InputError`."""
    check_text(text, name, MAX_UTTERANCE_CHARS)
    if not text.isprintable() and any(char in "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029" for char in text):
        raise InputError(f"{name} must be one line, got a line break in {text[:40]!r}.")

"""The terms of P2 Bot, coverage, and those from people: hand-made numbers, sums that telescope, what is refused."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fakes import EchoSpeaker, FakeMatcher, FakeReader, FakeScorer, env_kwargs, small_personas
from tiny import tiny_model

from convogym.agents.reply_likelihood import ReplyLikelihood
from convogym.agents.scoring import unconditional_log_prob
from convogym.envs.human_rewards import REWARD_FILE, Learned, Manual, PreferenceHead
from convogym.envs.language_rewards import Coherence, Language, coherence
from convogym.envs.persona_chat import PersonaChatEnv
from convogym.envs.persona_rewards import Coverage, MutualPersona, perception, perception_weight
from convogym.envs.rewards import Identification, Reward, Scene, build_reward, parse_reward
from convogym.errors import CheckpointError, InputError
from convogym.goals import DEFAULT_GOALS

PERSONA = ("i have two dogs.", "i work as a nurse.", "i love jazz music.")
RNG = np.random.default_rng(0)


def scene(reply: str, line: str = "tell me.", earlier: tuple[str, ...] = (), **changes: Any) -> Scene:
    plain: dict[str, Any] = {
        "persona": PERSONA,
        "previous": "",
        "goal": "ask about pets.",
        "line": line,
        "reply": reply,
        "earlier_replies": earlier,
        "state": np.zeros(16, dtype=np.float32),
    }
    return Scene(**{**plain, **changes})


class OddsMatcher:
    """Gives the odds written in the reply to the first fact, and even odds to the others."""

    def evidence(self, turns: Any, personas: Any) -> list[npt.NDArray[np.float64]]:
        found = []
        for (_, reply), candidates in zip(turns, personas, strict=True):
            odds = {PERSONA[0]: float(reply)}
            found.append(
                np.array([math.log(sum([1, *(odds.get(f, 1.0) for f in c)]) / (1 + len(c))) + 3.0 for c in candidates])
            )
        return found


class TestCoverage:
    def test_pays_the_share_of_facts_that_are_new_and_sums_to_those_revealed(self) -> None:
        term = Coverage()
        memory = term.begin(PERSONA, RNG)
        said = [
            "i see.",
            "two dogs live here.",
            "two dogs, and i am a nurse at work.",
            "jazz music, always.",
            "i love jazz music.",
        ]
        values = [term.score([scene(reply)], [memory])[0] for reply in said]
        assert values == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3, 0])
        assert len(memory) == 3

    def test_words_that_the_line_gave_away_do_not_count(self) -> None:
        memory = Coverage().begin(PERSONA, RNG)
        assert Coverage().score([scene("yes, two dogs.", line="do you have two dogs?")], [memory]) == [0.0]


class TestMutualPersona:
    def test_perception_turns_odds_into_their_chance(self) -> None:
        for odds in (0.25, 1.0, 4.0, 99.0):
            assert perception(math.log((1 + odds) / 2)) == pytest.approx(odds / (1 + odds))
        assert perception(-5.0) == 0.0

    def test_weights_pay_at_once_what_p2_bot_pays_for_all_later_utterances(self) -> None:
        q = [0.0, 0.3, 0.0, 0.9, 0.0, 0.2]  # lines have no persona
        returns = [sum(0.5 ** (j - i) * q[j] for j in range(i, 6)) for i in range(6)]
        assert sum(perception_weight(turn) * q[2 * turn - 1] for turn in (1, 2, 3)) == pytest.approx(sum(returns))

    def test_takes_the_fact_that_shows_most(self) -> None:
        term = MutualPersona(OddsMatcher())
        [value] = term.score([scene("4.0")], [None])
        assert value == pytest.approx(1.5 * 0.8)
        [later] = term.score([scene("0.1", earlier=("a", "b"))], [None])
        assert later == pytest.approx((2 - 0.5**5) * 0.5)  # even odds of the other facts, in the third turn


class TestLanguageAndCoherence:
    def test_language_is_the_mean_log_probability_of_a_token(self) -> None:
        assert Language(FakeScorer()).score([scene("i see it")], [None]) == pytest.approx([3 * math.log(0.5) / 4])

    def test_coherence_is_the_chance_that_the_context_was_there_minus_a_half(self) -> None:
        assert coherence(-3.0, -3.0, 2) == 0.0
        assert coherence(math.log(0.3), math.log(0.1), 1) == pytest.approx(0.75 - 0.5)
        assert coherence(math.log(0.09), math.log(0.01), 2) == pytest.approx(0.75 - 0.5)  # the same for each of two tokens
        assert coherence(-1e9, 0.0, 1) == -0.5 and coherence(0.0, -1e9, 1) == 0.5

    def test_a_reply_made_of_persona_and_history_coheres_more(self) -> None:
        scenes = [scene("two dogs", history=("hello", "two cats")), scene("blue moon")]
        near, far = Coherence(FakeScorer()).score(scenes, [None, None])
        assert near == pytest.approx(1 / (1 + 0.25 ** (1 / 3)) - 0.5)  # both words known: 1 against 1/2 * 1/2, three tokens
        assert far == 0.0

    def test_a_model_scores_a_reply_alone_as_the_ranking_of_candidates_does(self) -> None:
        model = tiny_model()
        replies = ["i have two dogs.", "no, i do not think so at all.", "yes."]
        found = ReplyLikelihood(model).log_likelihoods([()] * 3, [()] * 3, replies)
        assert found[:, 0] == pytest.approx([unconditional_log_prob(model, reply) for reply in replies], rel=1e-4)
        assert found[:, 1].tolist() == [len(model.tokenizer.encode(reply)) + 1 for reply in replies]

    def test_the_company_of_a_reply_changes_nothing_and_its_context_does(self) -> None:
        likelihood = ReplyLikelihood(tiny_model())
        replies = ["i have two dogs.", "yes.", "i like long walks on the beach and long talks."]
        histories = [("do you have pets?",), ("hi!", "hello.", "who are you?"), ("so?",)]
        together = likelihood.log_likelihoods([PERSONA] * 3, histories, replies)
        alone = np.concatenate(
            [likelihood.log_likelihoods([PERSONA], [h], [r]) for h, r in zip(histories, replies, strict=True)]
        )
        assert together == pytest.approx(alone, rel=1e-4)
        assert abs(together[0, 0] - likelihood.log_likelihoods([()], [()], replies[:1])[0, 0]) > 0.1

    def test_evidence_is_the_likelihood_under_each_persona(self) -> None:
        likelihood = ReplyLikelihood(tiny_model())
        [evidence] = likelihood.evidence([("any pets?", "two dogs.")], [[PERSONA, ("i am a clown.",)]])
        expected = likelihood.log_likelihoods([PERSONA, ("i am a clown.",)], [("any pets?",)] * 2, ["two dogs."] * 2)[:, 0]
        assert evidence == pytest.approx(expected)
        assert likelihood.evidence([], []) == []

    def test_identification_by_the_language_model_telescopes_too(self) -> None:
        personas = small_personas(8)
        term = Identification(ReplyLikelihood(tiny_model()), personas, num_distractors=5, name="identification_lm")
        memory = term.begin(personas[2].facts, RNG)
        total = sum(term.score([scene(reply)], [memory])[0] for reply in personas[2].facts)
        assert total == pytest.approx(memory.potential + math.log(6))


class TestP2Bot:
    def test_stands_for_its_published_weights(self) -> None:
        parts = {"coherence": 0.1, "mutual_persona": 0.5, "language": 0.5, "repetition": -0.1}
        assert {name: weight for weight, name in parse_reward("p2bot")} == parts
        doubled = {name: weight for weight, name in parse_reward("identification - 2*p2bot")}
        assert doubled == {"identification": 1.0, **{name: -2 * weight for name, weight in parts.items()}}

    def test_does_not_stand_beside_its_own_parts(self) -> None:
        with pytest.raises(InputError, match="'repetition' twice"):
            parse_reward("repetition+p2bot")

    def test_sums_its_terms(self) -> None:
        reward = build_reward(
            "p2bot",
            personas=small_personas(),
            goals=DEFAULT_GOALS,
            embed=EchoSpeaker().embed,
            reader=FakeReader,
            scorer=FakeScorer,
        )
        scenes = [scene("two dogs", earlier=("two dogs",), history=("hi", "two dogs"))]
        [values] = reward.score(scenes, [reward.begin(PERSONA, 0)])
        language = 2 * math.log(0.5) / 3
        perceived = 1.875 * (1 - 0.5 * math.exp(-2))  # two words of the first fact: evidence 2; second turn
        coheres = 1 / (1 + 0.25 ** (1 / 3)) - 0.5
        assert values["repetition"] == 1.0 and values["coherence"] == pytest.approx(coheres)
        assert reward.total(values) == pytest.approx(0.1 * coheres + 0.5 * perceived + 0.5 * language - 0.1)


class TestManual:
    def test_asks_again_until_it_is_a_number(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO("good\nnan\n0.5\n-1\n"))
        assert Manual().score([scene("a."), scene("b\x1b[2J.")], [None, None]) == [0.5, -1.0]
        shown = capsys.readouterr()
        assert shown.out == "" and shown.err.count("type a number") == 2 and "\x1b" not in shown.err

    def test_the_end_of_input_ends_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        with pytest.raises(InputError, match="the input ended"):
            Manual().score([scene("a.")], [None])

    def test_a_turn_without_its_number_was_not_taken(self, monkeypatch: pytest.MonkeyPatch) -> None:
        env = PersonaChatEnv(**env_kwargs(reward="manual"))
        env.reset(seed=0)
        monkeypatch.setattr("sys.stdin", io.StringIO("2\n"))
        assert env.step(1)[1] == 2.0
        with pytest.raises(InputError):
            env.step(1)
        assert len(env.talk.turns) == 1


class CountReader(FakeReader):
    """Counts letters and words of the reply."""

    def features(self, turns: Any) -> npt.NDArray[np.float64]:
        return np.array([[len(reply), len(reply.split())] for _, reply in turns], dtype=np.float64)


class TestLearned:
    HEAD = PreferenceHead((0.5, -1.0), (2.0, 1.0), "count", {"pairs": 3})

    def test_scores_by_weights_and_mean(self) -> None:
        [value] = Learned(self.HEAD, CountReader()).score([scene("two dogs")], [None])
        assert value == pytest.approx(0.5 * (8 - 2) - 1.0 * (2 - 1))

    def test_comes_back_from_its_folder_and_works_by_name(self, tmp_path: Path) -> None:
        folder = tmp_path / "my-reward"
        self.HEAD.save(folder)
        assert PreferenceHead.load(folder) == self.HEAD
        env = PersonaChatEnv(**env_kwargs(reward=f"learned:{folder} - 0.1*repetition", reader=CountReader()))
        env.reset(seed=0)
        _, reward, *_, info = env.step(1)
        assert set(info["reward_terms"]) == {"learned", "repetition"}
        assert reward == pytest.approx(info["reward_terms"]["learned"] - 0.1 * info["reward_terms"]["repetition"])

    def test_what_is_no_reward_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="convogym fit-reward"):
            PreferenceHead.load(tmp_path)
        for text in ("{", "[]", '{"kind": "convogym policy", "format": 1}', '{"kind": "convogym reward", "format": 9}'):
            (tmp_path / REWARD_FILE).write_text(text)
            with pytest.raises(CheckpointError, match="format 1"):
                PreferenceHead.load(tmp_path)
        self.HEAD.save(tmp_path)
        said = json.loads((tmp_path / REWARD_FILE).read_text())
        for change in ({"weights": [1.0]}, {"weights": [float("nan"), 1.0]}, {"mean": "many"}, {"fitted": 3}):
            (tmp_path / REWARD_FILE).write_text(json.dumps({**said, **change}))
            with pytest.raises(CheckpointError):
                PreferenceHead.load(tmp_path)

    def test_another_reader_is_refused(self, tmp_path: Path) -> None:
        class Longer(CountReader):
            def features(self, turns: Any) -> npt.NDArray[np.float64]:
                return np.zeros((len(turns), 7))

        with pytest.raises(InputError, match="2 features of count, this reader gives 7"):
            Learned(self.HEAD, Longer()).score([scene("a")], [None])
        self.HEAD.save(tmp_path)
        with pytest.raises(InputError, match="needs a reader with `features`"):
            build_reward(
                f"learned:{tmp_path}",
                personas=small_personas(),
                goals=DEFAULT_GOALS,
                embed=EchoSpeaker().embed,
                reader=FakeReader,
                scorer=FakeScorer,
            )


@pytest.mark.parametrize("terms", [Coverage(), Identification(FakeMatcher(), small_personas(), 5)])
def test_potential_based_terms_pay_the_same_for_the_same_replies_in_any_order(terms: Any) -> None:
    replies = [*small_personas()[3].facts, "i see.", small_personas()[3].facts[0]]
    totals = []
    for order in (replies, replies[::-1]):
        reward = Reward((1.0, terms))
        memories = reward.begin(small_personas()[3].facts, 4)
        totals.append(
            sum(
                reward.total(reward.score([scene(reply, persona=small_personas()[3].facts)], [memories])[0]) for reply in order
            )
        )
    assert totals[0] == pytest.approx(totals[1]) and totals[0] > 0


def test_reading_replies_changes_no_weight() -> None:
    model = tiny_model()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    ReplyLikelihood(model).log_likelihoods([()], [()], ["hello."])
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())

"""Model folders: ours and the hub's go in and out unchanged; what is damaged or foreign is refused with a reason."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from shared_data import shared_path
from tiny import tiny_model, tiny_tokenizer

from convogym.agents.loading import load
from convogym.agents.sampling import Sampling
from convogym.agents.speaking import ModelSpeaker
from convogym.agents.tokenizer import BPETokenizer
from convogym.errors import CheckpointError, InputError, UnknownNameError


def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    tiny_model().save(folder)
    return folder


def test_a_model_survives_its_folder(tmp_path: Path) -> None:
    model = tiny_model()
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.layout == "inline" and again.tokenizer.lower
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name])


def test_a_model_speaks_as_its_folder_says(tmp_path: Path) -> None:
    model = tiny_model()
    model = dataclasses.replace(model, sampling=Sampling(top_k=3, top_p=0.8, temperature=0.5, max_tokens=7))
    model.save(tmp_path / "m")
    again = load(tmp_path / "m")
    assert again.sampling == model.sampling == again.responder().sampling
    assert again.responder(Sampling()).sampling == Sampling()
    (tmp_path / "m" / "generation_config.json").write_text(
        '{"do_sample": true, "temperature": 0.7, "eos_token_id": 1}', "utf-8"
    )
    assert load(tmp_path / "m").sampling == Sampling(temperature=0.7)
    text = '{"do_sample": true, "top_k": 0, "top_p": null, "max_new_tokens": 9999}'
    (tmp_path / "m" / "generation_config.json").write_text(text, "utf-8")
    shape = model.network.shape
    assert load(tmp_path / "m").sampling == Sampling(top_k=shape.vocab_size, max_tokens=shape.n_positions // 2)
    (tmp_path / "m" / "generation_config.json").write_text('{"temperature": 0.7}', "utf-8")  # greedy, to transformers
    assert load(tmp_path / "m").sampling == Sampling()


@pytest.mark.parametrize("text", ["{", "[]", '{"do_sample": true, "top_p": 7}', '{"do_sample": true, "top_k": "x"}'])
def test_a_folder_that_says_nonsense_of_how_to_speak_is_refused(tmp_path: Path, text: str) -> None:
    folder = saved(tmp_path)
    (folder / "generation_config.json").write_text(text, "utf-8")
    with pytest.raises(CheckpointError, match=r"generation_config\.json: expected how the model is to speak"):
        load(folder)


def test_transformers_reads_our_folder_and_computes_the_same(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = saved(tmp_path)
    model, ids = load(folder), torch.tensor([[5, 9, 20, 31]])
    with torch.inference_mode():
        theirs = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
        ours = model.network.logits(model.network.hidden(ids))
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert AutoTokenizer.from_pretrained(folder).encode("hello there") == list(model.tokenizer.encode("hello there"))


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    """A GPT-2 as the hub holds it: written by transformers, published vocabulary, no control tokens, old binary weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path / "hub"
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=128)).save_pretrained(folder)
    shutil.copy(shared_path("data", "gpt2-bpe", "encoder.json"), folder / "vocab.json")
    shutil.copy(shared_path("data", "gpt2-bpe", "vocab.bpe"), folder / "merges.txt")
    return folder


@pytest.mark.shared
def test_a_hub_checkpoint_gets_control_tokens_rows_and_the_published_layout(hub_folder: Path) -> None:
    model = load(hub_folder)
    assert model.layout == "personagpt" and len(model.tokenizer) == 50263
    assert model.network.transformer.wte.weight.shape == (50263, 32)
    assert model.tokenizer.control("<|act|>") == 50262 and not model.tokenizer.lower


@pytest.mark.shared
def test_the_first_token_of_a_goal_has_no_space(hub_folder: Path) -> None:
    """The original wrote '<|act|> ' with a space, which fast tokenizers keep: a first token the model never saw."""
    model = load(hub_folder)
    assert model.tokenizer.encode("ask about hobbies.")[0] == 2093


@pytest.mark.shared
def test_old_binary_weights_without_the_prefix_load(hub_folder: Path) -> None:
    from safetensors.torch import load_file

    weights = {
        k.removeprefix("transformer."): v for k, v in load_file(hub_folder / "model.safetensors").items() if "lm_head" not in k
    }
    weights["h.0.attn.bias"] = torch.ones(1, 1, 128, 128)
    torch.save(weights, hub_folder / "pytorch_model.bin")
    (hub_folder / "model.safetensors").unlink()
    assert load(hub_folder).network.shape.n_layer == 2


@pytest.mark.shared
def test_a_hub_checkpoint_speaks(hub_folder: Path) -> None:
    from convogym.speakers import Request

    speaker = ModelSpeaker(load(hub_folder))
    (said,) = speaker.speak([Request(0, ("i like tea.",), ("hi",), (), np.random.default_rng(0).random(speaker.max_tokens))])
    assert said.text


def test_a_pickle_that_is_not_tensors_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"transformer.wte.weight": Path("/")}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(folder)


def test_cut_off_weights_are_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load(folder)


def test_a_base_without_an_end_is_refused(tmp_path: Path) -> None:
    """A GPT-2 whose vocabulary has no <|endoftext|>: it would never have learnt to stop."""
    folder = saved(tmp_path)
    text = (folder / "tokenizer.json").read_text("utf-8").replace("<|endoftext|>", "<|theend|>")
    (folder / "tokenizer.json").write_text(text, "utf-8")
    with pytest.raises(CheckpointError, match=r"no '<\|endoftext\|>'.*another base"):
        load(folder)


def test_a_vocabulary_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    words = [f"word{i} and another{i}" for i in range(900)]
    BPETokenizer.learn(words, 700).save(folder)
    config = json.loads((folder / "config.json").read_text())
    del config["eos_token_id"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"693 ids, its weights were made for 400.*different models"):
        load(folder)


def test_weights_with_nan_are_refused(tmp_path: Path) -> None:
    model = tiny_model()
    with torch.no_grad():
        model.network.transformer.wpe.weight[0, 0] = float("nan")
    model.save(tmp_path / "m")
    with pytest.raises(CheckpointError, match="NaN"):
        load(tmp_path / "m")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "llama"}, "type 'gpt2'"),
        ({"n_layer": 3}, "not those of a GPT-2"),
        ({"n_head": 5}, "multiple of `n_head`"),
        ({"n_head": 0}, "`n_head` must be a whole number"),
        ({"n_positions": 1e9}, "`n_positions` must be a whole number"),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
        ({"convogym": []}, "format, layout and lower"),
        ({"eos_token_id": 3}, "eos"),
        ({"convogym": {"format": 99, "layout": "inline", "lower": True}}, "upgrade"),
        ({"convogym": {"format": 1, "layout": "sideways", "lower": True}}, "unknown layout"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    folder = saved(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(InputError, match=message):
        load(folder)


def test_missing_files_are_named(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        load(folder)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load(tmp_path)


def test_an_unknown_name_shows_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'persona-mini'"):
        load("persona-mni")


def test_a_hub_id_without_network_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="hub"):
        load("nobody/such-a-model-anywhere")


def test_saving_over_an_old_model_replaces_it_whole_but_for_its_card(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / "pytorch_model.bin").write_text("old")
    (folder / "README.md").write_text("# card")
    tiny_model(seed=1).save(folder)
    ours = {"README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"}
    assert {p.name for p in folder.iterdir()} == ours
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]


def test_saving_never_touches_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    """Replacing `--out ~/documents` by a model would have deleted the documents."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"thesis\.txt"):
        tiny_model().save(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_full_disk_leaves_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path)
    before = (folder / "model.safetensors").read_bytes()

    def full(self: BPETokenizer, folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(BPETokenizer, "save", full)
    with pytest.raises(OSError, match="No space"):
        tiny_model(seed=1).save(folder)
    assert (folder / "model.safetensors").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_text_never_becomes_a_token_that_a_foreign_vocabulary_forgot_to_protect(tmp_path: Path) -> None:
    """A vocabulary may hold `<|act|>` as an ordinary added token, which text could become."""
    folder = saved(tmp_path)
    vocabulary = json.loads((folder / "tokenizer.json").read_text())
    for token in vocabulary["added_tokens"]:
        token["special"] = False
    (folder / "tokenizer.json").write_text(json.dumps(vocabulary))
    tokenizer = load(folder).tokenizer
    assert not set(tokenizer.encode("a <|act|> b<|endoftext|>")) & set(tokenizer.control_ids)


def test_ids_without_a_text_are_never_said(tmp_path: Path) -> None:
    """Embeddings padded beyond the vocabulary would decode to nothing."""
    model = tiny_model()
    weight = model.network.transformer.wte.weight
    model.network.transformer.wte.weight = torch.nn.Parameter(torch.cat([weight, 5 * weight[:64]]))
    model.network.shape = dataclasses.replace(model.network.shape, vocab_size=464)
    noise = np.random.default_rng(0).random((20, 12))
    for said in model.decoder().generate(range(20), [[5, 6]] * 20, noise, Sampling(top_k=464, top_p=1.0, max_tokens=12)):
        assert max(said.ids) < 400


def test_a_bound_on_replies_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(InputError, match="`max_tokens` must be at most half"):
        tiny_model(n_positions=128).responder(Sampling(max_tokens=100))


def test_vocabulary_size_is_kept() -> None:
    assert len(tiny_tokenizer()) == tiny_model().network.shape.vocab_size == 400

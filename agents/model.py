"""A language model as one thing: network, tokenizer, layout, and their folder. Knows files; knows nothing of dialogues."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from convogym import layouts, transfertransfo
from convogym.agents.double_heads import HEAD, DoubleHeads
from convogym.agents.folders import replaced
from convogym.agents.gpt2 import GPT2, GPT2Shape
from convogym.agents.sampling import Sampling
from convogym.agents.starting import start_able_to_copy
from convogym.agents.tokenizer import BPETokenizer
from convogym.dialogue import Dialogue
from convogym.errors import CheckpointError, InputError, UnknownNameError
from convogym.goals import DEFAULT_GOALS
from convogym.layouts import Example, Prompt

if TYPE_CHECKING:
    from convogym.agents.decoder import Decoder
    from convogym.agents.speaking import ModelSpeaker

LAYOUTS = (*layouts.LAYOUTS, transfertransfo.LAYOUT)
FORMAT = 1  # of the "convogym" section of config.json
_IGNORED = (".attn.bias", ".attn.masked_bias")  # constant buffers that old checkpoints carry
_SHAPE_FIELDS = tuple(field.name for field in dataclasses.fields(GPT2Shape))


@dataclass
class LanguageModel:
    """A GPT-2-family network with the tokenizer and the prompt layout it was trained with."""

    name: str
    """what it is called in records: the name or path it was loaded by"""
    network: GPT2
    """the weights; in evaluation mode unless a trainer has it; a `DoubleHeads` where the folder has a second head"""
    tokenizer: BPETokenizer
    """its vocabulary, control tokens included"""
    layout: str
    """one of `LAYOUTS`"""
    max_history: int = transfertransfo.MAX_HISTORY
    """exchanges read before the last utterance; of layout `transfertransfo` alone"""
    taught: tuple[str, ...] = ()
    """goals it was taught beyond the published ones, in the order of their codes, which go on from theirs"""
    taught_network: GPT2 | None = None
    """says the lines for taught goals, nothing else; None = `network` says these too. `taught.safetensors` of its folder"""
    sampling: Sampling = field(default_factory=Sampling)
    """how it speaks unless it is told otherwise; `generation_config.json` of its folder"""

    def __post_init__(self) -> None:
        """Checks the layout and tells the network its speaker tokens, where the layout has token types."""
        if self.layout not in LAYOUTS:
            raise UnknownNameError("layout", self.layout, LAYOUTS)
        if self.layout == transfertransfo.LAYOUT:
            marks = (transfertransfo.SPEAKER1, transfertransfo.SPEAKER2)
            self.network.speakers = tuple(self.tokenizer.control(mark) for mark in marks)

    @staticmethod
    def fresh(
        name: str, shape: GPT2Shape, tokenizer: BPETokenizer, layout: str, seed: int, counts: Tensor | None = None
    ) -> LanguageModel:
        """An untrained model.

        Args:
            name: see the field.
            shape: its sizes.
            tokenizer: see the field.
            layout: see the field.
            seed: of its weights.
            counts: (V,) how often each token occurs where it is going to be trained: the model then starts able to copy
                (`convogym.agents.starting`). None = GPT-2's random weights.
        """
        network = GPT2(shape)
        generator = torch.Generator().manual_seed(seed)
        if counts is None:
            network.reset_parameters(generator)
        else:
            start_able_to_copy(network, counts, generator)
        return LanguageModel(name, network.eval(), tokenizer, layout)

    @staticmethod
    def load(folder: Path, name: str | None = None, device: str = "cpu", layout: str | None = None) -> LanguageModel:
        """Reads a folder in the hub's format (`config.json`, `model.safetensors` or `pytorch_model.bin`, tokenizer files).

        A model that was taught goals by a network of their own has that one's tensors in `taught.safetensors` beside it.

        Control tokens that the vocabulary lacks are added and the embedding grows by as many rows, each the mean of the old
        rows plus N(0, 0.02) noise from a fixed seed. A folder that this project did not write is read as layout `personagpt`,
        case kept.

        Args:
            folder: in the hub's format.
            name: what to call it; None = the folder.
            device: where the weights go.
            layout: that the model is going to be trained in; None = its own.

        Raises:
            CheckpointError: the folder is missing, damaged, or not of the GPT-2 family, or its vocabulary is not that of its
                weights.
        """
        config = _read_config(folder)
        ours = config.get("convogym", {"layout": "personagpt", "lower": False, "format": FORMAT})
        if not isinstance(ours, dict) or not {"format", "layout", "lower"} <= set(ours):
            raise CheckpointError(
                f"{folder}/config.json: its section 'convogym' must have format, layout and lower, got {ours!r}."
            )
        if ours["format"] != FORMAT:
            raise CheckpointError(
                f"{folder}: written in format {ours['format']!r}, this version reads {FORMAT}; upgrade convogym."
            )
        try:
            shape = GPT2Shape(**{key: config[key] for key in _SHAPE_FIELDS if key in config})
        except TypeError as error:
            raise CheckpointError(
                f"{folder}/config.json: expected GPT-2's sizes ({', '.join(_SHAPE_FIELDS[:5])}), {error}."
            ) from error
        own_layout = str(ours["layout"])
        tokenizer = BPETokenizer.load(folder, lower=bool(ours["lower"]), layout=layout or own_layout)
        if layout in (None, own_layout) and config.get("eos_token_id", tokenizer.eos) != tokenizer.eos:
            raise CheckpointError(
                f"{folder}: config.json says eos is {config['eos_token_id']}, the tokenizer says {tokenizer.eos}."
            )
        weights = _read_weights(folder, ("model.safetensors", "pytorch_model.bin"))
        embedding = weights["transformer.wte.weight"]
        if tokenizer.own_ids > embedding.size(0):
            raise CheckpointError(
                f"{folder}: its vocabulary has {tokenizer.own_ids} ids, its weights were made for {embedding.size(0)}: "
                "they are of different models; put the tokenizer of this checkpoint beside it."
            )
        if len(tokenizer) > embedding.size(0):
            embedding = _grown(embedding, len(tokenizer))
            weights["transformer.wte.weight"] = embedding
        shape = dataclasses.replace(shape, vocab_size=embedding.size(0))
        head = weights.get(HEAD + "weight")
        network = GPT2(shape) if head is None else DoubleHeads(shape, len(head))
        _fill(network, weights, folder)
        network.to(device)
        second: GPT2 | None = None
        if (folder / "taught.safetensors").is_file():
            second = GPT2(shape)
            _fill(second, _read_weights(folder, ("taught.safetensors",)), folder)
            second.to(device).eval()
        window = ours.get("max_history", transfertransfo.MAX_HISTORY)
        if type(window) is not int or window < 0:
            raise CheckpointError(f"{folder}/config.json: `max_history` must be a whole number of at least 0, got {window!r}.")
        taught = _read_taught(folder, ours.get("taught", []))
        usual = _read_sampling(folder, shape)
        return LanguageModel(
            name or str(folder), network.eval(), tokenizer, layout or own_layout, window, taught, second, usual
        )

    def save(self, folder: Path, dtype: torch.dtype = torch.float32, extra: dict[str, Any] | None = None) -> None:
        """Writes the folder whole or not at all (a sibling is filled, then renamed).

        Args:
            folder: replaced if it is there and holds nothing but a model.
            dtype: of the stored tensors.
            extra: more entries for the "convogym" section of config.json.

        Raises:
            InputError: the folder holds something else.
            OSError: the disk is full or may not be written; the old folder, if any, is then still there.
        """
        networks = {"model.safetensors": self.network, "taught.safetensors": self.taught_network}
        with replaced(folder) as scratch:
            for file, network in networks.items():
                if network is not None:
                    tensors = {k: tensor.detach().to(dtype).cpu().contiguous() for k, tensor in network.state_dict().items()}
                    save_file(tensors, scratch / file, metadata={"format": "pt"})
            (scratch / "config.json").write_text(json.dumps(self._config(extra or {}), indent=2) + "\n", "utf-8")
            said = {
                "do_sample": True,
                "top_k": self.sampling.top_k,
                "top_p": self.sampling.top_p,
                "temperature": self.sampling.temperature,
                "max_new_tokens": self.sampling.max_tokens,
            }
            (scratch / "generation_config.json").write_text(json.dumps(said, indent=2) + "\n", "utf-8")
            self.tokenizer.save(scratch)

    def _config(self, extra: dict[str, Any]) -> dict[str, Any]:
        eos = self.tokenizer.eos
        window = {"max_history": self.max_history} if self.layout == transfertransfo.LAYOUT else {}
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            **dataclasses.asdict(self.network.shape),
            "bos_token_id": eos,
            "eos_token_id": eos,
            "pad_token_id": eos,
            "tie_word_embeddings": True,
            "convogym": {
                "format": FORMAT,
                "layout": self.layout,
                "lower": self.tokenizer.lower,
                **window,
                **({"taught": self.taught} if self.taught else {}),
                **extra,
            },
        }

    def prompt(self, persona: Sequence[str], history: Sequence[str], goals: Sequence[str | None], room: int) -> Prompt:
        """The ids after which the next utterance is spoken; see `convogym.layouts.prompt`.

        Raises:
            InputError: also where a goal is named to a model whose layout has none.
        """
        if self.layout != transfertransfo.LAYOUT:
            return layouts.prompt(self.layout, self.tokenizer, persona, history, goals, room)
        if len(history) % 2 == 0 and goals and goals[-1] is not None:
            raise InputError(
                f"{self.name} reads layout {self.layout!r}, which has no goals: let another model be goal speaker."
            )
        return transfertransfo.prompt(self.tokenizer, persona, history, self.max_history, room)

    def reply_examples(self, dialogue: Dialogue, max_tokens: int) -> list[Example]:
        """Speaker 2's view of a dialogue, every reply a target, in the model's layout; what does not fit is left out."""
        if self.layout != transfertransfo.LAYOUT:
            return layouts.responder_examples(self.tokenizer, dialogue, max_tokens)
        examples = []
        for question in transfertransfo.questions_of(dialogue):
            reply = question.candidates[-1]
            with contextlib.suppress(InputError):
                examples.append(
                    transfertransfo.reply_example(
                        self.tokenizer, question.facts, question.history, reply, self.max_history, max_tokens
                    )
                )
        return examples

    def responder(self, sampling: Sampling | None = None) -> ModelSpeaker:
        """The model as speaker 2."""
        from convogym.agents.speaking import ModelSpeaker

        return ModelSpeaker(self, sampling)

    def goal_speaker(self, sampling: Sampling | None = None) -> ModelSpeaker:
        """The model as speaker 1, with a cache of its own."""
        return self.responder(sampling)

    def decoder(self, apart: bool = False) -> Decoder:
        """A decoder of its own; it never says control tokens or ids that no text has.

        Args:
            apart: of the lines that `says_apart`, rather than of all else.
        """
        from convogym.agents.decoder import Decoder

        unused = range(len(self.tokenizer), self.network.shape.vocab_size)
        network = self.taught_network if apart and self.taught_network is not None else self.network
        return Decoder(network, self.tokenizer.eos, [*self.tokenizer.control_ids, *unused])

    def says_apart(self, goal: str | None) -> bool:
        """Whether lines with this goal are `taught_network`'s."""
        return self.taught_network is not None and goal in self.taught

    @property
    def num_parameters(self) -> int:
        """How many numbers the network learns."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.transformer.wte.weight.device


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: expected a model folder, found {'a file' if folder.exists() else 'nothing'}.")
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: expected a model folder with a config.json, found none in it.") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: expected JSON, {error}.") from error
    if isinstance(config, dict):
        for key, needed in (("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False)):
            if config.get(key, needed) is not needed:
                raise CheckpointError(f"{path}: `{key}` must be {needed}, got {config[key]!r}; GPT-2's own value is needed.")
    if not isinstance(config, dict) or config.get("model_type") != "gpt2":
        kind = config.get("model_type") if isinstance(config, dict) else type(config).__name__
        raise CheckpointError(f"{path}: expected a model of type 'gpt2', got {kind!r}; only the GPT-2 family can speak here.")
    return config


def _read_taught(folder: Path, goals: Any) -> tuple[str, ...]:
    try:
        if not isinstance(goals, list) or not all(isinstance(goal, str) for goal in goals):
            raise InputError("they must be a list of texts.")
        DEFAULT_GOALS.extended(*goals)
    except InputError as error:
        raise CheckpointError(f"{folder}/config.json: its taught goals cannot be used: {error}") from error
    return tuple(goals)


def _read_sampling(folder: Path, shape: GPT2Shape) -> Sampling:
    """Of a hub folder's `generation_config.json` what concerns draws; where it has none or is greedy, the defaults.

    As on the hub, null says nothing and a `top_k` of 0 leaves all tokens in. An utterance gets half of the context at most.
    """
    path = folder / "generation_config.json"
    if not path.is_file():
        return Sampling()
    try:
        found = json.loads(path.read_text("utf-8"))
        if not found.get("do_sample"):
            return Sampling()
        names = {"top_k": "top_k", "top_p": "top_p", "temperature": "temperature", "max_new_tokens": "max_tokens"}
        said = {ours: found[theirs] for theirs, ours in names.items() if found.get(theirs) is not None}
        if said.get("top_k") == 0:
            said["top_k"] = shape.vocab_size
        if "max_tokens" in said:
            said["max_tokens"] = min(said["max_tokens"], shape.n_positions // 2)
        return Sampling(**said)
    except (ValueError, RecursionError, AttributeError, TypeError, InputError) as error:
        raise CheckpointError(f"{path}: expected how the model is to speak, {type(error).__name__}: {error}.") from error


def _fill(network: GPT2, weights: dict[str, Tensor], folder: Path) -> None:
    try:
        network.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        raise CheckpointError(
            f"{folder}: its tensors are not those of a GPT-2 of the sizes in config.json: {error}"
        ) from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in weights.values()):
        raise CheckpointError(f"{folder}: its weights hold NaN or infinity; take an earlier checkpoint.")


def _read_weights(folder: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """The tensors of the first of these files that is there."""
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    try:
        if path is None:
            raise CheckpointError(f"{folder}: expected {' or '.join(names)}, found neither.")
        weights = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # damaged archives raise anything from struct.error to UnpicklingError
        raise CheckpointError(f"{folder}: its weights cannot be read ({type(error).__name__}: {error}).") from error
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise CheckpointError(f"{folder}: expected its weights to be tensors by name, got something else.")
    named = {}
    for name, tensor in weights.items():
        if not name.endswith(_IGNORED):
            known = name.startswith(("transformer.", "lm_head.", HEAD))
            named[name if known else f"transformer.{name}"] = tensor.float()
    embedding = named.get("transformer.wte.weight")
    if embedding is None or embedding.dim() != 2:
        raise CheckpointError(f"{folder}: expected GPT-2 tensors, found no token embedding among {sorted(named)[:3]} ...")
    head = named.pop("lm_head.weight", None)
    if head is not None and not torch.equal(head, named["transformer.wte.weight"]):
        raise CheckpointError(f"{folder}: its output map is not tied to its embedding, as GPT-2's is; it cannot be used.")
    return named


def _grown(embedding: Tensor, rows: int) -> Tensor:
    noise = torch.randn(rows - embedding.size(0), embedding.size(1), generator=torch.Generator().manual_seed(0)) * 0.02
    return torch.cat([embedding, embedding.mean(0, keepdim=True) + noise])

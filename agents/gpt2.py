"""The GPT-2 network, in one batched pass or token by token against a cache. Knows tensors; knows nothing of text or sampling.

Parameter names and arithmetic are those of the published checkpoints (`GPT2LMHeadModel`), so weights go in and out unchanged.
It is written here, not taken from `transformers`, because that import alone takes five seconds, and because ragged batches of
long-lived dialogues need a cache that rows enter and leave.

Letters: B rows, T new tokens, L cached tokens, C hidden size, H heads, D = C / H, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convogym.errors import CheckpointError

Look = Callable[[int, Tensor, Tensor], None]
"""is given a 0-based layer's number, its queries and its keys, each (B, H, T, D)"""

MOST_SCORES = 2**24  # of a layer, kept for the backward pass in six bytes each
MAX_SIZE = 1_000_000  # no GPT-2 has a larger vocabulary, context or width


@dataclass(frozen=True)
class GPT2Shape:
    """The sizes of a GPT-2 network; field names are those of its `config.json`."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int | None = None
    """width of the feed-forward layer; None = 4 * n_embd"""
    layer_norm_epsilon: float = 1e-5
    activation_function: str = "gelu_new"

    def __post_init__(self) -> None:
        """Checks the sizes, that heads divide the hidden size, and that the activation is one of the family."""
        for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head"):
            size = getattr(self, name)
            if type(size) is not int or not 1 <= size <= MAX_SIZE:
                raise CheckpointError(f"`{name}` must be a whole number in 1..{MAX_SIZE}, got {size!r}.")
        if self.n_embd % self.n_head:
            raise CheckpointError(f"`n_embd` must be a multiple of `n_head`, got {self.n_embd} and {self.n_head}.")
        if self.activation_function not in ("gelu_new", "gelu", "gelu_pytorch_tanh", "gelu_fast", "relu"):
            raise CheckpointError(f"`activation_function` {self.activation_function!r} is not one of GPT-2's family.")


def stamp(parameters: Iterable[Tensor]) -> list[tuple[int, int]]:
    """What is another whenever some of the parameters changed, or stand elsewhere."""
    return [(p.data_ptr(), 0 if p.is_inference() else p._version) for p in parameters]


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every token's view of itself and those before it, each (B, H, T, D).

    Torch's fused attention, but for training in bfloat16 on a processor: its backward pass there takes two to five times as
    long as that of plain products. Scores are float32 there too: rounded to bfloat16 those of a head that is sure of what it
    looks at are wrong by tenths. What it keeps for that pass grows with T squared, so the fused one serves where that is much.
    """
    b, h, t, d = q.shape
    explicit = q.dtype == torch.bfloat16 and q.device.type == "cpu" and q.requires_grad and b * h * t * t <= MOST_SCORES
    if not explicit:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    with torch.autocast("cpu", enabled=False):
        ahead = torch.full((t, t), -torch.inf).triu(1)
        queries, keys = (x.float().reshape(b * h, t, d) for x in (q, k))
        scores = torch.baddbmm(ahead, queries, keys.transpose(1, 2), alpha=d**-0.5)  # (B H, T, T)
        return (scores.softmax(-1).to(v.dtype) @ v.reshape(b * h, t, d)).view(b, h, t, d)


def dropped(x: Tensor, share: float, training: bool) -> Tensor:
    """Dropout (Srivastava et al. 2014): while training, entries are 0 with a chance of `share`, the others scaled up.

    On a processor the chance is the nearest of 0, 1/256 .. 255/256, and torch's generator gives eight entries with every
    number it draws; `F.dropout` draws one for each, a tenth of a small model's training step.

    Args:
        x: of any shape.
        share: in 0..1.
        training: whether to drop any.
    """
    if not training or not 0 < share < 1 or x.device.type != "cpu":
        return F.dropout(x, share, training)
    cut = min(255, round(256 * share))
    drawn = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)
    kept = drawn[: x.numel()].view(x.shape) >= cut
    return x * kept.to(x.dtype).mul_(256 / (256 - cut))


class Linear(nn.Module):
    """An affine map whose weight is stored (in, out), as GPT-2's `Conv1D` stores it."""

    def __init__(self, n_in: int, n_out: int) -> None:
        """Makes the parameters; `GPT2.reset_parameters` fills them."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        return torch.addmm(self.bias, x.reshape(-1, x.size(-1)), self.weight).view(*x.shape[:-1], self.weight.size(1))


class Attention(nn.Module):
    """Causal self-attention with a fused query-key-value map."""

    def __init__(self, shape: GPT2Shape) -> None:
        """Makes the two maps."""
        super().__init__()
        self.heads = shape.n_head
        self.c_attn = Linear(shape.n_embd, 3 * shape.n_embd)
        self.c_proj = Linear(shape.n_embd, shape.n_embd)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, C) -> query, key, value, each (B, H, T, D)."""
        b, t, c = x.shape
        q, k, v = self.c_attn(x).view(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        return q, k, v


class MLP(nn.Module):
    """The feed-forward layer."""

    def __init__(self, shape: GPT2Shape) -> None:
        """Makes the two maps."""
        super().__init__()
        inner = shape.n_inner or 4 * shape.n_embd
        self.c_fc = Linear(shape.n_embd, inner)
        self.c_proj = Linear(inner, shape.n_embd)
        self.activation = shape.activation_function

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = self.c_fc(x)
        if self.activation == "relu":
            x = F.relu(x)
        elif self.activation != "gelu" and x.dtype == torch.bfloat16 and x.device.type == "cpu" and x.requires_grad:
            from convogym.agents.activation import tanh_gelu  # compiles; only training comes here

            x = tanh_gelu(x)
        else:
            x = F.gelu(x, approximate="none" if self.activation == "gelu" else "tanh")
        out: Tensor = self.c_proj(x)
        return out


class Block(nn.Module):
    """One pre-norm transformer layer."""

    def __init__(self, shape: GPT2Shape) -> None:
        """Makes its parts."""
        super().__init__()
        self.ln_1 = nn.LayerNorm(shape.n_embd, shape.layer_norm_epsilon)
        self.attn = Attention(shape)
        self.ln_2 = nn.LayerNorm(shape.n_embd, shape.layer_norm_epsilon)
        self.mlp = MLP(shape)


class Transformer(nn.Module):
    """Embeddings, layers and the final norm, under the names of the published checkpoints."""

    def __init__(self, shape: GPT2Shape) -> None:
        """Makes its parts."""
        super().__init__()
        self.wte = nn.Embedding(shape.vocab_size, shape.n_embd)
        self.wpe = nn.Embedding(shape.n_positions, shape.n_embd)
        self.h = nn.ModuleList(Block(shape) for _ in range(shape.n_layer))
        self.ln_f = nn.LayerNorm(shape.n_embd, shape.layer_norm_epsilon)

    def layers(self) -> list[Block]:
        """The layers, first to last."""
        return [block for block in self.h if isinstance(block, Block)]


class GPT2(nn.Module):
    """GPT-2 with its output map tied to the token embedding."""

    def __init__(self, shape: GPT2Shape) -> None:
        """Makes the parameters; they are random until `reset_parameters` or `load_state_dict`."""
        super().__init__()
        self.shape = shape
        self.transformer = Transformer(shape)
        self.speakers: tuple[int, ...] = ()
        """ids of the speaker tokens, whose embeddings are added as token types; () = the model has no types"""

    @property
    def is_plain(self) -> bool:
        """Whether all its parts are its own, no adapters among them, in float32 on the processor."""
        maps = (part for block in self.transformer.layers() for part in block.modules())
        known = (Block, Attention, MLP, Linear, nn.LayerNorm)
        weight = self.transformer.wte.weight
        return weight.dtype == torch.float32 and weight.device.type == "cpu" and all(isinstance(m, known) for m in maps)

    def types(self, ids: Tensor) -> Tensor | None:
        """The type of every token: the last speaker token up to it, the first speaker's where there is none.

        Args:
            ids: (B, T) int64.

        Returns:
            (B, T) int64 ids, to be embedded like tokens (`token_type_ids` of GPT-2); None where the model has no types.
        """
        if not self.speakers:
            return None
        marks = torch.tensor(self.speakers, device=ids.device)
        places = torch.arange(ids.size(1), device=ids.device).expand_as(ids)
        last = torch.where(torch.isin(ids, marks), places, -1).cummax(1).values  # (B, T)
        return torch.where(last < 0, marks[0], ids.gather(1, last.clamp(min=0)))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """GPT-2's initialisation: N(0, 0.02), residual maps scaled by 1 / sqrt(2 n_layer) (Radford et al. 2019, 2.3)."""
        residual = 0.02 / (2 * self.shape.n_layer) ** 0.5
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.dim() == 2:
                    std = residual if name.endswith("c_proj.weight") else 0.02
                    parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
                elif "ln_" in name and name.endswith("weight"):
                    parameter.fill_(1.0)
                else:
                    parameter.zero_()

    def hidden(self, ids: Tensor, dropout: float = 0.0, look: Look | None = None, places: Tensor | None = None) -> Tensor:
        """Last hidden states of whole rows, or of some of their places.

        Args:
            ids: (B, T) int64; padding, if any, stands at the right, where it changes nothing before it.
            dropout: share of the residual updates' entries dropped while training.
            look: is shown every layer's queries and keys.
            places: (N,) int64 in 0..B T - 1, counted row by row; from the last attention on nothing else is computed.

        Returns:
            (B, T, C) after the final norm; with `places`, (N, C).
        """
        body = self.transformer
        x = body.wte(ids) + body.wpe.weight[: ids.size(1)]  # (B, T, C)
        types = self.types(ids)
        if types is not None:
            x = x + body.wte(types)
        x = dropped(x, dropout, self.training)
        for number, block in enumerate(body.layers()):
            q, k, v = block.attn.split(block.ln_1(x))
            if look is not None:
                look(number, q, k)
            mixed = causal_attention(q, k, v).transpose(1, 2).reshape(x.shape)
            if places is not None and number == self.shape.n_layer - 1:
                x, mixed = (whole.flatten(0, 1).index_select(0, places) for whole in (x, mixed))
            x = x + dropped(block.attn.c_proj(mixed), dropout, self.training)
            x = x + dropped(block.mlp(block.ln_2(x)), dropout, self.training)
        out: Tensor = body.ln_f(x)
        return out

    def standardised(self, hidden: Tensor) -> Tensor:
        """Last hidden states without the final norm's gain and bias: entries of about unit size, whatever the weights.

        The map is affine, so it may be applied to a mean of states. Entries whose gain is 0 hold nothing and become 0.

        Args:
            hidden: (..., C) from `hidden` or `cached`.

        Returns:
            (..., C).
        """
        offset, factor = self.standardisation()
        return (hidden - offset) * factor

    def standardisation(self) -> tuple[Tensor, Tensor]:
        """What `standardised` takes away from hidden states and then multiplies them by, (C,) each."""
        norm = self.transformer.ln_f
        return norm.bias, torch.where(norm.weight == 0, 0.0, 1.0 / norm.weight)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., C) -> (..., V)."""
        return F.linear(hidden, self.transformer.wte.weight)

    def cached(
        self,
        ids: Tensor,
        start: Tensor,
        keys: Tensor,
        values: Tensor,
        lengths: Tensor | None = None,
        kinds: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """Last hidden states of new tokens, whose keys and values are written to the cache.

        Everything but attention itself runs over the M real tokens alone: padding costs next to nothing.

        Args:
            ids: (B, T) int64 new tokens, padded at the right.
            start: (B,) int64, how many tokens of each row are cached already.
            keys: (n_layer, rows, H, capacity, D) cache, changed in place; entry j of a row belongs to its position j.
            values: likewise.
            lengths: (B,) int64, how many of each row's ids are real; None = all.
            kinds: (B, T) int64, the tokens' types where the model has some; None = as `types` says of rows that begin here.
            places: (B,) int64, all different, which row of the cache each is; None = the first is the first, and so on, of B.

        Returns:
            (B, T, C) after the final norm; 0 at padding.
        """
        body = self.transformer
        b, t = ids.shape
        positions = start[:, None] + torch.arange(t, device=ids.device)  # (B, T)
        if lengths is None:
            rows = torch.arange(b, device=ids.device).repeat_interleave(t)
            place = None
            length = int(start.max()) + t  # L
        else:
            inside = torch.arange(t, device=ids.device) < lengths[:, None]
            rows, columns = inside.nonzero(as_tuple=True)  # (M,) each
            place = rows * t + columns
            length = int((start + lengths).max())
        real, at = (x.flatten() if place is None else x.flatten()[place] for x in (ids, positions))  # (M,) each

        cached_rows = rows if places is None else places[rows]  # (M,)

        def padded(x: Tensor) -> Tensor:
            """(M, ...) -> (B, T, ...)."""
            full = x if place is None else x.new_zeros(b * t, *x.shape[1:]).index_copy_(0, place, x)
            return full.view(b, t, *x.shape[1:])

        x = body.wte(real) + body.wpe(at)  # (M, C)
        types = self.types(ids) if kinds is None else kinds
        if types is not None:
            x = x + body.wte(types.flatten() if place is None else types.flatten()[place])
        visible = torch.arange(length, device=ids.device) <= positions[:, :, None]  # (B, T, L)
        for layer, block in enumerate(body.layers()):
            q, k, v = block.attn.c_attn(block.ln_1(x)).view(len(x), 3, block.attn.heads, -1).unbind(1)  # (M, H, D) each
            keys[layer][cached_rows, :, at] = k
            values[layer][cached_rows, :, at] = v
            known = (keys[layer, :, :, :length], values[layer, :, :, :length])
            if places is not None:
                known = (known[0][places], known[1][places])
            mixed = F.scaled_dot_product_attention(padded(q).transpose(1, 2), *known, attn_mask=visible[:, None])
            mixed = mixed.transpose(1, 2).reshape(b * t, -1)  # (B * T, C)
            x = x + block.attn.c_proj(mixed if place is None else mixed[place])
            x = x + block.mlp(block.ln_2(x))
        return padded(body.ln_f(x))

"""GPT-2's activation while training in bfloat16 on a processor, compiled: a few passes fewer than torch's, and a faster power.

Of a small network's step in bfloat16, whose products have become cheap, torch's takes a tenth. Knows tensors alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic
from torch import Tensor
from torch.autograd.function import once_differentiable

from convogym.agents.compiled import kernel_threads
from convogym.agents.kernels import EXACT, compiled, exp, float_of_bits

WORK = 16  # multiplications an entry, about


@intrinsic
def _bits_of_float(context: Any, number: Any) -> Any:
    """The int32 whose bits are those of a float."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return types.int32(types.float32), generate


@compiled(forceinline=True)
def _widened(half: Any) -> Any:
    """The float32 of a bfloat16's bits, which are its upper ones."""
    return float_of_bits(np.int32(np.uint32(np.uint16(half)) << np.uint32(16)))


@compiled(forceinline=True)
def _narrowed(number: Any) -> Any:
    """The bits of the nearest bfloat16, of two as near the even one."""
    bits = np.uint32(_bits_of_float(number))
    return np.int16(np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)))


@compiled(forceinline=True, fastmath=EXACT)
def _sure(x: Any) -> Any:
    """(1 + tanh u) / 2 = 1 / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    u = np.float32(-1.5957691216) * (x + np.float32(0.044715) * x * x * x)
    return np.float32(1.0) / (np.float32(1.0) + exp(min(u, np.float32(87.0))))


@compiled(parallel=True, fastmath=EXACT)
def _forward(inputs: Any, outputs: Any) -> None:
    for row in prange(inputs.shape[0]):
        for i in range(inputs.shape[1]):
            x = _widened(inputs[row, i])
            outputs[row, i] = _narrowed(x * _sure(x))


@compiled(parallel=True, fastmath=EXACT)
def _backward(inputs: Any, gradients: Any, outputs: Any) -> None:
    for row in prange(inputs.shape[0]):
        for i in range(inputs.shape[1]):
            x = _widened(inputs[row, i])
            sure = _sure(x)
            rise = np.float32(1.5957691216) * (np.float32(1.0) + np.float32(0.134145) * x * x)  # of 2u
            slope = sure + x * sure * (np.float32(1.0) - sure) * rise
            outputs[row, i] = _narrowed(_widened(gradients[row, i]) * slope)


def _bits(tensor: Tensor) -> Any:
    """The rows of a contiguous bfloat16 tensor, as int16."""
    return tensor.detach().view(torch.int16).view(-1, tensor.size(-1)).numpy()


class _TanhGELU(torch.autograd.Function):
    """See `tanh_gelu`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        out = torch.empty_like(x)
        with kernel_threads(WORK * x.numel()):
            _forward(_bits(x), _bits(out))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        out = torch.empty_like(x)
        with kernel_threads(WORK * x.numel()):
            _backward(_bits(x), _bits(gradients[0].contiguous()), _bits(out))
        return out


def tanh_gelu(x: Tensor) -> Tensor:
    """`F.gelu(x, approximate="tanh")` of a bfloat16 tensor on the processor, computed in float32 and rounded once."""
    out: Tensor = _TanhGELU.apply(x)  # type: ignore[no-untyped-call]
    return out

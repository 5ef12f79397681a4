"""Shows a talk: as text, on a terminal, as an image. Knows talks; knows nothing of environments.

What models and people wrote may hold anything; characters a terminal would obey are shown as a replacement mark.
"""

from __future__ import annotations

import io
import textwrap
import warnings

import numpy as np
import numpy.typing as npt

from convogym.envs.talks import Talk
from convogym.text import printable

IMAGE_SIZE = (640, 480)  # pixels, width and height
_DPI = 100
_COLUMNS, _ROWS = 88, 28  # characters that fit in the image in 8-point DejaVu Sans Mono


def _head(talk: Talk) -> list[str]:
    said = [f"{'ba'[i % 2 == 0]}: {printable(text)}" for i, text in enumerate(talk.history)]
    return ["persona: " + " ".join(printable(fact) for fact in talk.persona), *said]


def _turns(talk: Talk, first: int) -> list[str]:
    rows = []
    for number, turn in enumerate(talk.turns[first:], first + 1):
        rows.append(f"{number}. [{printable(turn.goal)}]  reward {turn.reward:+.3f}")
        rows += [f"a: {printable(turn.line)}", f"b: {printable(turn.reply)}"]
    return rows


def render_text(talk: Talk) -> str:
    """The talk as text: the persona, then each turn's goal and reward, its line (`a:`) and its reply (`b:`)."""
    return "\n".join([*_head(talk), *_turns(talk, 0)])


class TerminalView:
    """Writes talks to standard output as they go on, each turn once."""

    def __init__(self) -> None:
        """Has shown nothing yet."""
        self._shown: dict[int, tuple[int, int]] = {}  # slot -> (episode seed, turns shown, the head counting as one)

    def show(self, talk: Talk, label: str = "") -> None:
        """Writes what of a talk was not written yet.

        Args:
            talk: the talk.
            label: what to put before its first new row, to tell talks apart.
        """
        from rich.console import Console  # here, because most environments are never shown

        episode, shown = self._shown.get(talk.slot, (-1, 0))
        if episode != talk.episode_seed or shown > len(talk.turns) + 1:
            shown = 0
        if shown == len(talk.turns) + 1:
            return
        console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        rows = _turns(talk, shown - 1) if shown else [*_head(talk), *_turns(talk, 0)]
        console.print(label + "\n".join(rows))
        self._shown[talk.slot] = (talk.episode_seed, len(talk.turns) + 1)


def render_image(talk: Talk) -> npt.NDArray[np.uint8]:
    """The talk as an image of `IMAGE_SIZE`, shape (height, width, 3); of a long talk, the persona and the newest rows."""
    from matplotlib.figure import Figure  # here, because it takes a second to import

    def wrapped(rows: list[str]) -> list[str]:
        return [part for row in rows for part in textwrap.wrap(row, _COLUMNS, subsequent_indent="   ") or [""]]

    head = wrapped(_head(talk))[: _ROWS // 2]
    turns = wrapped(_turns(talk, 0))
    rows = [*head, *turns[-(_ROWS - len(head)) :]]
    width, height = IMAGE_SIZE
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    figure.text(
        0.015, 0.985, "\n".join(rows), family="monospace", fontsize=8, va="top", ha="left", linespacing=1.15, parse_math=False
    )
    pixels = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)  # emoji become boxes
        figure.savefig(pixels, format="raw", dpi=_DPI)
    rgba = np.frombuffer(pixels.getvalue(), dtype=np.uint8).reshape(height, width, 4)
    return rgba[..., :3].copy()

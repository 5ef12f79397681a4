"""Options that commands of several modules have."""

from __future__ import annotations

from typing import Annotated

import typer

Seed = Annotated[int, typer.Option(min=0, help="Makes the run repeatable: the same seed gives the same result.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
Model = Annotated[str, typer.Option(help="Who speaks: persona-mini, a folder, or a hub id such as af1tang/personaGPT.")]

"""The README's Python examples run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from shared_data import CHECKOUT

README = CHECKOUT / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def test_the_readme_has_examples() -> None:
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_example_runs(
    number: int, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCKS[number], f"README example {number + 1}", "exec"), {"__name__": "readme"})
    if "print(" in BLOCKS[number]:
        assert capsys.readouterr().out.strip()

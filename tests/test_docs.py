"""What the documents point at is there."""

import re
from pathlib import Path

import pytest
from shared_data import checkout_path

LINK = re.compile(r"\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def documents() -> list[Path]:
    root = checkout_path("setup.cfg").parent
    return [
        path for path in (root / "README.md", root / "CHANGELOG.md", *sorted((root / "docs").rglob("*.md"))) if path.exists()
    ]


def relative_links(text: str) -> list[str]:
    """The targets of a Markdown text's links that are neither addresses nor places in the same document."""
    targets = LINK.findall(FENCE.sub("", text))
    return [target for target in targets if not re.match(r"[a-z]+:|#", target)]


def test_every_relative_link_resolves() -> None:
    missing = [
        f"{path.name}: {target}"
        for path in documents()
        for target in relative_links(path.read_text(encoding="utf-8"))
        if not (path.parent / target.split("#")[0]).exists()
    ]
    assert not missing


@pytest.mark.parametrize(
    ("text", "targets"),
    [
        ("[a](docs/a.md#part) and ![b](b.png)", ["docs/a.md#part", "b.png"]),
        ("[a](https://example.org/a) [b](#part) [c](mailto:a@example.org)", []),
        ("```\n[a](a.md)\n```\n[b](b.md)", ["b.md"]),
    ],
)
def test_relative_links_are_told_from_others(text: str, targets: list[str]) -> None:
    assert relative_links(text) == targets

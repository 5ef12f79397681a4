"""Lines come with their numbers from plain and gzipped files alike, or the file is refused with the place."""

import gzip
from pathlib import Path

import pytest

from convogym.errors import CorpusError
from convogym.lines import numbered_lines


@pytest.mark.parametrize("packed", [False, True])
def test_lines_keep_their_ends_and_lose_a_byte_order_mark(tmp_path: Path, packed: bool) -> None:
    content = "\ufeffa\r\n\nc\u2028d".encode()
    (tmp_path / "x").write_bytes(gzip.compress(content, mtime=0) if packed else content)
    assert list(numbered_lines(tmp_path / "x")) == [(1, "a\r\n"), (2, "\n"), (3, "c\u2028d")]


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0)])
def test_an_empty_file_has_no_lines(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    assert list(numbered_lines(tmp_path / "x")) == []


def test_what_is_no_text_is_refused_where_it_stands(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"a\nb\xe9\n")
    with pytest.raises(CorpusError, match=r"x:2: expected text in UTF-8, got 'byte 0xe9 at column 2'"):
        list(numbered_lines(tmp_path / "x"))


@pytest.mark.parametrize(
    "content", [gzip.compress(b"a\n" * 99, mtime=0)[:-9], b"\x1f\x8bhello", gzip.compress(b"a\n", mtime=0) + b"b"]
)
def test_a_broken_gzip_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CorpusError, match="expected a whole gzip file"):
        list(numbered_lines(tmp_path / "x"))

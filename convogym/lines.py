"""The numbered lines of a text file, gzipped or not. Knows nothing of what they say."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from convogym.errors import CorpusError

GZIP_MAGIC = b"\x1f\x8b"


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Every line with its 1-based number, its line end kept; a byte order mark before the first is left out.

    Args:
        path: the file; gzip is recognised by its content.

    Raises:
        CorpusError: it is not UTF-8, or a gzip file that ends or breaks.
        OSError: it cannot be read.
    """
    number = 0
    with open(path, "rb") as raw:
        source: Iterable[bytes] = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == GZIP_MAGIC else raw
        try:
            for number, line in enumerate(source, 1):
                yield number, _decoded(line, path, number)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise CorpusError(path, number + 1, "a whole gzip file", "data that ends or breaks here") from None


def _decoded(line: bytes, path: Path, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        got = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
        raise CorpusError(path, number, "text in UTF-8", got) from None

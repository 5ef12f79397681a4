"""Reads dialogues and personas from files, and writes dialogues. Knows file formats; leaves every text as released.

| format | file |
|---|---|
| `jsonl` | this project's: one dialogue a line, `.jsonl` or `.jsonl.gz` |
| `steered-talk` | the same, as the shipped corpus writes it |
| `convai2` | ConvAI2 / Persona-Chat text as ParlAI releases it |
| `transfertransfo` | `personachat_self_original.json` of TransferTransfo |
| `synthetic-persona-chat` | CSV of Synthetic-Persona-Chat |

A reader gives every dialogue of a file or raises `CorpusError`; it never skips what it cannot read. Any of the files may be
gzipped.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from convogym.dialogue import Dialogue, Persona, Turn
from convogym.errors import CorpusError, InputError, UnknownNameError
from convogym.lines import numbered_lines

SILENCE = "__SILENCE__"  # stands in ParlAI files for a partner who has said nothing yet
FACT_COLUMNS = ("Fact 1", "Fact 2", "Fact 3", "Fact 4", "Fact 5")  # header of the original convogym's persona CSV
_END_OF_TEXT = "<|endoftext|>"
_NO_TEXT = re.compile("[\\0\\ud800-\\udfff]")  # null bytes, and surrogates that JSON escapes can smuggle in
_NUMBERED = re.compile(r"(\d{1,9}) (.*)", re.DOTALL)
_SPC_COLUMNS = ("user 1 personas", "user 2 personas", "Best Generated Conversation")
_SPC_UTTERANCE = re.compile(r"\W*user ?([12])\W*?:\**\s*(.*)", re.IGNORECASE | re.DOTALL)


# What every format shares: lines with numbers, checked texts, checked dialogues -------------------


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Every line with its 1-based number, its line end kept; raises `CorpusError` where the file itself is unusable."""
    if path.is_dir():
        raise CorpusError(path, None, "a file", "a directory")
    if not path.exists():
        raise CorpusError(path, None, "a file", "nothing at this path")
    number = 0
    for number, line in numbered_lines(path):
        yield number, line
    if number == 0:
        raise CorpusError(path, None, "at least one dialogue", "an empty file")


def _text(value: object, path: Path, line: int, name: str) -> str:
    if not isinstance(value, str):
        raise CorpusError(path, line, f"{name} as text", json.dumps(value, default=str))
    if not value.strip() or _NO_TEXT.search(value):
        raise CorpusError(path, line, f"{name} that is not blank and has no null byte or half character", ascii(value))
    return value


def _texts(value: object, path: Path, line: int, name: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise CorpusError(path, line, f"a list of texts, each {name}", json.dumps(value, default=str))
    return tuple(_text(item, path, line, name) for item in value)


def _persona(facts: Iterable[str], path: Path, line: int | None) -> Persona | None:
    """A persona, None where there are no facts."""
    found = tuple(facts)
    try:
        return Persona(found) if found else None
    except InputError as error:
        raise CorpusError(path, line, "a usable persona", str(error)) from None


def _joined(said: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    """The utterances of an alternating talk, from (speaker, text) pairs: what one says in a row becomes one utterance."""
    last = 0
    texts: list[str] = []
    for speaker, text in said:
        if speaker == last:
            texts[-1] = f"{texts[-1]} {text.strip()}".strip()
        else:
            texts.append(text.strip())
        last = speaker
    return tuple(texts)


# The project's own format -------------------------------------------------------------------------


def _object_turn(value: Mapping[str, Any], path: Path, line: int) -> Turn:
    if "line" not in value:
        raise CorpusError(path, line, 'a turn with "line" and "reply"', json.dumps(value))
    reply = value.get("reply")
    goals, facts, candidates = value.get("goals"), value.get("facts"), value.get("candidates")
    if facts is not None and not (isinstance(facts, list) and all(type(fact) is int for fact in facts)):
        raise CorpusError(path, line, '"facts" as a list of integers', json.dumps(facts))
    return Turn(
        _text(value["line"], path, line, "a line"),
        None if reply is None else _text(reply, path, line, "a reply"),
        None if goals is None else _texts(goals, path, line, "a goal"),
        None if facts is None else tuple(facts),
        None if candidates is None else _texts(candidates, path, line, "a candidate"),
    )


def _record(value: object, path: Path, line: int, source: str) -> Dialogue:
    if not isinstance(value, dict) or not isinstance(value.get("turns"), list) or not value["turns"]:
        raise CorpusError(path, line, 'an object with a non-empty list "turns"', json.dumps(value))
    if "personas" in value:
        pair = value["personas"]
        if not isinstance(pair, list) or len(pair) != 2:
            raise CorpusError(path, line, "\"personas\" as [first speaker's, second speaker's]", json.dumps(pair))
        partner_facts, facts = pair
    else:
        partner_facts, facts = value.get("partner_persona"), value.get("persona")
    persona, partner = (
        None if given is None else _persona(_texts(given, path, line, "a fact"), path, line)
        for given in (facts, partner_facts)
    )
    name = value.get("source", source)
    if not isinstance(name, str):
        raise CorpusError(path, line, '"source" as text', json.dumps(name))
    turns: list[object] = value["turns"]
    try:
        if all(isinstance(turn, str) for turn in turns):
            said = tuple(_text(turn, path, line, "an utterance") for turn in turns)
            return Dialogue.from_utterances(said, persona, partner, name)
        if all(isinstance(turn, dict) for turn in turns):
            labelled = tuple(_object_turn(turn, path, line) for turn in turns if isinstance(turn, dict))
            return Dialogue(labelled, persona, partner, name)
    except CorpusError:
        raise
    except InputError as error:
        raise CorpusError(path, line, "a consistent dialogue", str(error)) from None
    raise CorpusError(path, line, '"turns" that are all texts or all objects', json.dumps(turns))


def read_jsonl(path: Path | str, source: str = "") -> list[Dialogue]:
    """Reads this project's JSON lines: one dialogue a line, its turns either all texts or all objects.

    ```
    {"source": ..., "personas": [first speaker's facts | null, second speaker's | null], "turns": ["hi!", "hello.", ...]}
    {"source": ..., "persona": [...] | null, "partner_persona": [...] | null,
     "turns": [{"line": ..., "reply": ... | null, "goals"?: [...], "facts"?: [...], "candidates"?: [...]}, ...]}
    ```
    The first speaker is speaker 1, so the second persona is the responder's. Other keys are ignored, blank lines too.

    Args:
        path: the file, gzipped or not.
        source: `Dialogue.source` of the dialogues that name none.

    Raises:
        CorpusError: something in the file is not what the format says.
    """
    path = Path(path)
    dialogues = []
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):  # no JSON, or a number too long for an int; or nested without end
            raise CorpusError(path, number, "one JSON object", line.strip()) from None
        dialogues.append(_record(value, path, number, source))
    return _some(dialogues, path)


def read_steered_talk(path: Path | str) -> list[Dialogue]:
    """Reads a file of the shipped steered-talk corpus, which is `read_jsonl`'s format with labelled turns."""
    return read_jsonl(path, source="steered-talk")


def _some(dialogues: list[Dialogue], path: Path) -> list[Dialogue]:
    if not dialogues:
        raise CorpusError(path, None, "at least one dialogue", "none")
    return dialogues


def _as_record(dialogue: Dialogue) -> dict[str, object]:
    turns = []
    for turn in dialogue.turns:
        record: dict[str, object] = {"line": turn.line, "reply": turn.reply}
        labels = {"goals": turn.goals, "facts": turn.facts, "candidates": turn.candidates}
        record.update({name: list(value) for name, value in labels.items() if value is not None})
        turns.append(record)
    return {
        "source": dialogue.source,
        "persona": None if dialogue.persona is None else list(dialogue.persona.facts),
        "partner_persona": None if dialogue.partner_persona is None else list(dialogue.partner_persona.facts),
        "turns": turns,
    }


def write_dialogues(path: Path | str, dialogues: Iterable[Dialogue]) -> None:
    """Writes JSON lines from which `read_jsonl` gives equal dialogues; gzipped where the name ends in `.gz`.

    The file appears only when it is complete, and equal dialogues make equal bytes.
    """
    path = Path(path)
    text = "".join(json.dumps(_as_record(dialogue), ensure_ascii=False) + "\n" for dialogue in dialogues)
    data = text.encode("utf-8")
    if path.suffix == ".gz":
        data = gzip.compress(data, mtime=0)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(data)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


# ConvAI2 / ParlAI ---------------------------------------------------------------------------------


def _is_silence(text: str) -> bool:
    # TransferTransfo's release has it tokenised: "__ SILENCE __"
    return text.replace(" ", "").upper() == SILENCE


def _from_said(
    said: list[str],
    choices: list[tuple[str, ...] | None],
    own: Persona | None,
    partner: Persona | None,
    source: str,
) -> Dialogue:
    """A dialogue whose last utterance is the persona owner's; the owner is the responder, unless it also spoke first.

    Args:
        said: what was said, in turn.
        choices: for each utterance the candidates it was one of.
        own: the owner's persona.
        partner: the other speaker's.
        source: the corpus.
    """
    if len(said) % 2:
        return Dialogue.from_utterances(tuple(said), partner, own, source)
    turns = tuple(Turn(said[i], said[i + 1], candidates=choices[i + 1]) for i in range(0, len(said), 2))
    return Dialogue(turns, own, partner, source)


def read_convai2(path: Path | str) -> list[Dialogue]:
    """Reads ConvAI2 text: numbered lines, `your persona: ` and `partner's persona: ` first, then text, tab, reply.

    A number that starts again at 1 starts a dialogue. Candidates (a fourth field, parted by `|`) are kept. The owner of
    "your persona" is the responder; where `__SILENCE__` opens, the owner speaks first and is speaker 1 (as PersonaGPT's
    preprocessing has it), so the partner's persona becomes the responder's, and the candidates are left out, because they are
    for speaker 1's lines.

    Raises:
        CorpusError: something in the file is not what the format says.
    """
    path = Path(path)
    dialogues: list[Dialogue] = []
    own: list[str] = []
    partner: list[str] = []
    said: list[str] = []
    choices: list[tuple[str, ...] | None] = []
    first_line = previous = 0

    def close() -> None:
        if not said:
            raise CorpusError(path, first_line, "a dialogue with at least one text and reply", "persona lines only")
        personas = [_persona(facts, path, first_line) for facts in (own, partner)]
        dialogues.append(_from_said(said, choices, personas[0], personas[1], "convai2"))

    for number, line in _lines(path):
        line = line.rstrip("\r\n")
        if not line.strip():
            continue
        match = _NUMBERED.fullmatch(line)
        if match is None:
            raise CorpusError(path, number, "a line number, a blank and text", line)
        index, rest = int(match[1]), match[2]
        if index == 1:
            if previous:
                close()
            own, partner, said, choices, first_line = [], [], [], [], number
        elif index != previous + 1:
            raise CorpusError(path, number, f"the number 1 or {previous + 1}", line)
        previous = index
        for opening, facts in (("your persona:", own), ("partner's persona:", partner)):
            if rest.startswith(opening):
                if said:
                    raise CorpusError(path, number, "persona lines before the talk only", line)
                facts.append(_text(rest.removeprefix(opening).strip(), path, number, "a fact"))
                break
        else:
            fields = rest.split("\t")
            if len(fields) not in (2, 4) or (len(fields) == 4 and fields[2].strip()):
                raise CorpusError(path, number, "text, tab, reply (and two tabs, candidates parted by |)", line)
            text, reply = (_text(field, path, number, "an utterance").strip() for field in fields[:2])
            if said and _is_silence(text):
                raise CorpusError(path, number, f"{SILENCE} at the start of a dialogue only", line)
            candidates = None
            if len(fields) == 4:
                candidates = tuple(_text(item, path, number, "a candidate").strip() for item in fields[3].split("|"))
            if candidates is not None and reply not in candidates:
                raise CorpusError(path, number, "candidates with the reply among them", reply)
            new = [] if _is_silence(text) else [text]
            said += [*new, reply]
            choices += [*(None for _ in new), candidates]
    if previous:
        close()
    return _some(dialogues, path)


# TransferTransfo ----------------------------------------------------------------------------------


def read_transfertransfo(path: Path | str, split: str | None = None) -> list[Dialogue]:
    """Reads TransferTransfo's JSON: a list of dialogues, or an object of such lists by split ("train", "valid").

    A dialogue is `{"personality": [...], "utterances": [{"candidates": [..., the true reply], "history": [...]}, ...]}`; the
    personality is that of who replies. Histories grow by two utterances. Silence and candidates are as in `read_convai2`.

    Args:
        path: the file, gzipped or not.
        split: the only split to read; None = all, in the file's order.

    Raises:
        CorpusError: something in the file is not what the format says.
        UnknownNameError: the file has no such split.
    """
    path = Path(path)
    text = "".join(line for _, line in _lines(path))
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise CorpusError(path, error.lineno, "JSON", f"{error.msg} at column {error.colno}") from None
    except ValueError as error:
        raise CorpusError(path, None, "JSON with numbers of a few digits", str(error)) from None
    except RecursionError:
        raise CorpusError(path, None, "JSON of a few levels", "lists or objects nested without end") from None
    splits = data if isinstance(data, dict) else {"all": data}
    if split is not None:
        if split not in splits:
            raise UnknownNameError("split", split, splits)
        splits = {split: splits[split]}
    dialogues = []
    for name, records in splits.items():
        if not isinstance(records, list):
            raise CorpusError(path, None, f"a list of dialogues as split {name!r}", json.dumps(records))
        for position, record in enumerate(records):
            dialogues.append(_personality_record(record, path, f"in dialogue {position} of split {name!r}"))
    return _some(dialogues, path)


def _personality_record(record: object, path: Path, where: str) -> Dialogue:
    """One dialogue of TransferTransfo; `where` is the place that errors name, because the release is one long line."""

    def must(condition: bool, expected: str, got: object) -> None:
        if not condition:
            raise CorpusError(path, None, f"{expected} {where}", json.dumps(got))

    if not isinstance(record, dict) or not isinstance(record.get("utterances"), list) or not record["utterances"]:
        expected = f'an object with "personality" and a non-empty list "utterances" {where}'
        raise CorpusError(path, None, expected, json.dumps(record))

    def texts(value: object, name: str) -> list[str]:
        def usable(item: object) -> bool:
            return isinstance(item, str) and bool(item.strip()) and not _NO_TEXT.search(item)

        if not isinstance(value, list) or not all(usable(item) for item in value):
            raise CorpusError(path, None, f"a list of texts, none blank, as {name} {where}", json.dumps(value))
        return value

    said: list[str] = []
    choices: list[tuple[str, ...] | None] = []
    for exchange in record["utterances"]:
        must(isinstance(exchange, dict), 'an object with "candidates" and "history"', exchange)
        history = texts(exchange.get("history"), '"history"')
        candidates = texts(exchange.get("candidates"), '"candidates"')
        must(bool(history) and bool(candidates), 'a non-empty "history" and "candidates"', exchange)
        new = history[-1:] if said else history[1:] if _is_silence(history[0]) else history
        said += [*new, candidates[-1]]
        choices += [*(None for _ in new), tuple(candidates)]
    own = _persona(texts(record.get("personality", []), '"personality"'), path, None)
    return _from_said(said, choices, own, None, "transfertransfo")


# Synthetic-Persona-Chat ---------------------------------------------------------------------------


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV with a header, each with the number of its first line; every row has every column of the header."""
    reader = csv.reader((line for _, line in _lines(path)), strict=True)
    header: list[str] = []
    while True:
        start = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise CorpusError(path, reader.line_num, "a CSV row", str(error)) from None
        if row is None:
            return
        if not row:
            continue
        if not header:
            header = [name.strip() for name in row]
        elif len(row) != len(header):
            raise CorpusError(path, start, f"{len(header)} columns ({', '.join(header)})", f"{len(row)}: {','.join(row)}")
        else:
            yield start, dict(zip(header, row, strict=True))


def read_synthetic_persona_chat(path: Path | str) -> list[Dialogue]:
    """Reads Synthetic-Persona-Chat's CSV; whoever opens the talk is speaker 1.

    Columns "user 1 personas" and "user 2 personas" hold a fact a line, "Best Generated Conversation" lines "User 1: ..." and
    "User 2: ..."; a line without a speaker goes on with the utterance before it.

    Raises:
        CorpusError: something in the file is not what the format says.
    """
    path = Path(path)
    dialogues = []
    for number, row in _rows(path):
        for column in _SPC_COLUMNS:
            if column not in row:
                raise CorpusError(path, 1, f"a column {column!r}", ", ".join(row))
        personas = [
            _persona((fact.strip() for fact in row[name].split("\n") if fact.strip()), path, number)
            for name in _SPC_COLUMNS[:2]
        ]
        said: list[tuple[int, str]] = []
        for line in row[_SPC_COLUMNS[2]].split("\n"):
            if not line.strip():
                continue
            match = _SPC_UTTERANCE.fullmatch(line)
            if match:
                said.append((int(match[1]), match[2]))
            elif said:
                said.append((said[-1][0], line.strip()))
            else:
                raise CorpusError(path, number, 'a conversation of lines "User 1: ..." and "User 2: ..."', line)
        if not said:
            raise CorpusError(path, number, 'a conversation of lines "User 1: ..." and "User 2: ..."', row[_SPC_COLUMNS[2]])
        opener = said[0][0]
        utterances = tuple(_text(text, path, number, "an utterance") for text in _joined(said))
        dialogues.append(
            Dialogue.from_utterances(utterances, personas[2 - opener], personas[opener - 1], "synthetic-persona-chat")
        )
    return _some(dialogues, path)


# Any of them --------------------------------------------------------------------------------------

FORMATS: Mapping[str, Callable[[Path], list[Dialogue]]] = {
    "jsonl": read_jsonl,
    "convai2": read_convai2,
    "transfertransfo": read_transfertransfo,
    "synthetic-persona-chat": read_synthetic_persona_chat,
    "steered-talk": read_steered_talk,
}
_SUFFIXES = {".jsonl": "jsonl", ".json": "transfertransfo", ".csv": "synthetic-persona-chat", ".txt": "convai2"}


def _format_of(path: Path) -> str:
    """The format of a file, from its first line that is not blank, and where that says nothing, from its name."""
    first = next((line.strip() for _, line in _lines(path) if line.strip()), "")
    if _NUMBERED.fullmatch(first):
        return "convai2"
    if first.startswith("{"):
        try:
            record = json.loads(first)
        except (ValueError, RecursionError):
            record = {}
        if "turns" in record:
            return "jsonl" if "source" in record or "persona" not in record else "steered-talk"
    if first.startswith("[") or first == "{":
        return "transfertransfo"
    if _SPC_COLUMNS[0] in first:
        return "synthetic-persona-chat"
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in _SUFFIXES:
        raise CorpusError(path, 1, f"a dialogue file of a known format ({', '.join(FORMATS)}); name the format", first)
    return _SUFFIXES[suffix]


def read_dialogues(path: Path | str, format: str | None = None) -> list[Dialogue]:
    """Reads a file of dialogues.

    Args:
        path: the file, gzipped or not.
        format: one of `FORMATS`; None = told from the file's first line and its name.

    Raises:
        CorpusError: something in the file is not what the format says, or nothing tells its format.
        UnknownNameError: no such format.
    """
    if format is not None and format not in FORMATS:
        raise UnknownNameError("format", format, FORMATS)
    path = Path(path)
    return FORMATS[format or _format_of(path)](path)


def _read_persona_csv(path: Path) -> list[Persona]:
    personas = []
    for number, row in _rows(path):
        facts = [row.get(column, "").strip().removesuffix(_END_OF_TEXT).strip() for column in FACT_COLUMNS]
        persona = _persona((fact for fact in facts if fact), path, number)
        if persona is None:
            raise CorpusError(path, number, "at least one fact", ",".join(row.values()))
        personas.append(persona)
    if not personas:
        raise CorpusError(path, None, "at least one persona", "none")
    return personas


def read_personas(path: Path | str) -> list[Persona]:
    """Reads personas: the rows of the original convogym's CSV, or the distinct personas of a dialogue file, both speakers'.

    The CSV's columns are `Fact 1` ... `Fact 5`, the later ones may be empty. In a dialogue file, personas with the same facts
    in another order are one.

    Args:
        path: the file, gzipped or not.

    Raises:
        CorpusError: something in the file is not what its format says, or there is no persona in it.
    """
    path = Path(path)
    first = next((line for _, line in _lines(path) if line.strip()), "")
    if FACT_COLUMNS[0] in first.split(",")[0]:
        return _read_persona_csv(path)
    distinct: dict[frozenset[str], Persona] = {}
    for dialogue in read_dialogues(path):
        for persona in (dialogue.persona, dialogue.partner_persona):
            if persona is not None:
                distinct.setdefault(frozenset(persona.facts), persona)
    if not distinct:
        raise CorpusError(path, None, "at least one dialogue with a persona", "none")
    return list(distinct.values())

"""What is written: records by file, their labels, and the files' bytes."""

import gzip
import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard


@dataclass(slots=True)
class Entry:
    """One record and what should become of it.

    `expected` is keep or a reason, `stage` the stage that says so. `group` ties near duplicates of one day, of which
    one is kept; `spans` are the kinds of secrets or personal data inside; `prompt` marks a task without an attempt.
    """

    record: Any
    expected: str = "keep"
    stage: str = "screened"
    note: str = ""
    necessary: bool | None = None
    shape: str = "openai_chat"
    spans: list[str] = field(default_factory=list)
    group: str | None = None
    prompt: bool = False


@dataclass(slots=True)
class Corpus:
    """All files of a tree of traces, and the labels of all records in them."""

    files: dict[str, bytes] = field(default_factory=dict)
    labels: list[dict[str, Any]] = field(default_factory=list)

    def add(self, path: str, entries: list[Entry]) -> None:
        """A file of these entries; its suffixes say how they are laid out and packed."""
        name = path.removesuffix(".gz").removesuffix(".zst")
        records = [entry.record for entry in entries]
        data = _LAYOUTS[name.rpartition(".")[2]](records)
        if path.endswith(".gz"):
            data = gzip.compress(data, mtime=0)
        elif path.endswith(".zst"):
            data = zstandard.ZstdCompressor(level=9).compress(data)
        self.files[path] = data
        for index, entry in enumerate(entries):
            self.label(path, index, entry)

    def add_cut(self, path: str, entries: list[Entry], lost: Entry) -> None:
        """A gzip file of two members: the entries, and half of what held one more record.

        Two members, because where a cut member stops being readable is up to the zlib that wrote it.
        """
        whole = gzip.compress(lines([entry.record for entry in entries]), mtime=0)
        half = gzip.compress(lines([lost.record]), mtime=0)
        self.files[path] = whole + half[: len(half) // 2]
        for index, entry in enumerate([*entries, lost]):
            self.label(path, index, entry)

    def label(self, path: str, index: int, entry: Entry) -> None:
        """Say what should become of a record."""
        label = {"path": path, "index": index, **asdict(entry)}
        del label["record"]
        self.labels.append({key: value for key, value in label.items() if value or key in ("index", "necessary")})

    def write(self, out: Path) -> None:
        """Write all files under `traces/`, and `labels.jsonl` beside it."""
        for path, data in self.files.items():
            target = out / "traces" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        self.labels.sort(key=lambda label: (label["path"], label["index"]))
        (out / "labels.jsonl").write_bytes(lines(self.labels))


def lines(records: list[Any]) -> bytes:
    """JSON Lines; a record that is text already is its own line."""
    texts = [record if isinstance(record, str) else json.dumps(record, ensure_ascii=False) for record in records]
    return "".join(f"{text}\n" for text in texts).encode()


def _document(records: list[Any]) -> bytes:
    """The one record as a JSON document, or several as an array."""
    held = records[0] if len(records) == 1 else records
    return json.dumps(held, ensure_ascii=False, indent=1).encode() + b"\n"


def _text(records: list[str]) -> bytes:
    return "".join(records).encode()


def _parquet(records: list[dict[str, Any]]) -> bytes:
    table = pa.Table.from_pylist(records)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


_LAYOUTS = {"jsonl": lines, "json": _document, "txt": _text, "parquet": _parquet}

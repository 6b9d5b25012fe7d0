"""Taking purged trajectories out of the answers files: a question and its answer are content too."""

import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from pipeline.answers.reading import ID_FIELDS
from pipeline.errors import AnswersError
from pipeline.landing.zone import answers_files, list_days, source_of
from pipeline.store import TableStore, write_file
from pipeline.tasks import normalise_prompt, normalised_prompt

_NAMED = ("trajectory_id", *ID_FIELDS)

IsGone = Callable[[dict[str, Any]], bool]


@dataclass(frozen=True, slots=True)
class _Keys:
    """What an answer that belongs to nobody else any more may be filed under."""

    ids: set[str]
    prompts: set[str]

    def fit(self, answer: dict[str, Any]) -> bool:
        """Whether the answer is filed under any of them; a prompt may stand in any column."""
        if any(str(answer[name]) in self.ids for name in _NAMED if answer.get(name) is not None):
            return True
        return any(isinstance(cell, str) and normalise_prompt(cell) in self.prompts for cell in answer.values())


def purge_answers(store: TableStore, rows: pl.DataFrame) -> list[Path]:
    """Remove the answers of the purged `rows` that no other row of their source uses; the files touched.

    A file that holds no other answer is removed. Raises AnswersError for one that cannot be read.
    Reads: trajectory_id, source, task_id, prompt, metadata of the rows, and of all others from the store.
    """
    raw = store.root / "raw"
    files = [path for day in list_days(raw) for path in answers_files(raw, day)]
    by_source = {source: _keys(store, rows, source) for source in {source_of(raw, path) for path in files}}
    return [path for path in files if _without(path, by_source[source_of(raw, path)].fit)]


def _keys(store: TableStore, rows: pl.DataFrame, source: str) -> _Keys:
    """The keys of the purged rows in the answers files of a source, but for those that other rows of it have as well.

    A prompt is looked for in every source: it is the content itself. An id that a source gave means nothing elsewhere.
    """
    ids = set(rows["trajectory_id"].to_list())
    mine = rows.filter(pl.col("source") == source)
    names = _source_ids(mine.lazy()) | set(rows["task_id"].drop_nulls().to_list())
    prompts = {prompt for text in rows["prompt"].drop_nulls() if (prompt := normalise_prompt(text))}
    held = store.scan_days("trajectories", store.days("trajectories"))
    if held is not None:
        others = held.filter(pl.col("source") == source, ~pl.col("trajectory_id").is_in(list(ids)))
        names -= _source_ids(others, among=names)
        names -= _values(others, pl.col("task_id"), among=names)
        prompts -= _values(others, normalised_prompt(pl.col("prompt")), among=prompts)
    return _Keys(ids | names, prompts)


def _source_ids(rows: pl.LazyFrame, *, among: Iterable[str] | None = None) -> set[str]:
    """The ids that the source itself gave these rows, of the named ones if any are."""
    found: set[str] = set()
    for name in ID_FIELDS:
        found |= _values(rows, pl.col("metadata").str.json_path_match(f"$['{name}']"), among=among)
    return found


def _values(rows: pl.LazyFrame, value: pl.Expr, *, among: Iterable[str] | None) -> set[str]:
    found = rows.select(value=value).filter(pl.col("value").is_not_null())
    if among is not None:
        found = found.filter(pl.col("value").is_in(list(among)))
    return set(found.unique().collect()["value"].to_list())


def _without(path: Path, is_gone: IsGone) -> bool:
    """Rewrite an answers file without the answers that are gone; whether there were any."""
    try:
        left = _REWRITERS.get(path.suffix.lower(), _left_of_json)(path.read_bytes(), is_gone)
    except (OSError, ValueError, pl.exceptions.PolarsError) as error:
        told = str(error).partition("\n")[0]
        raise AnswersError(f"{path}: cannot be read ({told}); mend or remove it, then purge again") from error
    if left is None:
        return False
    if left:
        write_file(path, left)
    else:
        path.unlink()
    return True


def _left_of_lines(content: bytes, is_gone: IsGone) -> bytes | None:
    """The lines that stay; None if all do, nothing if none does. The same for the other kinds."""
    lines = content.splitlines(keepends=True)
    kept = [line for line in lines if not line.strip() or not is_gone(_as_answer(orjson.loads(line)))]
    if len(kept) == len(lines):
        return None
    return b"".join(kept) if b"".join(kept).strip() else b""


def _left_of_json(content: bytes, is_gone: IsGone) -> bytes | None:
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return _left_of_lines(content, is_gone)
    if isinstance(value, dict) and not is_gone(value):
        filed = {key: _as_answer(held) | {"id": key, "prompt": key} for key, held in value.items()}
        kept: Any = {key: held for key, held in value.items() if not is_gone(filed[key])}
    else:
        kept = [held for held in (value if isinstance(value, list) else [value]) if not is_gone(_as_answer(held))]
    if kept == value:
        return None
    return orjson.dumps(kept) if kept else b""


def _left_of_csv(content: bytes, is_gone: IsGone) -> bytes | None:
    kept = _left_of_frame(pl.read_csv(io.BytesIO(content), infer_schema=False), is_gone)
    if kept is None or kept.is_empty():
        return None if kept is None else b""
    return kept.write_csv().encode()


def _left_of_parquet(content: bytes, is_gone: IsGone) -> bytes | None:
    kept = _left_of_frame(pl.read_parquet(io.BytesIO(content)), is_gone)
    if kept is None or kept.is_empty():
        return None if kept is None else b""
    out = io.BytesIO()
    kept.write_parquet(out)
    return out.getvalue()


def _left_of_frame(frame: pl.DataFrame, is_gone: IsGone) -> pl.DataFrame | None:
    stays = pl.Series([not is_gone(row) for row in frame.iter_rows(named=True)], dtype=pl.Boolean)
    return None if stays.all() else frame.filter(stays)


def _as_answer(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"answer": value}


_REWRITERS = {
    ".jsonl": _left_of_lines,
    ".ndjson": _left_of_lines,
    ".csv": _left_of_csv,
    ".parquet": _left_of_parquet,
}

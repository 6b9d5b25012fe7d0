"""Reading an answers file: JSON Lines, JSON, CSV or Parquet, into keys and values."""

import json
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from pipeline.errors import AnswersError
from pipeline.tasks import normalise_prompt

ID_FIELDS = (
    "task_id",
    "id",
    "idx",
    "index",
    "instance_id",
    "question_id",
    "problem_id",
    "record_id",
    "sample_id",
    "example_id",
    "qid",
    "uid",
    "uuid",
    "_id",
)
"""Names an id goes by, in the answers file and in a record's metadata."""

_PROMPTS = ("prompt", "question", "problem", "query", "instruction")
_TRUTHS = ("ground_truth", "answer", "target", "gold", "reference", "answers", "expected", "label", "gt")
_SUCCESSES = ("success", "passed", "resolved", "correct", "is_correct")
_REWARDS = ("reward", "score")
_NAMES = ("trajectory_id", *ID_FIELDS, *_PROMPTS, *_TRUTHS, *_SUCCESSES, *_REWARDS)
_WANTED = "want a key (trajectory_id, task_id, id or prompt) and a value (ground_truth, answer, success or reward)"
_SHOWN = 5

ANSWERS: dict[str, type[pl.DataType]] = {
    "answer": pl.UInt32,
    "trajectory_id": pl.String,
    "id": pl.String,
    "id_field": pl.String,
    "prompt": pl.String,
    "ground_truth": pl.String,
    "success": pl.Boolean,
    "reward": pl.Float64,
}
"""One row per key: `answer` numbers them, `id_field` is the column `id` came from, `prompt` is normalised."""


def read_answers(path: Path) -> pl.DataFrame:
    """The answers in a file, as ANSWERS; equal duplicates become one.

    Columns go by the names above. A ground truth that is a list or object becomes JSON text, a list of texts being
    several accepted answers. Raises AnswersError where the file cannot be read, lacks a key or a value, or says
    two things of one key.
    """
    rows = _load(path)
    names = list(dict.fromkeys(name for row in rows for name in row))
    key_names = [
        next((name for name in known if name in names), None) for known in (("trajectory_id",), ID_FIELDS, _PROMPTS)
    ]
    value_names = [next((name for name in known if name in names), None) for known in (_TRUTHS, _SUCCESSES, _REWARDS)]
    if not any(key_names) or not any(value_names):
        found = ", ".join(names) or "no columns"
        raise AnswersError(f"{path}: {_WANTED}, found {found}; rename the columns")
    trajectory, identity, prompt = key_names
    truth, success, reward = value_names
    faults: list[str] = []
    records = [
        {
            "trajectory_id": _text(row.get(trajectory)) if trajectory else None,
            "id": _text(row.get(identity)) if identity else None,
            "id_field": identity,
            "prompt": (normalise_prompt(_text(row.get(prompt)) or "") or None) if prompt else None,
            "ground_truth": _text(row.get(truth)) if truth else None,
            "success": _flag(row.get(success), position, success, faults) if success else None,
            "reward": _number(row.get(reward), position, reward, faults) if reward else None,
        }
        for position, row in enumerate(rows, start=1)
    ]
    for position, record in enumerate(records, start=1):
        if not (record["trajectory_id"] or record["id"] or record["prompt"]):
            faults.append(f"record {position}: no key")
    if faults:
        raise AnswersError(f"{path}: {_some(faults)}; mend these records")
    schema = {name: dtype for name, dtype in ANSWERS.items() if name != "answer"}
    frame = pl.DataFrame(records, schema=schema).with_row_index("record", offset=1)
    frame = frame.unique(list(schema), keep="first", maintain_order=True)
    _refuse_conflicts(frame, path)
    return frame.drop("record").with_row_index("answer").cast({"answer": pl.UInt32})


def _load(path: Path) -> list[dict[str, Any]]:
    """The records of the file, whichever of the four kinds it is."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            rows = pl.read_parquet(path).to_dicts()
        elif suffix == ".csv":
            rows = pl.read_csv(path, infer_schema=False).to_dicts()
        elif suffix == ".json":
            rows = _json_rows(path.read_bytes(), path)
        elif suffix in (".jsonl", ".ndjson"):
            rows = _json_lines(path.read_bytes(), path)
        else:
            raise AnswersError(
                f"{path}: want .jsonl, .json, .csv or .parquet, found {suffix or 'no suffix'}; convert it"
            )
    except OSError as error:
        raise AnswersError(f"{path}: cannot be read ({error.strerror}); name an existing file") from error
    except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
        raise AnswersError(f"{path}: not {suffix[1:]}: {str(error).splitlines()[0]}; mend the file") from error
    wrong = next((k for k, row in enumerate(rows, start=1) if not isinstance(row, dict)), None)
    if wrong is not None:
        raise AnswersError(
            f"{path}: record {wrong}: want a JSON object, found {type(rows[wrong - 1]).__name__}; mend it"
        )
    if not rows:
        raise AnswersError(f"{path}: want at least one record, found none; name a file with answers")
    return rows


def _json_rows(content: bytes, path: Path) -> list[Any]:
    """The values of a JSON list, of an object that maps keys to answers, or of JSON Lines."""
    try:
        value = _decode(content)
    except ValueError:
        return _json_lines(content, path)
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and not any(name in value for name in _NAMES):
        return [{"id": key, **(held if isinstance(held, dict) else {"answer": held})} for key, held in value.items()]
    return [value]


def _json_lines(content: bytes, path: Path) -> list[Any]:
    """One value per line that is not blank."""
    rows: list[Any] = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(_decode(line))
        except ValueError as error:
            raise AnswersError(f"{path}: line {number}: want JSON, found {line[:60]!r} ({error}); mend it") from error
    return rows


def _decode(content: bytes) -> Any:
    """The JSON value, NaN allowed: pandas and Python write it. Raises ValueError."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        if b"NaN" not in content and b"Infinity" not in content:
            raise
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _refuse_conflicts(frame: pl.DataFrame, path: Path) -> None:
    """Raise AnswersError for a main key that comes with different values; the main key is the first one there is.

    Reads the columns of ANSWERS and `record`, each row's place in the file from 1.
    """
    key = next(name for name in ("trajectory_id", "id", "prompt") if frame[name].count())
    values = pl.struct("ground_truth", "success", "reward")
    clashes = (
        frame.filter(pl.col(key).is_not_null())
        .group_by(key, maintain_order=True)
        .agg(values.n_unique().alias("num_values"), pl.col("record").head(4))
        .filter(pl.col("num_values") > 1)
    )
    if clashes.height:
        # by number and not by key: a prompt in an error message would outlive its purge in Dagster's history
        listed = _some(
            [
                f"{count} different answers in records {', '.join(map(str, rows))}"
                for _, count, rows in clashes.iter_rows()
            ]
        )
        raise AnswersError(f"{path}: want one answer per {key}, found {listed}; keep one of each")


def _some(faults: list[str]) -> str:
    """The first few faults, and how many more there are."""
    more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    return "; ".join(faults[:_SHOWN]) + more


def _text(value: Any) -> str | None:
    """A key or ground truth as text; a whole float as the integer it is, structures as JSON."""
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, list | dict | bool):
        return orjson.dumps(value, default=str).decode()
    return str(value)


def _flag(value: Any, position: int, name: str, faults: list[str]) -> bool | None:
    """A recorded success; a value that is neither yes nor no is a fault."""
    if value is None or isinstance(value, bool):
        return value
    known = {
        "true": True,
        "1": True,
        "1.0": True,
        "yes": True,
        "false": False,
        "0": False,
        "0.0": False,
        "no": False,
        "": None,
    }
    if str(value).lower() not in known:
        faults.append(f"record {position}: {name}: want true or false, found {str(value)[:40]!r}")
        return None
    return known[str(value).lower()]


def _number(value: Any, position: int, name: str, faults: list[str]) -> float | None:
    """A recorded reward; NaN is none, and a text that is no number a fault."""
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        faults.append(f"record {position}: {name}: want a number, found {str(value)[:40]!r}")
        return None
    return number if number == number else None

"""How far the estimated `num_tokens` is from a real tokenizer's count, per source of trajectories.

Run: `python -m benchmarks.tokens [DATA_ROOT]` over a curated data root; the tokenizer is Tekken (131k pieces), which
ships with the package mistral-common. Writes benchmarks/tokens.json.
"""

import sys
from pathlib import Path

import mistral_common
import orjson
import polars as pl
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

from assets.settings import load_settings
from pipeline.store import TableStore
from pipeline.tokens import TokenCounter

_ROWS_PER_SOURCE = 200


def measure(root: Path) -> list[dict[str, object]]:
    """Per source: trajectories, true tokens, and the estimate as a ratio of them, templates' overhead left out."""
    folder = Path(mistral_common.__file__).parent / "data"
    tokenizer = Tekkenizer.from_file(folder / "tekken_240911.json")
    store = TableStore(root)
    rows = store.scan_days("trajectories", store.days("trajectories"))
    if rows is None:
        sys.exit(f"nothing curated under {root}; run `make demo` first")
    found = rows.filter(pl.col("reason").is_null()).sort("trajectory_id").group_by("source").head(_ROWS_PER_SOURCE)
    result = []
    for (source,), group in sorted(found.collect().group_by("source"), key=lambda item: str(item[0])):
        texts = TokenCounter(None).add_num_tokens(group)
        overhead = 4 * int(group["messages"].list.len().sum())
        true = sum(len(tokenizer.encode(text, bos=False, eos=False)) for text in _texts(group))
        estimate = int(texts["num_tokens"].sum()) - overhead
        result.append(
            {"source": source, "rows": group.height, "tokens": true, "estimate_ratio": round(estimate / true, 3)}
        )
    return result


def _texts(rows: pl.DataFrame) -> list[str]:
    """What each trajectory says: contents, reasoning, call names and arguments."""
    texts = []
    for messages in rows["messages"].to_list():
        parts = []
        for item in messages:
            parts += [item["content"] or "", item["reasoning"] or ""]
            parts += [f"{call['name']} {call['arguments']}" for call in item["tool_calls"] or ()]
        texts.append(" ".join(parts))
    return texts


if __name__ == "__main__":
    measured = measure(Path(sys.argv[1]) if len(sys.argv) > 1 else load_settings().data)
    (Path(__file__).parent / "tokens.json").write_bytes(orjson.dumps(measured, option=orjson.OPT_INDENT_2) + b"\n")
    for line in measured:
        print(line)

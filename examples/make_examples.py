"""Write the sample traces: `python -m examples.make_examples --out examples`; the same bytes every time.

With `--copies N --vary` it writes a stream of N records for benchmarks instead (see `stream.py`).
"""

import argparse
import shutil
from pathlib import Path

from examples import special
from examples.corpus import Corpus, Entry
from examples.gold import gold, parsed
from examples.pool import Pool
from examples.readme import readme
from examples.shapes_json import otlp
from examples.sources import SOURCES, Source, entries
from examples.special import DAYS, Copies
from examples.stream import write_stream
from examples.world_traces import add_world

FILES = {
    "harbour_desk": ("chat.jsonl", "chat.jsonl.zst", "chat.jsonl"),
    "pilots": ("runs.jsonl",) * 3,
    "almanac": ("dialogues.json", "dialogues.json", "dialogues.json.gz"),
    "lookup_walk": ("walks.jsonl",) * 3,
    "workbench": ("runs.jsonl", "runs.jsonl.zst", "runs.jsonl"),
    "parley": ("talks.txt", "talks.txt", "talks.txt.gz"),
    "reckoner": ("sums.jsonl", "sums.jsonl.gz", "sums.jsonl"),
    "lantern": ("queries.jsonl",) * 3,
    "logbook": ("trajectories.jsonl",) * 3,
    "lens": ("rows.parquet",) * 3,
}
NIGHT = "chat-night.jsonl.gz"
"""Where long records and those with secrets go: packed, they are small, and no scanner of repositories stumbles."""
SEED = 20250101


def build(seed: int) -> Corpus:
    """All files and labels."""
    corpus, pool = Corpus(), Pool(seed)
    by_name = {source.name: source for source in SOURCES}
    copies = {name: Copies(by_name[name], pool) for name in ("harbour_desk", "almanac")}
    for day, folder in enumerate(DAYS):
        for source in SOURCES:
            made = entries(source, day, pool)
            if source.name in copies:
                made += copies[source.name].of_day(day)
            if source.name == "harbour_desk":
                made += special.contaminated(pool, day)
            _add(corpus, source, day, folder, made)
    special.add_answers_apart(corpus, pool)
    special.add_prompts(corpus, pool)
    special.add_attic(corpus, pool)
    add_world(corpus)
    return corpus


def _add(corpus: Corpus, source: Source, day: int, folder: str, made: list[Entry]) -> None:
    """The files of a source's day."""
    place = f"{source.name}/{folder}"
    if source.name == "notary":
        for k, entry in enumerate(made):
            path = f"{place}/session-{k:02d}.jsonl"
            corpus.add(path, [Entry(event) for event in entry.record])
            corpus.labels = [label for label in corpus.labels if label["path"] != path]
            corpus.label(path, 0, entry)
    elif source.name == "beacon":
        path = f"{place}/export.json"
        corpus.add(path, [Entry(otlp([entry.record for entry in made]))])
        corpus.labels = [label for label in corpus.labels if label["path"] != path]
        for k, entry in enumerate(made):
            corpus.label(path, k, entry)
    elif source.name == "harbour_desk":
        night = [entry for entry in made if entry.spans or entry.expected == "overlong"]
        corpus.add(f"{place}/{FILES[source.name][day]}", [entry for entry in made if entry not in night])
        corpus.add(f"{place}/{NIGHT}", night)
    else:
        corpus.add(f"{place}/{FILES[source.name][day]}", made)


def write_examples(out: Path, seed: int = SEED) -> None:
    """Write traces, labels, gold labels, benchmark and README under `out`, replacing the traces there."""
    corpus = build(seed)
    if (out / "traces").exists():
        shutil.rmtree(out / "traces")
    out.mkdir(parents=True, exist_ok=True)
    corpus.write(out)
    (out / "gold.jsonl").write_bytes(gold(corpus.labels, parsed(out / "traces")))
    (out / "benchmark.jsonl").write_bytes(special.benchmark())
    (out / "README.md").write_text(readme(corpus.labels, corpus.files), encoding="utf-8")


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description="Write the sample traces, or a stream of records for benchmarks.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--seed", type=int, default=SEED, help="another seed gives other traces")
    parser.add_argument("--copies", type=int, default=0, help="write a stream of this many records instead")
    parser.add_argument("--vary", action="store_true", help="with --copies: vary the records (without: one record)")
    options = parser.parse_args()
    if options.copies:
        counts = write_stream(options.out, options.copies, options.seed, vary=options.vary)
        print(", ".join(f"{count:,} {what}" for what, count in sorted(counts.items())))
    else:
        write_examples(options.out, options.seed)


if __name__ == "__main__":
    main()

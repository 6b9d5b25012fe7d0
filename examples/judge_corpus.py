"""Write traces to learn judging from: `python -m examples.judge_corpus OUT --seed 7 --records 4000`.

OUT/traces is laid out as the landing zone, OUT/gold.jsonl holds the gold labels of the records, OUT/labels.jsonl what
was done to each. No task of the committed samples is among them, so the samples stay unseen.
"""

import argparse
import datetime
from pathlib import Path

from examples.corpus import Corpus, Entry
from examples.gold import gold, parsed
from examples.judge_faults import JUDGED, clean
from examples.pool import Pool
from examples.sources import SOURCES, Source
from examples.tasks_native import plain_question

FAULT_RATE = 0.45
_A_DAY = 500
"""Records of a day; each day has a pool of its own, since a pool compares every trace with every other one."""
_FIRST_DAY = datetime.date(2025, 6, 1)
_SAMPLES = Path(__file__).parent / "traces"
_LINES = ("harbour_desk", "pilots", "almanac", "lookup_walk", "workbench", "reckoner", "lantern", "logbook")
"""Sources whose records fit one a line."""


def build(
    records: int, seed: int, *, fault_rate: float = FAULT_RATE, apart_from: frozenset[str] = frozenset()
) -> Corpus:
    """A corpus of so many records, a share of them faulty, none of them of a task in `apart_from`."""
    corpus = Corpus()
    sources = [source for source in SOURCES if source.name in _LINES]
    for start in range(0, records, _A_DAY):
        pool = Pool(seed * 1_000_003 + start)
        made: dict[str, list[Entry]] = {source.name: [] for source in sources}
        for number in range(start, min(records, start + _A_DAY)):
            source = pool.rng.choice(sources)
            made[source.name].append(_entry(source, pool, f"{source.name}-{seed}-{number}", fault_rate, apart_from))
        day = (_FIRST_DAY + datetime.timedelta(days=start // _A_DAY)).isoformat()
        for name, entries in made.items():
            corpus.add(f"{name}/{day}/judged.jsonl", entries)
    return corpus


def _entry(source: Source, pool: Pool, key: str, fault_rate: float, apart_from: frozenset[str]) -> Entry:
    """A record of the source, with one of the four faults or with none."""
    faulty = pool.rng.random() < fault_rate
    direct = not faulty and pool.rng.random() < source.direct
    kinds = (plain_question,) if direct else source.kinds
    trace = pool.draw(kinds, accept=lambda drawn: drawn.prompt not in apart_from)
    expected = pool.rng.choice(list(JUDGED)) if faulty else "keep"
    varied = JUDGED[expected](trace, pool.rng) if faulty else clean(trace, pool.rng)
    stage = "judged" if faulty else "screened"
    return Entry(source.render(varied, key), expected, stage, necessary=trace.necessary, shape=source.shape)


def write_corpus(out: Path, records: int, seed: int, *, fault_rate: float = FAULT_RATE) -> None:
    """Write OUT/traces, OUT/labels.jsonl and OUT/gold.jsonl. Raises FileExistsError if there are traces already."""
    (out / "traces").mkdir(parents=True)
    prompts = frozenset(parsed(_SAMPLES)["prompt"].drop_nulls().to_list())
    corpus = build(records, seed, fault_rate=fault_rate, apart_from=prompts)
    corpus.write(out)
    (out / "gold.jsonl").write_bytes(gold(corpus.labels, parsed(out / "traces")))


def main() -> None:
    """Parse the command line and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="folder to write into")
    parser.add_argument("--seed", type=int, default=7, help="another seed gives other traces")
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--fault-rate", type=float, default=FAULT_RATE, help="share of records with a fault")
    chosen = parser.parse_args()
    write_corpus(chosen.out, chosen.records, chosen.seed, fault_rate=chosen.fault_rate)
    print(f"{chosen.records:,} records under {chosen.out / 'traces'}, labels in {chosen.out / 'gold.jsonl'}")


if __name__ == "__main__":
    main()

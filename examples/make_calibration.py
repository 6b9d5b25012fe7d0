"""Calibrate the embedded judge on made traces: `python -m examples.make_calibration`, some minutes on two cores.

Writes examples/calibration.json, which the demo judges under. The traces come from the generator of the samples with
another seed, so no task of the samples has fitted or certified anything.
"""

import argparse
import tempfile
from pathlib import Path

from examples.judge_corpus import write_corpus
from pipeline.config import CurationConfig
from pipeline.curation.calibrating import calibrate_store
from pipeline.curation.judging import JudgePlace, open_judge
from pipeline.curation.replayed import write_replayed
from pipeline.curation.screened import write_screened
from pipeline.curation.trajectories import write_trajectories
from pipeline.judging.config import JudgeConfig
from pipeline.landing.zone import land, landed_days
from pipeline.store import TableStore

HERE = Path(__file__).parent
SEED = 11
RECORDS = 480


def main() -> None:
    """Make the traces, curate them, ask the embedded judge, calibrate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--work", type=Path, help="where to work, and to leave the tables and the report")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="toolwise-calibration-") as folder:
        work = chosen.work or Path(folder)
        if not (work / "corpus").exists():
            write_corpus(work / "corpus", chosen.records, SEED)
        store = TableStore(work / "data")
        config = CurationConfig(judge=JudgeConfig(labels=(str(work / "corpus" / "gold.jsonl"),)))
        days = curate(store, work / "corpus" / "traces", config)
        place = JudgePlace(cache=HERE.parent / ".cache", logs=work / "logs")
        server = place.server(config.judge, print)
        try:
            with open_judge(store, config.judge, server) as judge:
                made = calibrate_store(store, config, judge, days=days, progress=print)
        finally:
            server.close()
        made.calibration.save(HERE / "calibration.json")
        print(made.calibration.certificate.told)


def curate(store: TableStore, traces: Path, config: CurationConfig) -> list[str]:
    """The traces landed and replayed; their days."""
    shaped = landed_days([traces]) or []
    for source, day, folder in shaped:
        land([folder], store.root / "raw", source, day, contents=True)
    days = sorted({day for _, day, _ in shaped})
    for day in days:
        for write in (write_trajectories, write_screened, write_replayed):
            write(store, day, config)
    return days


if __name__ == "__main__":
    main()

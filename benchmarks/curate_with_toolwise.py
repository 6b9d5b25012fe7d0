"""The measured program: a day's raw records through `trajectories` to `sft_set`, without Dagster.

Run by `benchmarks.curation` as `python -m benchmarks.curate_with_toolwise OUT RECORDS`.
"""

import sys
from pathlib import Path

from benchmarks.processes import Stages
from pipeline.config import CurationConfig
from pipeline.curation.attempted import write_attempted
from pipeline.curation.judged import write_judged
from pipeline.curation.replayed import write_replayed
from pipeline.curation.screened import write_screened
from pipeline.curation.sft_set import write_sft_set
from pipeline.curation.trajectories import write_trajectories
from pipeline.replay.config import ReplayConfig
from pipeline.store import TableStore

DAY = "2025-01-01"


def main() -> None:
    """Curate the records under sys.argv[2] into sys.argv[1]."""
    stages = Stages()
    out = Path(sys.argv[1])
    (out / "raw").symlink_to(Path(sys.argv[2]).resolve())
    # No tool is called again, no policy and no judge asked: datatrove has nothing of the kind.
    store, config = TableStore(out), CurationConfig(replay=ReplayConfig(environments={}))
    with stages.stage("trajectories"):
        write_trajectories(store, DAY, config)
    with stages.stage("screened"):
        write_screened(store, DAY, config)
    with stages.stage("replayed"):
        write_replayed(store, DAY, config)
    with stages.stage("attempted"):
        write_attempted(store, DAY, config, attempts=None)
    with stages.stage("judged"):
        write_judged(store, DAY, config, judge=None)
    with stages.stage("sft_set"):
        write_sft_set(store, config)
    stages.write_report(out)


if __name__ == "__main__":
    main()

"""The funnel table in the README's first screen, from a run over the sample traces.

Run: `python -m benchmarks.front_page`. A test curates the samples anew and holds the README to it.
"""

import tempfile
from pathlib import Path

from assets.settings import HOME
from pipeline.config import CurationConfig
from pipeline.curation.funnel import funnel_of
from pipeline.curation.prompts import write_prompts
from pipeline.curation.replayed import write_replayed
from pipeline.curation.screened import write_screened
from pipeline.curation.sft_set import write_sft_set
from pipeline.curation.trajectories import write_trajectories
from pipeline.export.card import funnel_table
from pipeline.landing.zone import land, landed_days
from pipeline.store import TableStore

BEGIN = "<!-- funnel:begin (written by `python -m benchmarks.front_page`, held by a test) -->"
END = "<!-- funnel:end -->"


def curate_samples(root: Path) -> TableStore:
    """The store under `root` after curating the sample traces under the checkout's own configuration."""
    store = TableStore(root)
    config = CurationConfig.from_toml(HOME / "toolwise.toml")
    shaped = landed_days([HOME / "examples" / "traces"]) or []
    for source, day, folder in shaped:
        land([folder], root / "raw", source, day, contents=True)
    for day in sorted({day for _, day, _ in shaped}):
        write_trajectories(store, day, config)
        write_screened(store, day, config)
        write_replayed(store, day, config)
        write_prompts(store, day, config)
    write_sft_set(store, config)
    return store


def block(store: TableStore) -> str:
    """The README's block: the funnel of the samples and the size of the set."""
    days = store.days("trajectories")
    funnel = funnel_of(store, days)
    lead = f"`make demo` curates {sum(funnel['trajectories'].values())} sample records of {len(days)} days:"
    return f"{BEGIN}\n{lead}\n\n{funnel_table(funnel)}\n{END}"


def with_block(readme: str, text: str) -> str:
    """The README with its funnel block replaced."""
    before, _, rest = readme.partition(BEGIN)
    return before + text + rest.partition(END)[2]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="toolwise-readme-") as folder:
        path = HOME / "README.md"
        path.write_text(with_block(path.read_text(), block(curate_samples(Path(folder)))))

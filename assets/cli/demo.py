"""`toolwise demo`: the sample traces, end to end, in the data root."""

import time

import click

from assets.cli.curate import run_days, say_where
from assets.cli.materialise import open_store, require_config
from assets.cli.show import console, funnel_table
from assets.settings import HOME
from pipeline.curation.funnel import funnel_of
from pipeline.landing.zone import land, landed_days


@click.command()
def demo() -> None:
    """Curate the sample traces in examples/ and print the funnel."""
    started = time.monotonic()
    store = open_store()
    require_config()
    out = console()
    shaped = landed_days([HOME / "examples" / "traces"])
    if not shaped:
        raise click.ClickException(f"no sample traces under {HOME / 'examples' / 'traces'}; is this a whole checkout?")
    for source, day, folder in shaped:
        land([folder], store.root / "raw", source, day, contents=True)
    days = sorted({day for _, day, _ in shaped})
    run_days(store, days, "sft_set")
    out.print(funnel_table(funnel_of(store, days)))
    say_where(store, "sft_set")
    out.print(f"done in {time.monotonic() - started:.0f} s")

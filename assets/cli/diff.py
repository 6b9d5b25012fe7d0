"""`toolwise diff`: which rows two configurations decide differently."""

from pathlib import Path

import click
from rich.table import Table

from assets.cli.days import days_within, parse_range
from assets.cli.materialise import dagster_at_work, open_store
from assets.cli.show import console
from assets.model_servers import servers_held
from assets.settings import load_config, load_settings
from pipeline.curation.difference import differences

_SHOWN = 40


@click.command()
@click.argument("config_a", type=click.Path(path_type=Path))
@click.argument("config_b", type=click.Path(path_type=Path))
@click.option("--day", "span", help="One day or a range A..B; default: every day.")
@click.option("--all", "everything", is_flag=True, help=f"List every row, not just the first {_SHOWN}.")
def diff(config_a: Path, config_b: Path, span: str | None, everything: bool) -> None:  # noqa: FBT001
    """Screen the curated days under CONFIG_A and CONFIG_B (TOML files, or `default`) and compare. Writes nothing."""
    store, out = open_store(), console()
    days = days_within(store, "trajectories", parse_range(span))
    if not days:
        raise click.ClickException("no curated day there; run `toolwise curate PATH` first")
    a, b = (load_config(None if str(path) == "default" else path) for path in (config_a, config_b))
    with dagster_at_work():
        from assets.resources import JudgeService, PolicyService

        judges, policies = JudgeService.of(load_settings()), PolicyService.of(load_settings())
    with servers_held():
        found = differences(
            store,
            days,
            a,
            b,
            open_attempts=lambda config: policies.opened(store, config, judges, read_only=True),
            open_judge=lambda config: judges.opened(store, config, read_only=True),
        )
    counts = (
        found.group_by("reason_a", "reason_b")
        .len()
        .sort("len", "reason_a", "reason_b", descending=[True, False, False])
    )
    summary = Table(title=f"{found.height:,} rows differ over {len(days)} days", title_justify="left", show_edge=False)
    for name in (str(config_a), str(config_b), "rows"):
        summary.add_column(name)
    for before, after, rows in counts.iter_rows():
        summary.add_row(before, after, f"{rows:,}")
    out.print(summary)
    shown = found if everything else found.head(_SHOWN)
    for row in shown.iter_rows(named=True):
        out.print(f"{row['day']}  {row['trajectory_id']}  {row['reason_a']} -> {row['reason_b']}", markup=False)
        for side in ("a", "b"):
            if row[f"evidence_{side}"]:
                out.print(f"    {side}: {row[f'evidence_{side}']}", markup=False)
    if shown.height < found.height:
        out.print(f"{found.height - shown.height:,} more; --all lists them")

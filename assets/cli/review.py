"""`toolwise review`: the rows that wait for a person."""

import getpass

import click
from rich.markup import escape

from assets.cli.curate import run_days
from assets.cli.days import days_within, parse_range
from assets.cli.materialise import open_store, require_config
from assets.cli.show import console
from pipeline.curation.path import resolve
from pipeline.curation.reading import readable
from pipeline.reviews import answer, waiting


@click.command()
@click.option("--day", "span", help="One day or a range A..B; default: every day.")
@click.option("--list", "listing", is_flag=True, help="Only list what waits.")
@click.option("--keep", multiple=True, metavar="ID", help="Answer keep for ID without asking.")
@click.option("--drop", multiple=True, metavar="ID", help="Answer drop for ID without asking.")
@click.option("--by", help="Who answers; default: the login name.")
@click.option("--apply/--no-apply", default=True, show_default=True, help="Screen the answered days again at once.")
def review(  # noqa: PLR0913  # one parameter an option
    span: str | None, listing: bool, keep: tuple[str, ...], drop: tuple[str, ...], by: str | None, apply: bool  # noqa: FBT001
) -> None:
    """Go through the waiting rows: k keeps, d drops, s skips, q stops. Every answer is recorded with who and when."""
    store, out = open_store(), console()
    require_config()
    rows = waiting(store, days_within(store, "trajectories", parse_range(span)))
    if rows.is_empty():
        out.print("nothing waits for a person")
        return
    given = {resolve(store, each): "keep" for each in keep} | {resolve(store, each): "drop" for each in drop}
    unknown = set(given) - set(rows["trajectory_id"].to_list())
    if unknown:
        raise click.ClickException(f"not waiting for an answer: {', '.join(sorted(unknown))}; see `toolwise review --list`")
    who = by or getpass.getuser()
    answered: list[str] = []
    for row in rows.iter_rows(named=True):
        head = f"[bold]{row['trajectory_id']}[/]  {row['day']}  {row['stage']}  {row['reason']}"
        if listing:
            out.print(head)
            continue
        verdict = given.get(row["trajectory_id"])
        if verdict is None and not given:
            out.print(head)
            out.print(escape(readable(store, row["day"], row["trajectory_id"])))
            out.print(f"evidence: {escape(row['evidence'])}")
            verdict = _ask()
        if verdict == "stop":
            break
        if verdict in ("keep", "drop"):
            answer(store, row["trajectory_id"], row["reason"], verdict, who)
            answered.append(row["day"])
    out.print(f"{rows.height} waiting, {len(answered)} answered")
    if answered and apply:
        run_days(store, sorted(set(answered)), "sft_set")
    elif answered:
        out.print("answers take effect when the day is screened again: " + ", ".join(sorted(set(answered))))


def _ask() -> str:
    """keep, drop, skip or stop."""
    told = {"k": "keep", "d": "drop", "s": "skip", "q": "stop"}
    return told[click.prompt("keep, drop, skip or quit", type=click.Choice(list(told)), show_choices=True)]

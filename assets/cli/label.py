"""`toolwise label`: a person says of a drawn sample what is right and what is wrong, in the browser."""

import getpass
import signal
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import cast

import click
import uvicorn

from assets.cli.days import days_within, parse_range
from assets.cli.materialise import open_store, require_config
from assets.cli.show import console
from assets.labelling.server import LabelServer, listen
from assets.labelling.session import Session
from pipeline.curation.labelling import draw_rows, judged_asset
from pipeline.judging.criteria import Rubric

_MOST_ROWS = 2000


@click.command()
@click.option("--day", "span", help="One day or a range A..B; default: every judged day.")
@click.option("--rubric", type=click.Choice(["trajectories", "prompts"]), default="trajectories", show_default=True)
@click.option("--number", type=click.IntRange(1, _MOST_ROWS), default=100, show_default=True, help="Rows to draw.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port on 127.0.0.1; default: a free one.")
@click.option("--by", help="Who answers; default: the login name.")
@click.option("--browser/--no-browser", default=True, help="Open the page; the address is printed either way.")
def label(span: str | None, rubric: str, number: int, port: int, by: str | None, browser: bool) -> None:  # noqa: FBT001
    """Label a sample of the rows that reached the judge: half of it to certify the threshold, half to fit the judge.

    The page is served on this machine alone. Every answer is stored at once; Ctrl-C ends, and a later call goes on
    with rows not labelled yet.
    """
    store, out = open_store(), console()
    config, asked = require_config().judge, cast("Rubric", rubric)
    who = (by if by is not None else getpass.getuser()).strip()
    if not who:
        raise click.BadParameter("want a name, found none", param_hint="--by")
    days = days_within(store, judged_asset(asked), parse_range(span))
    drawn = draw_rows(store, config, asked, days, number=number, by=who)
    out.print(drawn.need.told)
    agreement = drawn.gold.agreement[asked]
    if agreement.num_twice:
        out.print(agreement.told)
    if drawn.gold.num_unknown:
        out.print(f"{drawn.gold.num_unknown:,} labelled rows are in no table; nothing comes of their labels")
    if drawn.sample.is_empty():
        out.print(f"every row that can be asked about is labelled; next: {_calibrate(asked)}")
        return
    session = Session(store, config, drawn, who)
    with listen(port) as listening:
        page = LabelServer(session, listening)
        server = page.server()
        with _ended_by_signals(server):
            # the address is for whoever sits here; a line wrapped to the terminal's width could not be clicked
            click.echo(f"label {session.num_rows} rows as {who} at {page.address}\nCtrl-C ends")
            if browser:
                _open(page.address)
            server.run(sockets=[listening])
    click.echo()
    out.print(
        f"stored: {session.num_stored} of {session.num_rows} rows, by {who}; "
        f"{_left(session)} in the sample are not answered. Next: {_calibrate(asked)}"
    )


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Let Ctrl-C, or a request to end, stop the server after the answer it is at.

    Also before the server minds signals itself: an exception raised then is lost where Python cannot raise it.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _open(address: str) -> None:
    """Open the page where there is a window for it; a browser in the terminal would take this one."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return
    in_terminal = isinstance(browser, webbrowser.GenericBrowser) and not isinstance(
        browser, webbrowser.BackgroundBrowser
    )
    if not in_terminal:
        browser.open(address)


def _left(session: Session) -> int:
    return session.num_rows - session.num_stored


def _calibrate(rubric: Rubric) -> str:
    return "toolwise calibrate" + (" --rubric prompts" if rubric == "prompts" else "")

"""The page in a real browser: it shows a row, keys answer, and trace text stays text."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.judging.labels import stored_labels
from pipeline.store import TableStore
from tests.assets.labelling import Labelling, labelling
from tests.chromium import Page, chromium, wait_for
from tests.factories import assistant, tool, user
from tests.labelling import attack_everywhere, judged_row, picture, prompt_row

LOADED = "document.querySelectorAll('#criteria fieldset').length"
ATTACK = (
    "</script><script>window.taken = 1</script><img src=x onerror='window.taken = 1'><svg onload='window.taken = 1'>"
    "<iframe srcdoc='<script>parent.taken = 1</script>'></iframe><a href='javascript:window.taken = 1'>x</a>"
    "<style>body { display: none }</style>{{constructor.constructor('window.taken = 1')()}}"
)
LONG = "\n".join(f"line {k}" for k in range(400))


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path)


@pytest.fixture
def page(store: TableStore) -> Iterator[Labelling]:
    with labelling(store, [judged_row(f"row-{k}") for k in range(4)]) as held:
        yield held


def open_page(browser: Page, page: Labelling) -> None:
    """Load the page anew and wait for its first row."""
    browser.requests.clear()
    browser.complaints.clear()
    browser.open(page.address)
    browser.wait_for(f"location.href.startsWith('{page.address}') && {LOADED}")


def show(browser: Page, page: Labelling, subject_id: str) -> None:
    browser.value(f"show({page.place_of(subject_id)})")
    browser.wait_for(f"state.held.row.id === '{subject_id}' && !state.isBusy")


def answers(store: TableStore) -> dict[tuple[str, str], bool | None]:
    return {(row["subject_id"], row["criterion"]): row["answer"] for row in stored_labels(store).to_dicts()}


def first(page: Labelling, place: int = 0) -> str:
    """The row at a place."""
    return page.session.drawn.sample["subject_id"][place]


def wait_until_stored(store: TableStore, number: int) -> None:
    wait_for(lambda: len(answers(store)) == number, f"{number} answers", within_s=10)


def test_a_row_is_shown_as_a_person_reads_it(browser: Page, page: Labelling) -> None:
    open_page(browser, page)
    told = browser.value("document.getElementById('row').innerText")
    for each in (
        "How far is the moon?",
        "I will look.",
        "search",
        "distance of the moon",
        "The moon is 384400 km away.",
    ):
        assert each in told
    assert browser.value(LOADED) == 4
    assert browser.value("document.getElementById('count').textContent") == "row 1 of 4 · 0 stored"
    assert browser.complaints == []


def test_trace_text_cannot_run_or_load_anything(browser: Page, store: TableStore) -> None:
    with labelling(store, [attack_everywhere(ATTACK), judged_row("plain")]) as page:
        open_page(browser, page)
        show(browser, page, "attack")
        browser.value("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        told = browser.value("document.getElementById('row').innerText")
        assert told.count("</script><script>window.taken") >= 10
        assert browser.value("typeof window.taken") == "undefined"
        assert browser.value("document.querySelectorAll('#row :is(script, img, svg, iframe, a, style)').length") == 0
        assert browser.value("getComputedStyle(document.body).display") == "block"
        assert {each for each in browser.requests if not each.startswith((page.address, "data:,"))} == set()
        assert browser.complaints == []


def test_the_policy_holds_against_a_script_that_got_in_all_the_same(browser: Page, page: Labelling) -> None:
    open_page(browser, page)
    tried = """(() => {
      const script = document.createElement('script');
      try { script.textContent = 'window.taken = 1'; document.body.append(script); } catch {}
      try { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.taken = 1">'); } catch {}
      return typeof window.taken;
    })()"""
    assert browser.value(tried) == "undefined"
    assert browser.value("fetch('http://127.0.0.1:9/').then(() => 'reached', () => 'refused')") == "refused"
    assert browser.complaints != []


def test_a_key_says_all_is_good_and_the_next_row_comes(browser: Page, page: Labelling, store: TableStore) -> None:
    open_page(browser, page)
    browser.press("a")
    wait_until_stored(store, 4)
    assert answers(store) == {
        (first(page), each): True for each in ("coherent", "grounded", "relevant", "tool_rationale")
    }
    browser.wait_for("state.place === 1 && !state.isBusy")
    assert browser.value("document.getElementById('count').textContent") == "row 2 of 4 · 1 stored"


def test_digits_go_through_no_yes_and_unsure_and_enter_stores(
    browser: Page, page: Labelling, store: TableStore
) -> None:
    open_page(browser, page)
    browser.press("1", "2", "2", "3", "3", "3", "4", "4", "4", "4", "Enter")
    wait_until_stored(store, 4)
    assert answers(store) == {
        (first(page), "coherent"): False,
        (first(page), "grounded"): True,
        (first(page), "relevant"): None,
        (first(page), "tool_rationale"): False,
    }


def test_nothing_is_stored_before_enough_is_said(browser: Page, page: Labelling, store: TableStore) -> None:
    open_page(browser, page)
    browser.press("Enter")
    assert "Answer a question first" in browser.value("document.getElementById('told').textContent")
    browser.press("2", "2", "Enter")
    told = browser.value("document.getElementById('told').textContent")
    assert told == "Still open: coherent, relevant, tool rationale."
    assert answers(store) == {}
    browser.press("1", "Enter")
    wait_until_stored(store, 2)
    assert answers(store) == {(first(page), "coherent"): False, (first(page), "grounded"): True}


@pytest.mark.parametrize(("keys", "criterion"), [("n2", "grounded"), ("nn", "accept")])
def test_two_keys_reject_a_row(browser: Page, page: Labelling, store: TableStore, keys: str, criterion: str) -> None:
    open_page(browser, page)
    browser.press(*keys)
    wait_until_stored(store, 1)
    assert answers(store) == {(first(page), criterion): False}


def test_a_rejection_can_be_called_off(browser: Page, page: Labelling, store: TableStore) -> None:
    open_page(browser, page)
    browser.press("n", "Escape", "2")
    assert browser.value("state.said.grounded") is False
    assert answers(store) == {}


def test_undo_takes_an_answer_back_and_shows_it_again(browser: Page, page: Labelling, store: TableStore) -> None:
    open_page(browser, page)
    browser.press("n", "2")
    wait_until_stored(store, 1)
    browser.wait_for("state.place === 1 && !state.isBusy")
    browser.press("u")
    wait_until_stored(store, 0)
    browser.wait_for("state.place === 0 && !state.isBusy && state.said.grounded === false")
    assert browser.value("document.querySelectorAll('.no[aria-pressed=true]').length") == 1
    browser.press("a")
    wait_until_stored(store, 4)
    assert answers(store)[first(page), "grounded"] is False


def test_a_skipped_row_stores_nothing_and_the_end_says_so(browser: Page, page: Labelling, store: TableStore) -> None:
    open_page(browser, page)
    for place in range(4):
        browser.wait_for(f"state.place === {place} && !state.isBusy")
        browser.press("s" if place else "a")
    told = browser.wait_for("document.querySelector('.done')?.innerText")
    assert "1 rows stored by ann, 3 skipped" in told
    assert "toolwise calibrate" in told
    assert {subject for subject, _ in answers(store)} == {first(page)}
    browser.press("a", "Enter", "n", "1", "s")
    assert len(answers(store)) == 4


def test_keys_with_a_modifier_are_the_browser_s_own(browser: Page, page: Labelling, store: TableStore) -> None:
    open_page(browser, page)
    told = {"key": "a", "windowsVirtualKeyCode": 65, "modifiers": 2}
    browser.send("Input.dispatchKeyEvent", type="rawKeyDown", **told)
    browser.send("Input.dispatchKeyEvent", type="keyUp", **told)
    browser.press("2")
    browser.wait_for("state.said.grounded === false")
    assert browser.value("state.place") == 0
    assert answers(store) == {}


def test_help_opens_with_a_key_and_keeps_other_keys_from_the_row(browser: Page, page: Labelling) -> None:
    open_page(browser, page)
    browser.press("?")
    browser.wait_for("document.getElementById('help').open")
    browser.press("1")
    assert browser.value("Object.keys(state.said).length") == 0
    browser.press("Escape")
    browser.wait_for("!document.getElementById('help').open")
    browser.press("1")
    assert browser.value("state.said.coherent") is False


def test_buttons_do_what_keys_do(browser: Page, page: Labelling, store: TableStore) -> None:
    open_page(browser, page)
    browser.value("document.querySelector('#criteria fieldset:nth-child(2) .yes').click()")
    assert browser.value("state.said.grounded") is True
    browser.value("document.getElementById('reject').click()")
    browser.value("document.querySelector('#criteria fieldset:nth-child(3) .no').click()")
    wait_until_stored(store, 2)
    assert answers(store) == {(first(page), "grounded"): True, (first(page), "relevant"): False}
    browser.wait_for("state.place === 1 && !state.isBusy")
    browser.value("document.getElementById('good').click()")
    wait_until_stored(store, 6)


def test_a_reloaded_page_goes_on_where_it_was(browser: Page, page: Labelling, store: TableStore) -> None:
    open_page(browser, page)
    browser.press("a")
    wait_until_stored(store, 4)
    browser.wait_for("state.place === 1 && !state.isBusy")
    browser.send("Page.reload")
    browser.wait_for(f"typeof state === 'object' && state.place === 1 && !state.isBusy && {LOADED}")
    assert browser.value("document.getElementById('count').textContent") == "row 2 of 4 · 1 stored"


def test_a_server_that_has_ended_is_told_and_nothing_is_taken_for_stored(browser: Page, store: TableStore) -> None:
    with labelling(store, [judged_row(f"row-{k}") for k in range(2)]) as page:
        open_page(browser, page)
    browser.press("a")
    browser.wait_for("document.getElementById('told').textContent.includes('toolwise label has ended')")
    assert browser.value("state.place") == 0
    assert answers(store) == {}


def test_long_observations_are_folded_and_images_are_shown(browser: Page, store: TableStore) -> None:
    messages = [
        {**user("What is it?"), "images": [picture()]},
        assistant("I look.", ("run", {"code": "print(1)\nprint(2)"})),
        tool(LONG),
        assistant("A box."),
    ]
    with labelling(store, [judged_row("long", messages=messages)]) as page:
        open_page(browser, page)
        assert browser.wait_for("document.querySelector('.task img').naturalWidth") == 64
        assert browser.value("document.querySelector('.argument .text').textContent") == "print(1)\nprint(2)"
        assert browser.value("document.querySelector('.observation .text').offsetHeight") < 250
        browser.press("f")
        assert browser.value("document.querySelector('.observation .text').textContent") == LONG
        assert browser.value("document.querySelector('.observation .text').offsetHeight") > 2000
        browser.press("f")
        assert browser.value("document.querySelector('.observation .text').offsetHeight") < 250


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_runs_over_the_edge_of_a_small_screen(browser: Page, store: TableStore, scheme: str) -> None:
    wide = judged_row("wide", messages=[user("w" * 3000), assistant("v" * 3000, ("r" * 500, {"k" * 300: "z" * 3000}))])
    with labelling(store, [attack_everywhere(ATTACK), wide]) as page:
        open_page(browser, page)
        browser.look(wide=390, high=844, is_dark=scheme == "dark")
        for each in ("attack", "wide"):
            show(browser, page, each)
            assert browser.value("document.documentElement.scrollWidth") <= 390
        colour = browser.value("getComputedStyle(document.body).backgroundColor")
        assert colour == ("rgb(21, 23, 26)" if scheme == "dark" else "rgb(246, 246, 244)")


def test_prompts_are_shown_with_their_reference_answer(browser: Page, store: TableStore) -> None:
    with labelling(store, [prompt_row("moon")], rubric="prompts") as page:
        open_page(browser, page)
        told = browser.value("document.getElementById('row').innerText")
        assert "How far is moon?" in told
        assert "Reference answer" in told
        browser.press("a")
        wait_until_stored(store, 4)
        assert "toolwise calibrate --rubric prompts" in browser.wait_for("document.querySelector('.done')?.innerText")

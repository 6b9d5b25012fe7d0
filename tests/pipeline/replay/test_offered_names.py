"""Functions that an environment documents in its prompt are known by name; functions of the task are not."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.replay.offered_names import helper_names

MINT = Path(__file__).parents[4] / "shared" / "data" / "mint" / "dev" / "Meta-Llama-3-8B-Instruct" / "max1"

TASK = "Write a function.\n\ndef remove_odd(lst):\n    pass\n\n`remove_odd(lst)` returns a list.\n- result: a list\n"
CASES: dict[str, tuple[str, str | None, list[str | None], set[str]]] = {
    "a numbered signature": (
        "Tool function available (already imported in <execute> environment):\n"
        "[1] wikipedia_search(query: str) -> str\nThe tool searches.\nCan query keywords.\n\n---\n\nTask:\nWho?",
        None, [], {"wikipedia_search"},
    ),
    "a numbered name": ("[1] wikipedia_search: searches\n[2] `calculator`: computes", None, [],
                        {"wikipedia_search", "calculator"}),
    "signatures": ("You may call these functions:\ndef look_up(word):\ndef add_all(numbers):\n\n---\n", None,
                   [], {"look_up", "add_all"}),
    "back quotes": ("The following helper is available: `fetch_page(url)` gives a page.", None, [], {"fetch_page"}),
    "a list": ("### Tools\n- search_web: finds\n- **read_page**(url): reads\n* fetch_all(urls)\n\n# Task\n- answer: it",
               None, [], {"search_web", "read_page", "fetch_all"}),
    "a dotted name": ("Tools:\n- browser.open(url): opens", None, [], {"browser"}),
    "a function of the task": (TASK, None, [], set()),
    "a function of the task behind the tools": (
        "These tools are available:\nsearch_web(query) -> str\n\nTask:\n" + TASK, None, [], {"search_web"},
    ),
    "ordinary names": ("Functions available:\n- print(x): prints\n- x: a number\n- for: a word\n- f(x): it", None, [],
                       set()),
    "declared": ("", json.dumps([{"type": "function", "function": {"name": "look_up"}}, {"name": "add_all"}]), [],
                 {"look_up", "add_all"}),
    "no schemas": ("", "[1, {}, {\"name\": null}]", [], set()),
    "schemas that are no JSON": ("", "not json", [], set()),
    "bound by the trajectory": (
        "[1] wikipedia_search(query: str)\n[2] calculator(e: str)", None,
        [None, json.dumps({"code": "def calculator(e):\n    return eval(e)"}), "wikipedia_search('x')"],
        {"wikipedia_search"},
    ),
    "imported by the trajectory": ("[1] solve(e): solves", None, ['{"code": "from sympy import solve"}'], set()),
    "nothing": ("", None, [], set()),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_helpers_that_a_prompt_documents(case: str) -> None:
    text, tools, arguments, wanted = CASES[case]
    assert helper_names(text, tools, arguments) == wanted


@given(st.text(), st.one_of(st.none(), st.text()), st.lists(st.one_of(st.none(), st.text())))
def test_any_text_has_names_or_none_and_never_raises(text: str, tools: str | None, arguments: list[str | None]) -> None:
    assert all(name.isidentifier() and len(name) >= 3 for name in helper_names(text, tools, arguments))


@given(st.text(st.characters(codec="ascii")))
def test_a_name_that_the_trajectory_binds_is_no_helper(text: str) -> None:
    found = helper_names(text, None, [])
    bound = json.dumps({"code": "\n".join(f"{name} = 1" for name in found)})
    assert helper_names(text, None, [bound]) == set()


@pytest.mark.parametrize(
    ("task", "wanted"), [("hotpotqa", {"wikipedia_search"}), ("mbpp", set()), ("humaneval", set())]
)
def test_the_prompts_of_mint_offer_what_they_say(task: str, wanted: set[str]) -> None:
    path = MINT / f"{task}.jsonl"
    if not path.exists():
        pytest.skip("../shared/data/mint is not beside this checkout")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    texts = [record["state"]["history"][0]["content"] for record in records if "state" in record]
    assert len(texts) > 40
    assert {helper_names(text, None, []) for text in texts} == {frozenset(wanted)}

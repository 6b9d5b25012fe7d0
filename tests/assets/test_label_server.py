"""The page over HTTP: who may read and answer, what the page holds, what is stored."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.judging.labels import stored_labels
from pipeline.judging.rubric import load_rubric
from pipeline.store import TableStore
from tests.assets.labelling import CONFIG, Labelling, labelling
from tests.factories import assistant, user
from tests.labelling import attack_everywhere, judged_row, prompt_row

ATTACK = "</script><script>document.title='captured'</script><img src=x onerror=\"document.title='captured'\">"


@pytest.fixture
def store(tmp_path: Path) -> TableStore:
    return TableStore(tmp_path)


@pytest.fixture
def page(store: TableStore) -> Iterator[Labelling]:
    rows = [judged_row("plain", acceptance=0.123456), judged_row("quiet", score=0.987654), attack_everywhere(ATTACK)]
    with labelling(store, rows) as held:
        yield held


def stored(store: TableStore) -> list[tuple[str, str, bool | None]]:
    return stored_labels(store).select("subject_id", "criterion", "answer").rows()


def test_the_page_runs_its_own_script_and_reaches_nothing_else(page: Labelling) -> None:
    reply = page.get()
    assert reply.status_code == 200
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["img-src"] == "data:"
    assert policy["connect-src"] == "'self'"
    assert [policy[name] for name in ("base-uri", "form-action", "frame-ancestors")] == ["'none'"] * 3
    assert "unsafe" not in reply.headers["content-security-policy"]
    nonces = {nonce for each in ("script-src", "style-src") for nonce in re.findall(r"^'nonce-(.+)'$", policy[each])}
    [nonce] = nonces
    assert reply.text.count("<script") == reply.text.count(f'<script nonce="{nonce}">') == 1
    assert reply.text.count("<style") == reply.text.count(f'<style nonce="{nonce}">') == 1
    assert not re.findall(r'(?:src|href|action)="(?!#|data:,")', reply.text)
    assert not re.findall(r"https?://|\son\w+=|innerHTML|insertAdjacent|document\.write|eval\(", reply.text)
    assert page.get().headers["content-security-policy"] != reply.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["", "session", "rows/0", "nothing"])
def test_every_reply_says_how_it_may_be_used(page: Labelling, path: str) -> None:
    headers = page.get(path).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers
    assert "default-src 'none'" in headers["content-security-policy"]


def test_without_the_token_nothing_is_there(page: Labelling, store: TableStore) -> None:
    root = f"http://127.0.0.1:{page.port}"
    wrong = page.token[:-1] + ("A" if page.token[-1] != "A" else "B")
    for token in ("", "x", wrong, page.token + "x", "%C3%A9"):
        for path in ("", "session", "rows/0"):
            reply = page.client.get(f"{root}/{token}/{path}")
            assert (reply.status_code, reply.json()) == (404, {"fault": "nothing is here"})
        reply = page.client.post(
            f"{root}/{token}/rows/0", json={"answers": {"grounded": True}}, headers={"origin": root}
        )
        assert reply.status_code == 404
    assert stored(store) == []


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil:{port}"]
)
def test_another_host_s_name_is_refused(page: Labelling, store: TableStore, host: str) -> None:
    named = host.format(port=page.port)
    assert page.get(host=named).status_code == 421
    reply = page.post("rows/0", {"answers": {"grounded": True}}, host=named, origin=f"http://{named}")
    assert reply.status_code == 421
    assert stored(store) == []


def test_localhost_is_the_same_machine(page: Labelling) -> None:
    name = f"localhost:{page.port}"
    assert page.get(host=name).status_code == 200
    sent = {"answers": {"grounded": True}}
    assert page.post("rows/0", sent, host=name, origin=f"http://{name}").status_code == 200
    assert page.post("rows/0", sent, origin=f"http://{name}").status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": ""}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "application/json; charset=utf-8"}, 200),
        ({"sec_fetch_site": ""}, 200),
    ],
)
def test_only_the_page_itself_may_answer(
    page: Labelling, store: TableStore, headers: dict[str, str], status: int
) -> None:
    reply = page.post("rows/0", {"answers": {"grounded": True}}, **headers)
    assert reply.status_code == status
    assert len(stored(store)) == (status == 200)
    undone = page.post("rows/0/undo", {}, **headers)
    assert undone.status_code == status
    assert stored(store) == []


def test_the_page_answers_on_loopback_alone(page: Labelling) -> None:
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in addresses - {"127.0.0.1"}:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{address}:{page.port}/{page.token}/")
    assert page.address.startswith("http://127.0.0.1:")


def test_trace_text_reaches_the_page_as_json_alone(page: Labelling) -> None:
    reply = page.get(f"rows/{page.place_of('attack')}")
    assert reply.headers["content-type"] == "application/json"
    assert reply.json()["row"]["task"] == ATTACK
    html = page.get().text
    assert "captured" not in html
    assert "moon" not in html
    assert "plain" not in html
    assert page.get("session").headers["content-type"] == "application/json"


def test_what_a_judge_said_does_not_reach_the_page(page: Labelling) -> None:
    told = page.get("session").text + "".join(page.get(f"rows/{k}").text for k in range(3))
    for each in ("123456", "987654", "acceptance", '"weight"', '"purpose"', '"score"', "decided_by"):
        assert each not in told, each


def test_the_session_tells_the_rubric_and_how_far_it_is(page: Labelling) -> None:
    facts = page.get("session").json()
    assert [each["name"] for each in facts["criteria"]] == [each.name for each in load_rubric("trajectories", CONFIG)]
    assert all(each["question"] and each["guidance"] for each in facts["criteria"])
    by_name = {each["name"]: each["question"] for each in facts["criteria"]}
    assert by_name["tool_rationale"].endswith("One answer for all calls of the row: no if it is no of any of them.")
    assert (facts["num_rows"], facts["num_stored"], facts["by"], facts["least"]) == (3, 0, "ann", 59)


def test_criteria_are_those_the_judge_is_asked(store: TableStore) -> None:
    silent = judged_row("silent", messages=[user("What is 2 + 2?"), assistant("4")])
    with labelling(store, [silent, judged_row("calling")]) as page:
        asked = {each: page.get(f"rows/{page.place_of(each)}").json()["criteria"] for each in ("silent", "calling")}
    assert set(asked["calling"]) - set(asked["silent"]) == {"tool_rationale"}


def test_an_answer_is_stored_with_who_when_version_and_weight(page: Labelling, store: TableStore) -> None:
    place = page.place_of("plain")
    reply = page.post(f"rows/{place}", {"answers": {"grounded": True, "relevant": False, "coherent": None}})
    assert reply.status_code == 200
    assert reply.json()["num_stored"] == 1
    rows = {row["criterion"]: row for row in stored_labels(store).to_dicts()}
    versions = {each.name: each.rubric_version for each in load_rubric("trajectories", CONFIG)}
    drawn = page.session.drawn.sample.row(place, named=True)
    assert {name: row["answer"] for name, row in rows.items()} == {
        "grounded": True,
        "relevant": False,
        "coherent": None,
    }
    for name, row in rows.items():
        assert (row["subject_id"], row["task_id"], row["rubric"]) == ("plain", "task-plain", "trajectories")
        assert (row["by"], row["rubric_version"], row["weight"]) == ("ann", versions[name], drawn["weight"])
        assert row["at"].startswith("20")


def test_a_row_rejected_as_a_whole_is_stored_so(page: Labelling, store: TableStore) -> None:
    assert page.post(f"rows/{page.place_of('quiet')}", {"answers": {"accept": False}}).status_code == 200
    assert stored(store) == [("quiet", "accept", False)]
    assert stored_labels(store)["rubric_version"].to_list() == [None]


def test_a_later_answer_replaces_all_that_was_said_of_the_row(page: Labelling, store: TableStore) -> None:
    place = page.place_of("plain")
    page.post(f"rows/{place}", {"answers": {"accept": False}})
    page.post(f"rows/{place}", {"answers": {"grounded": True}})
    assert stored(store) == [("plain", "grounded", True)]
    assert page.get(f"rows/{place}").json()["said"] == {"grounded": True}
    assert page.get("session").json()["num_stored"] == 1


def test_undo_takes_back_this_sitting_and_nothing_before_it(store: TableStore) -> None:
    rows = [judged_row("plain"), judged_row("quiet")]
    with labelling(store, rows) as page:
        page.post(f"rows/{page.place_of('plain')}", {"answers": {"grounded": True}})
    with labelling(store, rows) as page:
        place = page.place_of("plain")
        assert page.get(f"rows/{place}").json()["said"] == {"grounded": True}
        page.post(f"rows/{place}", {"answers": {"grounded": False, "relevant": True}})
        assert stored(store) == [("plain", "grounded", False), ("plain", "relevant", True)]
        assert page.post(f"rows/{place}/undo", {}).json()["num_stored"] == 0
        assert stored(store) == [("plain", "grounded", True)]
        page.post(f"rows/{place}/undo", {})
        assert stored(store) == [("plain", "grounded", True)]


def test_certifying_labels_are_counted_as_they_come(store: TableStore) -> None:
    rows = [judged_row(f"row-{k:02d}") for k in range(20)]
    with labelling(store, rows) as page:
        purposes = page.session.drawn.sample["purpose"].to_list()
        for place in range(20):
            told = page.post(f"rows/{place}", {"answers": {"accept": True}}).json()
            assert told["num_certifying"] == purposes[: place + 1].count("certify")
            assert told["num_fitting"] == purposes[: place + 1].count("fit")
    with labelling(store, [*rows, judged_row("new")]) as page:
        assert page.get("session").json()["num_certifying"] == purposes.count("certify")
        assert page.session.num_rows == 1


@pytest.mark.parametrize(
    ("place", "held", "status"),
    [
        ("0", {}, 400),
        ("0", [], 400),
        ("0", {"answers": {}}, 400),
        ("0", {"answers": []}, 400),
        ("0", {"answers": {"grounded": 1}}, 400),
        ("0", {"answers": {"grounded": "yes"}}, 400),
        ("0", {"answers": {"nobody_asked": True}}, 400),
        ("0", {"answers": {"grounded": True, "x" * 100_000: True}}, 400),
        ("3", {"answers": {"grounded": True}}, 404),
        ("-1", {"answers": {"grounded": True}}, 404),
        ("one", {"answers": {"grounded": True}}, 404),
    ],
)
def test_what_is_no_answer_is_refused_and_stores_nothing(
    page: Labelling, store: TableStore, place: str, held: Any, status: int
) -> None:
    reply = page.post(f"rows/{place}", held)
    assert reply.status_code == status
    assert len(reply.json()["fault"]) < 1000
    assert stored(store) == []


def test_prompts_are_labelled_by_their_own_rubric(store: TableStore) -> None:
    rows = [prompt_row("moon"), prompt_row("sun")]
    with labelling(store, rows, rubric="prompts") as page:
        place = page.place_of("moon")
        told = page.get(f"rows/{place}").json()
        assert (told["row"]["task"], told["row"]["answer"]) == ("How far is moon?", "384400 km")
        page.post(f"rows/{place}", {"answers": {"well_posed": False}})
    [row] = stored_labels(store).to_dicts()
    assert (row["subject_id"], row["task_id"], row["rubric"], row["answer"]) == ("moon", "moon", "prompts", False)


def test_two_people_label_side_by_side(store: TableStore) -> None:
    rows = [judged_row("plain"), judged_row("quiet")]
    with labelling(store, rows) as ann, labelling(store, rows, by="bo") as bo:
        ann.post(f"rows/{ann.place_of('plain')}", {"answers": {"grounded": True}})
        bo.post(f"rows/{bo.place_of('plain')}", {"answers": {"grounded": False}})
        assert bo.get(f"rows/{bo.place_of('plain')}").json()["said"] == {"grounded": False}
    assert sorted(stored_labels(store).select("by", "answer").rows()) == [("ann", True), ("bo", False)]

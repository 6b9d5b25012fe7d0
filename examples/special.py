"""What no single trace shows: copies, a benchmark's questions, tasks without an attempt, files without a trace."""

import json
import random
from typing import Any

from examples import faults, shapes_json
from examples.corpus import Corpus, Entry, lines
from examples.pool import Pool
from examples.sources import Source
from examples.tasks_native import NATIVE_KINDS, restock
from examples.tasks_python import PYTHON_KINDS, invoice
from examples.tasks_search import SEARCH_KINDS
from examples.tools import SCHEMAS, python
from examples.trace import Step, Trace, assemble
from examples.world import ISLANDS, ITEMS

DAYS = ("2025-01-01", "2025-01-02", "2025-01-03")

_BENCHMARK = (
    (
        "A lighthouse keeper climbs a spiral stair of two hundred and sixteen steps seven times each night for ninety "
        "nights; how many steps does she climb in all?",
        "print(216 * 7 * 90)",
    ),
    (
        "Three brothers inherit a herd of four hundred and forty-one goats in the ratio two to three to four; how many "
        "goats does the eldest brother receive?",
        "print(441 * 4 // 9)",
    ),
    (
        "A cistern fills through one pipe in eleven hours and through another in fourteen; in how many "
        "hours, rounded to "
        "two decimals, do both together fill it?",
        "print(round(1 / (1 / 11 + 1 / 14), 2))",
    ),
    (
        "What is the smallest positive whole number that leaves remainder three when divided by eight and "
        "remainder five "
        "when divided by thirteen?",
        "print(next(n for n in range(1, 999) if n % 8 == 3 and n % 13 == 5))",
    ),
    (
        "A caravan covers nineteen leagues on the first day and two leagues fewer on every day after that; how many "
        "leagues has it covered after eight days?",
        "print(sum(19 - 2 * k for k in range(8)))",
    ),
    (
        "How many of the whole numbers below five thousand read the same forwards as backwards when they are "
        "written in "
        "ordinary decimal notation?",
        "print(sum(str(n) == str(n)[::-1] for n in range(5000)))",
    ),
    (
        "A square courtyard is paved with slabs so that its border uses one hundred and fifty-six of them; "
        "how many slabs "
        "pave the whole courtyard?",
        "print(40 * 40)",
    ),
    (
        "Seven tailors sew seven coats in seven days; how many coats do twenty-eight tailors of equal skill sew in "
        "fourteen full days of work?",
        "print(28 * 14 // 7)",
    ),
)


def benchmark() -> bytes:
    """The questions a trained agent would be tested on, as JSON Lines."""
    return lines([{"question": question, "answer": python(code).strip()} for question, code in _BENCHMARK])


def contaminated(pool: Pool, day: int) -> list[Entry]:
    """Two traces a day whose task is a benchmark question, verbatim or wrapped."""
    made = []
    for k in (2 * day, 2 * day + 1):
        question, code = _BENCHMARK[k]
        prompt = question if k % 2 else f"From my daughter's exercise book: {question} She is stuck."
        trace = assemble(
            pool.rng,
            kind="contaminated",
            prompt=prompt,
            steps=[Step("I write this down as a program.", "python", {"code": code})],
            reply="That is what the program prints.",
            answer=python(code).strip(),
            tools=["python"],
            necessary=None,
        )
        record = shapes_json.openai_chat(trace, f"harbour_desk-{day}-benchmark-{k}")
        made.append(Entry(record, "contaminated", note="the task is in examples/benchmark.jsonl"))
    return made


class Copies:
    """Makes copies of a source's clean traces, exact and reworded, on the same day and on later ones."""

    def __init__(self, source: Source, pool: Pool, kinds: tuple[Any, ...] = (restock, invoice)) -> None:
        self.source, self.pool, self.kinds = source, pool, kinds
        self._originals: list[tuple[Trace, str]] = []

    def of_day(self, day: int) -> list[Entry]:
        """Three originals and their copies of the same day, then copies of the originals of the day before."""
        made: list[Entry] = []
        earlier = self._originals
        self._originals = [(self._original(), f"{self.source.name}-{day}-original-{k}") for k in range(4)]
        for k, (trace, key) in enumerate(self._originals):
            group = f"{key}-pair"
            first = self._entry(trace, key, "keep", "earliest of its copies")
            copies = (
                [],
                [self._entry(trace, key, "duplicate", "the same record again, the same day")],
                [self._entry(trace, f"{key}-again", "duplicate", "the same trace under another id, the same day")],
                [self._entry(self._reworded(trace), f"{key}-reworded", "near_duplicate", "a word more, the same day")],
            )[k]
            if k > 1:
                first.group, copies[0].group = group, group
            made += [first, *copies]
        for trace, key in earlier[:2]:
            made.append(self._entry(trace, key, "duplicate", "the same record as on the day before"))
            near = self._reworded(trace)
            made.append(self._entry(near, f"{key}-later", "near_duplicate", "a word more than on the day before"))
        return made

    def _original(self) -> Trace:
        return self.pool.draw(self.kinds, accept=lambda trace: sum(len(turn.text) for turn in trace.turns) > 250)

    def _reworded(self, trace: Trace) -> Trace:
        return faults.reworded(trace, self.pool.rng)

    def _entry(self, trace: Trace, key: str, expected: str, note: str) -> Entry:
        record = self.source.render(trace, key)
        return Entry(record, expected, note=note, necessary=trace.necessary, shape=self.source.shape)


def add_answers_apart(corpus: Corpus, pool: Pool) -> None:
    """A source whose truths stand in `answers.jsonl` beside the traces; two of each day are wrong by it."""
    for day, folder in enumerate(DAYS):
        made, answers = [], []
        for k in range(6):
            key = f"tallies-{day}-{k}"
            trace = pool.draw((*PYTHON_KINDS, *NATIVE_KINDS))
            answers.append({"id": key, "answer": trace.correct})
            wrong = k in (1, 4)
            trace = faults.wrong_answer(trace, pool.rng) if wrong else trace
            trace.truth = None
            note = "answers.jsonl beside it says otherwise" if wrong else "answers.jsonl beside it agrees"
            reason = "wrong_answer" if wrong else "keep"
            made.append(Entry(shapes_json.openai_chat(trace, key), reason, note=note, necessary=trace.necessary))
        corpus.add(f"tallies/{folder}/runs.jsonl", made)
        corpus.files[f"tallies/{folder}/answers.jsonl"] = lines(answers)


def add_prompts(corpus: Corpus, pool: Pool) -> None:
    """Questions with answers and no attempt: no traces, but tasks for reinforcement learning."""
    note = "a question with its answer: no trace, a prompt"
    for day, folder in enumerate(DAYS):
        asked = [pool.draw((*PYTHON_KINDS, *SEARCH_KINDS)) for _ in range(12)]
        quiz = [shapes_json.question(trace, f"quiz-{day}-{k}") for k, trace in enumerate(asked[:7])]
        rows = [shapes_json.verl_prompt(trace, f"drills-{day}-{k}") for k, trace in enumerate(asked[7:])]
        for path, records, shape in (
            (f"quiz/{folder}/questions.jsonl", quiz, "questions"),
            (f"drills/{folder}/prompts.parquet", rows, "verl"),
        ):
            made = [Entry(record, "not_a_trace", "trajectories", note, shape=shape, prompt=True) for record in records]
            corpus.add(path, made)


def add_attic(corpus: Corpus, pool: Pool) -> None:
    """Files that hold no traces, and files that are damaged."""
    stock = {"items": {item: {"price": price} for item, price in ITEMS.items()}, "revision": 7}
    register = [{"island": isle.name, "port": isle.port, "area": isle.area_km2} for isle in ISLANDS[:5]]
    notes = "THE ATTIC\n\nOld exports of the harbour office. Ask the clerk before you throw anything away.\n"
    for path, records, what in (
        (f"attic/{DAYS[0]}/schemas.json", list(SCHEMAS.values())[:4], "a tool schema"),
        (f"attic/{DAYS[0]}/stock.json", [stock], "a database dump"),
        (f"attic/{DAYS[1]}/register.jsonl", register, "a row of a database"),
        (f"attic/{DAYS[2]}/README.txt", [notes], "a text about the folder"),
    ):
        made = [Entry(record, "not_a_trace", "trajectories", what, shape="unknown") for record in records]
        corpus.add(path, made)
    for day, folder in enumerate(DAYS):
        good = [pool.draw(NATIVE_KINDS) for _ in range(5)]
        whole = [
            Entry(shapes_json.openai_chat(trace, f"attic-{day}-{k}"), note="whole, between damaged lines")
            for k, trace in enumerate(good[:4])
        ]
        made = [whole[0], *_damaged(good[4], pool.rng), *whole[1:]]
        corpus.add(f"attic/{folder}/damaged.jsonl", made)
    kept = [pool.draw(NATIVE_KINDS) for _ in range(3)]
    whole = [
        Entry(shapes_json.openai_chat(trace, f"attic-cut-{k}"), note="whole, in an archive cut later on")
        for k, trace in enumerate(kept)
    ]
    lost = Entry(whole[0].record, "unparsable", "trajectories", "the archive breaks off", shape="unknown")
    corpus.add_cut(f"attic/{DAYS[1]}/cut.jsonl.gz", whole, lost)


def _damaged(trace: Trace, rng: random.Random) -> list[Entry]:
    """Lines that are no records: noise, half a record, a key with two values, brackets two thousand deep."""
    line = json.dumps(shapes_json.openai_chat(trace, "attic-damaged"))
    twice = line.replace('{"id": "attic-damaged"', '{"id": "attic-damaged", "messages": []', 1)
    noise = "".join(rng.choice("#@~ %&xq?\\{]") for _ in range(90))
    return [
        Entry(text, "unparsable", "trajectories", note, shape="unknown")
        for text, note in (
            (noise, "a line of noise"),
            (line[: len(line) // 2], "half a record"),
            (twice, "a key with two values"),
            ('{"messages": ' + "[" * 2000 + "]" * 2000 + "}", "brackets two thousand deep"),
        )
    ]

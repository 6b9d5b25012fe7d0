"""The four faults a judge looks for, in many forms: to learn from, so that the few in the samples stay unseen.

None of the sentences of `faults.py` stands here. Clean traces are varied as well: second thoughts, hedges and asides
are no fault.
"""

import json
import random
from collections.abc import Callable

from examples.faults import Fault
from examples.tools import run
from examples.trace import Call, Trace
from examples.world import DEPOTS, ENCYCLOPEDIA, ISLANDS, ITEMS, PEOPLE

_CONTRADICTIONS = (
    "The {tool} tool cannot be called here, which is why I call it now.",
    "I have read the reply already and it is empty; now I wait for the reply that I read.",
    "{place} is the wrong place to ask about. It is also the only right one, so I do not ask and ask.",
    "As computed in step {many}, which I skipped, nothing was computed.",
    "No figure is needed. Without the figure nothing can be said. I go on without it and with it.",
    "My earlier result of {many} shows this. I have no earlier result.",
    "It is smaller than {many}, hence larger than {many}; both follow from the same line.",
    "First the end: the task is finished. Let me start the task that I never began.",
    "The user asked about something else, which I answered yesterday, tomorrow at the latest.",
    "I will not use {tool}. Using {tool} was the plan I never had, and I follow it.",
)
_RETRACTIONS = (
    "No, scrap that, it is certainly not so.",
    "On the other hand I never found this, and it is false.",
    "None of the above holds, including this.",
    "I take this back and stand by it.",
    "That result belongs to another question, not to this one.",
    "Ignore it; the real value is different and I do not state it.",
    "Which proves the reverse of what I wrote.",
)
_ASIDES = (
    "At first I read the question differently, but the numbers fit.",
    "I was not sure of the unit, however the tool names it.",
    "Wait, one more look: yes, this agrees.",
    "This may look odd, though it is what the source says.",
    "No rounding was needed.",
    "Nothing else was asked, so I stop here.",
    "Unfortunately I cannot say more about the reasons.",
    "I hope this helps.",
)
_ELSEWHERE = (
    "Our {item} are on offer this week; ask at the {depot} for the good ones.",
    "Many thanks for your letter. The harbour office is closed on holidays.",
    "Speaking of {place}: the lamps along its mole were painted green last spring.",
    "A short poem instead: the gulls of {place} sleep late and dream of bread.",
    "You can improve your sleep by leaving the window open and eating early.",
    "To register an account, choose a name and a password with eight characters.",
    "Before buying {item}, compare at least three sellers and keep the bill.",
)
_DETAILS = (
    "The harbour office of {place} confirmed it in {year}.",
    "This was first measured in {year} by {person}.",
    "It is {many} percent more than a year before.",
    "{person} reports the same from {place}.",
    "The margin of error is {many}.",
)


def ungrounded(trace: Trace, rng: random.Random) -> Trace:
    """The answer, or a detail beside it, is not what any tool returned."""
    faulty = _unjudged(trace)
    if rng.random() < 0.3:
        faulty.last.text = f"{_filled(rng.choice(_DETAILS), trace, rng)} {faulty.last.text}"
        return faulty
    answer = _another(trace.correct, rng)
    head, _, tail = faulty.last.text.rpartition(trace.answer)
    faulty.last.text, faulty.answer = head + answer + tail, answer
    return faulty


def incoherent(trace: Trace, rng: random.Random) -> Trace:
    """A thought contradicts itself, or the reply takes back what it says; often both."""
    faulty = _unjudged(trace)
    form = rng.randrange(3)
    if form != 1:
        calling = [turn for turn in faulty.turns if turn.calls]
        rng.choice(calling).text = " ".join(
            _filled(said, trace, rng) for said in rng.sample(_CONTRADICTIONS, rng.randint(1, 2))
        )
    if form != 0:
        faulty.last.text = f"{faulty.last.text} {' '.join(rng.sample(_RETRACTIONS, rng.randint(1, 2)))}"
    return faulty


def tool_misuse(trace: Trace, rng: random.Random) -> Trace:
    """One of the calls cannot help: it is empty, about something else, or made up."""
    faulty = _unjudged(trace)
    at = rng.choice([k for k, turn in enumerate(faulty.turns) if turn.calls])
    call, reply = faulty.turns[at].calls[0], faulty.turns[at + 1]
    call.arguments = _useless(call, rng)
    reply.text = run(call.name, call.arguments)
    return faulty


def irrelevant(trace: Trace, rng: random.Random) -> Trace:
    """The reply is about another thing: an advertisement, an article nobody asked for, small talk."""
    faulty = _unjudged(trace)
    articles = [text for title, text in ENCYCLOPEDIA.items() if title.lower() not in trace.prompt.lower()]
    said = rng.choice(articles) if rng.random() < 0.5 else _filled(rng.choice(_ELSEWHERE), trace, rng)
    faulty.last.text = faulty.answer = said
    return faulty


def clean(trace: Trace, rng: random.Random) -> Trace:
    """Nothing is wrong; now and then with an aside."""
    varied = trace.copied()
    if rng.random() < 0.3:
        varied.last.text = f"{rng.choice(_ASIDES)} {varied.last.text}"
    return varied


JUDGED: dict[str, Fault] = {
    "ungrounded": ungrounded,
    "incoherent": incoherent,
    "tool_misuse": tool_misuse,
    "irrelevant": irrelevant,
}


def _unjudged(trace: Trace) -> Trace:
    faulty = trace.copied()
    faulty.truth = faulty.success = None
    return faulty


def _filled(sentence: str, trace: Trace, rng: random.Random) -> str:
    return sentence.format(
        tool=next((call.name for turn in trace.turns for call in turn.calls), "search"),
        place=rng.choice(ISLANDS).name,
        item=rng.choice(list(ITEMS)),
        depot=rng.choice(DEPOTS),
        person=rng.choice(PEOPLE)["name"],
        many=rng.randint(13, 400),
        year=rng.randint(1700, 1990),
    )


def _another(correct: str, rng: random.Random) -> str:
    """An answer other than the right one: near it or far from it."""
    try:
        value = float(correct)
    except ValueError:
        names = [isle.port for isle in ISLANDS] + [str(person["name"]) for person in PEOPLE] + ["April", "December"]
        return rng.choice([name for name in names if name != correct])
    decimals = len(correct.partition(".")[2])
    shift: Callable[[], float] = rng.choice(
        (lambda: value * rng.uniform(0.3, 2.5), lambda: value + rng.randint(1, 9), lambda: value * 10 + 1)
    )
    other = f"{shift():.{decimals}f}"
    return other if other != correct else f"{value + 7:.{decimals}f}"


def _useless(call: Call, rng: random.Random) -> dict[str, object]:
    place, word = rng.choice(ISLANDS).name, rng.choice(("lantern", "gull", "parrot", "soup", "window", "letter"))
    forms: dict[str, tuple[dict[str, object], ...]] = {
        "python": (
            {"code": f"print({json.dumps(f'{word} {word}')})"},
            {"code": f"{word} = {rng.randint(2, 99)}\nprint({word} - {word})"},
            {"code": f"import math\nprint(round(math.pi, {rng.randint(2, 9)}))"},
            {"code": f"# still thinking about the {word}\nprint(True)"},
        ),
        "search": (
            {"query": f"{word} recipe {rng.choice(('quick', 'old', 'cheap'))}"},
            {"query": f"how do I feel about the {word}"},
            {"query": f"{rng.randint(100, 999)} {rng.randint(100, 999)}"},
        ),
        "calculator": (
            {"expression": f"{rng.randint(2, 99)} * 1"},
            {"expression": "1 - 1"},
            {"expression": f"{rng.randint(2, 9)} + {rng.randint(2, 9)} - {rng.randint(2, 9)}"},
        ),
        "island_info": ({"name": word}, {"name": "all of them"}, {"name": "?"}),
        "ferry_timetable": (
            {"origin": word, "destination": place},
            {"origin": "anywhere", "destination": "anywhere else"},
        ),
        "stock_count": ({"item": word, "depot": "cupboard"}, {"item": "items", "depot": rng.choice(DEPOTS)}),
        "convert_length": (
            {"value": float(rng.randint(1, 9)), "from_unit": "foot", "to_unit": "foot"},
            {"value": 0.0, "from_unit": "cable", "to_unit": "fathom"},
        ),
    }
    return dict(rng.choice(forms[call.name]))

"""Tasks for agents with an encyclopedia: facts of an invented world, in one lookup or two, some after a failed one."""

import random

from examples.trace import Step, Trace, assemble
from examples.world import BY_NAME, FESTIVALS, PEOPLE, SHIPS


def lifespan(rng: random.Random) -> Trace:
    """One lookup and a subtraction."""
    person = rng.choice(PEOPLE)
    name, asked = str(person["name"]), rng.randint(1, 40)
    age, year = int(str(person["died"])) - int(str(person["born"])), int(str(person["born"])) + asked
    prompt, answer = rng.choice(
        (
            (f"How old did {name}, the {person['job']}, grow in whole years (year of death minus year of birth)?", age),
            (f"In which year did the {person['job']} {name} turn {asked}?", year),
            (f"{asked} years after the birth of {name}: which year was it?", year),
        )
    )
    reply = f"{name} lived from {person['born']} to {person['died']}."
    return _looked_up(rng, "lifespan", prompt, [f"{name} born died"], reply, str(answer), [f"{name} ({person['born']}"])


def maker(rng: random.Random) -> Trace:
    """Who did it, asked by the deed."""
    person = rng.choice(PEOPLE)
    prompt = rng.choice(
        (
            f"Who is remembered for {person['work']}?",
            f"Name the {person['job']} behind {person['work']}.",
            f"{person['work'][0].upper()}{person['work'][1:]}: whose doing was it?",
        )
    )
    query = f"{person['job']} {person['work']}"
    reply = f"The entry names the {person['job']} of {person['island']}."
    name = str(person["name"])
    return _looked_up(rng, "maker", prompt, [query], reply, name, [f"{name} ({person['born']}", str(person["work"])])


def home_port(rng: random.Random) -> Trace:
    """Two lookups: a person's island, then that island's port."""
    person = rng.choice(PEOPLE)
    isle = BY_NAME[str(person["island"])]
    prompt = rng.choice(
        (
            f"Which port serves the island where {person['name']} was born?",
            f"{person['name']} was born on one of the islands. What is that island's port called?",
            f"I want to visit the birth island of the {person['job']} {person['name']}; at which port do I land?",
        )
    )
    queries = [f"{person['name']} born on", f"{isle.name} port"]
    if rng.random() < 0.4:
        queries.insert(0, rng.choice(("zzyx", "qqv"))[:4] + " " + str(person["name"])[:2])
    reply = f"{person['name']} came from {isle.name}, and its port is {isle.port}."
    evidence = [f"{person['job']} born on {isle.name}", f"port is {isle.port}"]
    return _looked_up(rng, "home_port", prompt, queries, reply, isle.port, evidence)


def ship_age(rng: random.Random) -> Trace:
    """Two lookups: how many years after an island's settlement a ship was launched."""
    ship = rng.choice(SHIPS)
    isle = BY_NAME[str(ship["island"])]
    gap = int(str(ship["built"])) - isle.settled
    prompt = rng.choice(
        (
            f"How many years after the settlement of {isle.name} was the {ship['name']} launched?",
            f"The {ship['kind']} {ship['name']} was launched long after {isle.name} was settled. How many years later?",
        )
    )
    queries = [f"{ship['name']} {ship['kind']} launched", f"{isle.name} settled"]
    reply = f"Launched in {ship['built']}, settled in {isle.settled}."
    evidence = [f"launched in {ship['built']}", f"settled in {isle.settled}"]
    return _looked_up(rng, "ship_age", prompt, queries, reply, str(gap), evidence)


def feast(rng: random.Random) -> Trace:
    """One lookup about a festival."""
    day = rng.choice(FESTIVALS)
    year = int(str(day["since"])) + rng.randint(5, 150)
    prompt, answer = rng.choice(
        (
            (f"In which month do people celebrate {day['name']}?", str(day["month"])),
            (f"On which island is {day['name']} held, where {day['custom']}?", str(day["island"])),
            (f"How many years had {day['name']} existed in {year}?", str(year - int(str(day["since"])))),
            (f"When in the year would I see that {day['custom']}?", str(day["month"])),
        )
    )
    query = f"{day['name']} festival held {str(day['custom']).split(' ')[-1]}"
    reply = f"{day['name']} belongs to {day['island']}."
    return _looked_up(rng, "feast", prompt, [query], reply, answer, [f"{day['name']} is held on"])


def _looked_up(
    rng: random.Random, kind: str, prompt: str, queries: list[str], reply: str, answer: str, evidence: list[str]
) -> Trace:
    """A trace of searches; it is grounded where all of the evidence came up among the hits."""
    thoughts = (
        "I do not know this; I search.",
        "Let me look it up in the encyclopedia.",
        "This needs a source.",
        "I should check before I answer.",
        "Searching for it.",
    )
    following = ("That gives the first half.", "Now the other fact.", "One more lookup.", "Not enough yet, so again.")
    steps = [
        Step(rng.choice(following if k else thoughts), "search", {"query": query}) for k, query in enumerate(queries)
    ]
    trace = assemble(
        rng, kind=kind, prompt=prompt, steps=steps, reply=reply, answer=answer, tools=["search"], necessary=True
    )
    seen = "\n".join(turn.text for turn in trace.turns if turn.role == "tool")
    trace.grounded = all(fact in seen for fact in evidence)
    return trace


SEARCH_KINDS = (lifespan, maker, home_port, ship_age, feast)

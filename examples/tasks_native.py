"""Tasks for agents with several declared tools: ferries, stores, the register, lengths, and some needing no tool."""

import random

from examples.tools import convert_length
from examples.trace import Step, Trace, assemble
from examples.world import DEPOTS, ISLANDS, ITEMS, ferries, stock


def cheapest_ferry(rng: random.Random) -> Trace:
    """One lookup: the cheapest crossing between two islands."""
    origin, destination = (isle.name for isle in rng.sample(ISLANDS, 2))
    cheapest = min(ferries(origin, destination), key=lambda crossing: float(str(crossing["price"])))
    people = rng.randint(2, 9)
    prompt = rng.choice(
        (
            f"We are {people} friends in {origin} who want to reach {destination}. What does the cheapest "
            "crossing cost each of us?",
            f"Price of the cheapest boat from {origin} to {destination}, one ticket, please.",
            f"My sister lives on {destination} and I on {origin}. Which fare is the lowest today, in crowns?",
            f"For the school trip from {origin} to {destination} I need the lowest single fare on the Sevrin line.",
        )
    )
    thought = rng.choice(
        (
            f"Fares change daily, so I look up {origin} to {destination}.",
            f"Let me open today's timetable for {destination}.",
            "I cannot know today's fares; the timetable has them.",
        )
    )
    reply = rng.choice(
        (
            f"The crossing at {cheapest['departs']} is the cheapest one listed.",
            f"Of the boats to {destination} the one leaving at {cheapest['departs']} costs least.",
            f"Take the {cheapest['departs']} boat; it needs {cheapest['minutes']} minutes.",
        )
    )
    return assemble(
        rng,
        kind="cheapest_ferry",
        prompt=prompt,
        steps=[Step(thought, "ferry_timetable", {"origin": origin, "destination": destination})],
        reply=reply,
        answer=f"{cheapest['price']:.2f}",
        tools=["ferry_timetable", "island_info"],
        necessary=True,
    )


def restock(rng: random.Random) -> Trace:
    """Two lookups: one item in two depots, and what is missing to a target."""
    item = rng.choice(list(ITEMS))
    first, second = rng.sample(DEPOTS, 2)
    held = stock(item, first) + stock(item, second)
    target = held + rng.randint(7, 300)
    prompt = rng.choice(
        (
            f"We must have {target} of the item '{item}' by Monday. Count the {first} and the {second} and tell "
            "me how many to order.",
            f"How many more '{item}' do I buy if the {first} and the {second} together should hold {target}?",
            f"The harbour master wants {target} pieces of '{item}' across {first} and {second}. What is the shortfall?",
        )
    )
    steps = [
        Step(
            rng.choice((f"First the {first}.", f"I count '{item}' in the {first}.", "Two depots, so two counts.")),
            "stock_count",
            {"item": item, "depot": first},
        ),
        Step(
            rng.choice((f"Now the {second}.", f"And the {second} as well.", f"The {second} is still missing.")),
            "stock_count",
            {"item": item, "depot": second},
        ),
    ]
    reply = rng.choice(
        (
            f"The two depots hold {stock(item, first)} and {stock(item, second)}, together {held}; {target} are "
            "wanted.",
            f"There are {held} in all, and {target} minus {held} remain to be ordered.",
        )
    )
    return assemble(
        rng,
        kind="restock",
        prompt=prompt,
        steps=steps,
        reply=reply,
        answer=str(target - held),
        tools=["stock_count", "calculator"],
        necessary=True,
    )


def density(rng: random.Random) -> Trace:
    """A misspelt name fails, then the register entry and a division."""
    isle = rng.choice(ISLANDS)
    wrong = isle.name[:-1] + rng.choice("xzq")
    value = round(isle.population / isle.area_km2, 2)
    recovers = rng.random() < 0.5
    prompt = rng.choice(
        (
            f"How many people live on {isle.name} per square kilometre? Two decimals.",
            f"Give me the population density of {isle.name}, rounded to two places.",
            f"I am writing a school report about {isle.name}; what is its density in inhabitants per km2 (2 decimals)?",
        )
    )
    steps = [Step(f"The register should list {isle.name}.", "island_info", {"name": isle.name})]
    if recovers:
        steps.insert(0, Step("I need population and area from the register.", "island_info", {"name": wrong}))
        steps[1] = Step(f"I misspelt it; the island is called {isle.name}.", "island_info", {"name": isle.name})
    steps.append(
        Step(
            rng.choice(("Now I divide.", "Population over area gives the density.", "Dividing the two.")),
            "calculator",
            {"expression": f"{isle.population} / {isle.area_km2}"},
        )
    )
    return assemble(
        rng,
        kind="density",
        prompt=prompt,
        steps=steps,
        reply=f"{isle.name} has {isle.population:,} people on {isle.area_km2} square kilometres.",
        answer=f"{value:.2f}",
        tools=["island_info", "calculator"],
        necessary=True,
    )


def channel_length(rng: random.Random) -> Trace:
    """A length in an unfamiliar unit, converted by the tool."""
    amount = round(rng.uniform(3, 900), 2)
    source, target = rng.sample(("fathom", "cable", "nautical_mile", "foot"), 2)
    subject = rng.choice(("anchor chain", "dredged channel", "mooring line", "boom across the basin", "sounding lead"))
    result = convert_length(amount, source, target).split('"value": ')[1].split(",")[0]
    source_word, target_word = source.replace("_", " "), target.replace("_", " ")
    place = rng.choice(ISLANDS).port
    prompt = rng.choice(
        (
            f"At {place} the {subject} measures {amount} in the unit {source_word}. How much is that, given in "
            f"the unit {target_word}?",
            f"Convert for the log of {place}: {subject}, {amount} {source_word}(s), into {target_word}(s), four "
            "decimals.",
            f"The pilot book of {place} lists the {subject} as {amount} {source_word} units; I need it in "
            f"{target_word} units.",
        )
    )
    thought = rng.choice(("The converter does this exactly.", f"I convert {amount}.", "Odd units; better not by hand."))
    return assemble(
        rng,
        kind="channel_length",
        prompt=prompt,
        steps=[
            Step(thought, "convert_length", {"value": amount, "from_unit": source, "to_unit": target}),
        ],
        reply=f"The {subject} comes to that many {target_word} units after conversion.",
        answer=result,
        tools=["convert_length"],
        necessary=True,
    )


def plain_question(rng: random.Random) -> Trace:
    """A question anybody answers at once, answered without a call although tools are there."""
    few = rng.randint(2, 9)
    person = rng.choice(("Ada", "Bo", "Cleo", "Dov", "Esme", "Filip", "Gwen", "Hal", "Ines", "Jory"))
    thing = rng.choice(("lamps", "ropes", "oars", "kites", "buckets", "maps", "hooks", "flags"))
    more = rng.randint(2, 9)
    prompt, answer, reply = rng.choice(
        (
            (f"{person} has {few} {thing} and buys {more} more. How many {thing} now?", few + more, "A small sum."),
            (
                f"How many minutes do {few} hours have, {person} asks while sorting {thing}.",
                few * 60,
                "Sixty per hour.",
            ),
            (
                f"{person} stacks {thing} in {few} rows of {more}. How many is that?",
                few * more,
                f"{few} rows of {more} make {few * more}.",
            ),
            (
                f"{person} must share {few * more} {thing} among {few} crews equally. What does each crew get?",
                more,
                "An even split, no rest.",
            ),
            (
                f"Double {few + more} and give me the number; {person} bets on {thing}.",
                2 * (few + more),
                "Twice as many.",
            ),
            (
                f"A week and {few} days until {person} returns with the {thing}. How many days in all?",
                7 + few,
                f"Seven and {few}.",
            ),
        )
    )
    return assemble(
        rng,
        kind="plain_question",
        prompt=prompt,
        steps=[],
        reply=reply,
        answer=str(answer),
        tools=rng.choice((["calculator", "search"], ["python"], ["stock_count", "calculator"], ["island_info"])),
        necessary=False,
    )


def needless_sum(rng: random.Random) -> Trace:
    """A sum done in the head by anybody, sent to the calculator all the same."""
    first, second = rng.randint(2, 12), rng.randint(2, 12)
    cargo = rng.choice(("crates of plums", "sacks of oats", "coils of rope", "bales of flax", "tins of kelp", "casks"))
    where = rng.choice(ISLANDS).port
    prompt = rng.choice(
        (
            f"{first} {cargo} came ashore at {where} in the morning and {second} after noon. How many today?",
            f"At {where} I count {first} {cargo} on the left, {second} on the right. Together?",
            f"Add {second} {cargo} to the {first} already on the quay of {where}.",
        )
    )
    return assemble(
        rng,
        kind="needless_sum",
        prompt=prompt,
        steps=[
            Step(
                rng.choice(("I will calculate.", f"Let me add {first} and {second}.", "Using the calculator.")),
                "calculator",
                {"expression": f"{first} + {second}"},
            ),
        ],
        reply=rng.choice((f"That makes {first + second} {cargo}.", "The calculator says so.")),
        answer=str(first + second),
        tools=["calculator"],
        necessary=False,
    )


NATIVE_KINDS = (cheapest_ferry, restock, density, channel_length)

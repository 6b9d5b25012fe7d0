"""Tasks for agents with a Python interpreter: long sums, dates, simulations. The code is run to get its output."""

import random
from datetime import date, timedelta

from examples.tools import python
from examples.trace import Step, Trace, assemble
from examples.world import ISLANDS, ITEMS

_THOUGHTS = (
    "I will let Python do this.",
    "A short program settles it.",
    "Too long by hand; I write code.",
    "Let me compute it exactly.",
    "I run this instead of guessing.",
)


def _coded(rng: random.Random, kind: str, prompt: str, code: str, reply: str) -> Trace:
    answer = python(code).strip().splitlines()[-1]
    return assemble(
        rng,
        kind=kind,
        prompt=prompt,
        steps=[Step(rng.choice(_THOUGHTS), "python", {"code": code})],
        reply=reply,
        answer=answer,
        tools=["python"],
        necessary=True,
    )


def sequence(rng: random.Random) -> Trace:
    """A sum over a range with a condition."""
    low, high = rng.randint(100, 900), rng.randint(4_000, 90_000)
    divisor, digit = rng.choice((7, 11, 13, 17, 19, 23)), rng.randint(0, 9)
    code = (
        f"total = 0\nfor n in range({low}, {high} + 1):\n"
        f"    if n % {divisor} == 0 and str(n).endswith('{digit}'):\n        total += n\nprint(total)"
    )
    prompt = rng.choice(
        (
            f"What is the sum of all whole numbers from {low} to {high} that are divisible by {divisor} and end "
            f"in {digit}?",
            f"Add up every multiple of {divisor} between {low} and {high} (both included) whose last digit is {digit}.",
            f"Buoys are numbered {low} to {high}. Those with a number ending in {digit} and divisible by "
            f"{divisor} are red. Sum the red numbers.",
        )
    )
    return _coded(rng, "sequence", prompt, code, f"I went through {low} to {high}.")


def savings(rng: random.Random) -> Trace:
    """Compound growth over years."""
    isle = rng.choice(ISLANDS)
    start, rate = rng.randint(200, 9_000), rng.choice((1.5, 2.25, 2.8, 3.1, 3.75, 4.4))
    years, yearly = rng.randint(6, 31), rng.randint(20, 400)
    code = (
        f"balance = {start}\nfor year in range({years}):\n"
        f"    balance = balance * (1 + {rate} / 100) + {yearly}\nprint(round(balance, 2))"
    )
    prompt = rng.choice(
        (
            f"The lifeboat fund of {isle.name} holds {start} crowns, earns {rate} percent a year and gets "
            f"{yearly} crowns "
            f"at each year's end. What does it hold after {years} years, to two decimals?",
            f"{start} crowns at {rate}% yearly interest, plus {yearly} crowns paid in after every year, in "
            f"{isle.port}. "
            f"Balance after {years} years (round to 2 decimals)?",
        )
    )
    return _coded(rng, "savings", prompt, code, f"After {years} rounds of interest and payments the fund is done.")


def weekday(rng: random.Random) -> Trace:
    """Days between two dates."""
    first = date(rng.randint(1890, 1990), rng.randint(1, 12), rng.randint(1, 28))
    second = first + timedelta(days=rng.randint(900, 30_000))
    event = rng.choice(
        ("lighthouse lit", "mole finished", "ferry launched", "school opened", "cable laid", "dock flooded")
    )
    place = rng.choice(ISLANDS).port
    later, earlier = (second.year, second.month, second.day), (first.year, first.month, first.day)
    code = f"from datetime import date\nprint((date{later} - date{earlier}).days)"
    prompt = rng.choice(
        (
            f"In {place}: {event} on {first.isoformat()}, renewed on {second.isoformat()}. How many days lie between?",
            f"Count the days from {first.isoformat()} ({event}, {place}) to {second.isoformat()}.",
        )
    )
    return _coded(rng, "weekday", prompt, code, "Leap years included.")


def invoice(rng: random.Random) -> Trace:
    """A bill of several lines with a discount."""
    lines = [(rng.randint(3, 120), item) for item in rng.sample(list(ITEMS), 4)]
    discount, port = rng.choice((3, 4, 6, 7, 9, 12)), rng.choice(ISLANDS).port
    listing = ", ".join(f"{count} x {item} at {ITEMS[item]:.2f}" for count, item in lines)
    terms = ", ".join(f"({count}, {ITEMS[item]})" for count, item in lines)
    code = (
        f"lines = [{terms}]\ntotal = sum(count * price for count, price in lines)\n"
        f"print(round(total * (100 - {discount}) / 100, 2))"
    )
    prompt = rng.choice(
        (
            f"Bill for the chandler of {port}: {listing}. Take off {discount} percent. What is to be paid, in crowns?",
            f"{port} ordered {listing}; there is a discount of {discount}%. Compute the total to two decimals.",
        )
    )
    return _coded(rng, "invoice", prompt, code, f"Four lines, then {discount} percent off.")


def tide_walk(rng: random.Random) -> Trace:
    """A first program fails, the second is right."""
    depth, drop, rise = rng.randint(40, 160), rng.randint(3, 9), rng.randint(1, 2)
    place = rng.choice(ISLANDS).name
    body = (
        f"depth, hours = {depth}, 0\nwhile depth > 0:\n    hours += 1\n    depth -= {drop}\n"
        f"    if depth > 0:\n        depth += {rise}\n"
    )
    broken, mended = body + "print(hour)", body + "print(hours)"
    prompt = rng.choice(
        (
            f"A basin on {place} is {depth} cm deep. Every hour {drop} cm drain away, and unless it is dry {rise} "
            "cm seep "
            f"back. After how many hours is it dry?",
            f"Pumps lower a flooded hold near {place} by {drop} cm an hour but {rise} cm leak in again afterwards "
            "while "
            f"there is water. Start: {depth} cm. Hours until empty?",
        )
    )
    return assemble(
        rng,
        kind="tide_walk",
        prompt=prompt,
        steps=[
            Step(rng.choice(_THOUGHTS), "python", {"code": broken}),
            Step("A typo in a name; once more.", "python", {"code": mended}),
        ],
        reply=f"Counting hour by hour from {depth} cm.",
        answer=python(mended).strip(),
        tools=["python"],
        necessary=True,
    )


def needless_code(rng: random.Random) -> Trace:
    """A one-step sum sent to the interpreter."""
    first, second = rng.randint(3, 15), rng.randint(2, 9)
    crew, gear = (
        rng.choice(("pilots", "divers", "bakers", "riggers", "cooks")),
        rng.choice(("mugs", "caps", "pens", "keys")),
    )
    port = rng.choice(ISLANDS).port
    prompt = rng.choice(
        (
            f"The {first} {crew} of {port} need {second} {gear} each. How many {gear}?",
            f"{port}: each of {first} {crew} loses {second} {gear}. {gear.capitalize()} lost in all?",
        )
    )
    trace = _coded(rng, "needless_code", prompt, f"print({first} * {second})", f"{first} times {second}.")
    trace.necessary = False
    return trace


PYTHON_KINDS = (sequence, savings, weekday, invoice, tide_walk)

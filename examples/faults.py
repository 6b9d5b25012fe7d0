"""Faults put into clean traces, one each, so that exactly one gate has reason to speak."""

import json
import random
from collections.abc import Callable

from examples.tools import run
from examples.trace import Call, Trace, Turn

Fault = Callable[[Trace, random.Random], Trace]

_NAMES = ("Orsolya Fenn", "Matthias Kroll", "Priya Lindqvist", "Nuala Bergstrom", "Teodor Vass", "Yara Holm")


def empty_reply(trace: Trace, rng: random.Random) -> Trace:
    """The assistant never says or does anything."""
    faulty = trace.copied()
    faulty.turns = [faulty.turns[0], Turn("assistant", rng.choice(("", " ", "\n\n")))]
    return faulty


def ends_on_observation(trace: Trace, rng: random.Random) -> Trace:
    """The log stops after a tool's reply."""
    faulty = trace.copied()
    faulty.turns.pop()
    return faulty


def cut_by_length(trace: Trace, rng: random.Random) -> Trace:
    """Generation stopped at the token limit, mid-sentence."""
    faulty = trace.copied()
    faulty.last.text = faulty.last.text[: max(12, len(faulty.last.text) // 3)].rstrip(" .")
    faulty.finish_reason = "length"
    return faulty


def unpaired_call(trace: Trace, rng: random.Random) -> Trace:
    """A second call of the same turn never gets its reply."""
    faulty = trace.copied()
    turn = faulty.turns[faulty.first_calling()]
    arguments = turn.calls[0].arguments
    twin = dict(arguments) if isinstance(arguments, dict) else {}
    key = next(key for key, value in twin.items() if isinstance(value, str))
    twin[key] = {"item": "oak plank", "name": "Wyke", "origin": "Wyke", "expression": "7 * 191"}.get(key, twin[key])
    if key in ("query", "code"):
        twin[key] = "Harbour Bells cantata" if key == "query" else "print(7 * 191)"
    turn.calls.append(Call(f"call_{rng.getrandbits(48):012x}", turn.calls[0].name, twin))
    return faulty


def orphan_observation(trace: Trace, rng: random.Random) -> Trace:
    """A tool's reply that no call asked for."""
    faulty = trace.copied()
    at = faulty.first_calling() + 2
    name = faulty.turns[at - 1].name
    stray = Turn("tool", f"Tide gauge {rng.randint(100, 999)}: level {rng.randint(10, 400)} cm, falling.", name=name)
    stray.call_id = f"call_{rng.getrandbits(48):012x}"
    faulty.turns.insert(at, stray)
    return faulty


def undeclared_tool(trace: Trace, rng: random.Random) -> Trace:
    """The called tool is not among those declared."""
    faulty = trace.copied()
    used = {call.name for turn in faulty.turns for call in turn.calls}
    faulty.tools = [name for name in ("ferry_timetable", "convert_length", "search") if name not in used][:2]
    return faulty


def missing_argument(trace: Trace, rng: random.Random) -> Trace:
    """A required argument is left out, and the tool says so."""
    call, reply, faulty = _first_call(trace)
    arguments = dict(call.arguments) if isinstance(call.arguments, dict) else {}
    dropped = next(iter(arguments))
    del arguments[dropped]
    call.arguments = arguments
    reply.text = json.dumps({"error": f"missing argument: {dropped}"})
    return faulty


def wrong_type(trace: Trace, rng: random.Random) -> Trace:
    """An argument has a type its schema forbids."""
    call, _, faulty = _first_call(trace)
    arguments = dict(call.arguments) if isinstance(call.arguments, dict) else {}
    key = next(iter(arguments))
    arguments[key] = [arguments[key]] if isinstance(arguments[key], str) else str(arguments[key])
    call.arguments = arguments
    return faulty


def broken_json(trace: Trace, rng: random.Random) -> Trace:
    """The arguments are no JSON."""
    call, _, faulty = _first_call(trace)
    call.arguments = json.dumps(call.arguments)[:-2].replace('"', "'", 1)
    return faulty


def repeated_call(trace: Trace, rng: random.Random) -> Trace:
    """The same call with the same reply, five times over."""
    faulty = trace.copied()
    at = faulty.first_calling()
    call, reply = faulty.turns[at].calls[0], faulty.turns[at + 1]
    loop: list[Turn] = []
    for words in ("Let me try that again.", "Once more.", "I repeat the request.", "Again."):
        call_id = f"call_{rng.getrandbits(48):012x}"
        loop.append(Turn("assistant", words, [Call(call_id, call.name, call.arguments)]))
        loop.append(Turn("tool", reply.text, call_id=call_id, name=reply.name))
    faulty.turns[at + 2 : at + 2] = loop
    return faulty


def wrong_answer(trace: Trace, rng: random.Random) -> Trace:
    """The conclusion is not the recorded truth."""
    faulty = _concluding(trace, _other_answer(trace.correct, rng))
    faulty.truth = trace.correct
    return faulty


def failed_outcome(trace: Trace, rng: random.Random) -> Trace:
    """No truth is recorded, but the source says the attempt failed."""
    faulty = _concluding(trace, _other_answer(trace.correct, rng))
    faulty.truth, faulty.success = None, False
    return faulty


def altered_observation(trace: Trace, rng: random.Random) -> Trace:
    """The tool's reply in the log is not what the tool returns; the answer follows the log."""
    wrong = _other_answer(trace.correct, rng)
    faulty = _concluding(trace, wrong)
    reply = [turn for turn in faulty.turns if turn.role == "tool"][-1]
    reply.text = reply.text.replace(trace.correct, wrong) if trace.correct in reply.text else f"{wrong}\n"
    faulty.truth = faulty.success = None
    return faulty


def ungrounded(trace: Trace, rng: random.Random) -> Trace:
    """The answer contradicts what the tool returned, and nothing recorded tells."""
    faulty = _concluding(trace, _other_answer(trace.correct, rng))
    faulty.truth = faulty.success = None
    return faulty


def incoherent(trace: Trace, rng: random.Random) -> Trace:
    """The reasoning contradicts itself from one sentence to the next."""
    faulty = _unjudged(trace)
    turn = faulty.turns[faulty.first_calling()]
    turn.text = rng.choice(
        (
            "I already know the result, so no tool is needed. I have no idea of the result. Calling it is "
            "forbidden, hence I call.",
            "First I finish, then I begin: the reply below shows, before I have asked, that nothing was asked.",
            "Since the number is even it must be odd, and because I searched yesterday I will not search, as follows.",
            "Step three comes before step one. There is no step two; step two was the important one.",
        )
    )
    faulty.last.text = f"Therefore the opposite. Or not. {faulty.last.text} But I reject that answer."
    return faulty


def tool_misuse(trace: Trace, rng: random.Random) -> Trace:
    """The right tool is there, and the assistant uses it in a way that cannot help."""
    faulty = _unjudged(trace)
    at = faulty.first_calling()
    call, reply = faulty.turns[at].calls[0], faulty.turns[at + 1]
    useless = {
        "python": {"code": f"print('thinking about problem {rng.randint(10, 99)}')"},
        "search": {"query": f"what is {rng.randint(10, 99)} plus {rng.randint(10, 99)}"},
        "calculator": {"expression": "0 + 0"},
        "island_info": {"name": "please tell me the answer"},
        "ferry_timetable": {"origin": "here", "destination": "there"},
        "stock_count": {"item": "everything", "depot": "anywhere"},
        "convert_length": {"value": 1.0, "from_unit": "metre", "to_unit": "metre"},
    }
    call.arguments = dict(useless[call.name])
    reply.text = run(call.name, call.arguments)
    return faulty


def irrelevant(trace: Trace, rng: random.Random) -> Trace:
    """The reply is about something nobody asked."""
    faulty = _unjudged(trace)
    faulty.last.text = faulty.answer = rng.choice(
        (
            "Kelp soup needs an hour of slow boiling, a pinch of pepper and, on Wyke, a spoon of cream.",
            "Before you go, consider a subscription to the harbour gazette; the first month is free of charge.",
            "The old theatre of Greywick reopened with a comedy about two tax collectors and a parrot.",
            "Good rope is kept dry, coiled loosely, and turned once a week so that it does not take a set.",
        )
    )
    return faulty


def with_secret(trace: Trace, rng: random.Random) -> Trace:
    """A credential stands in the text. Put together here from pieces, marked EXAMPLE, and valid nowhere."""
    faulty = trace.copied()
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    noise = "".join(rng.choice(letters) for _ in range(40))
    token = rng.choice(
        (
            "AK" + "IA" + noise[:9] + "EXAMPLE",
            "gh" + "p_" + "EXAMPLE" + noise[:29],
            "xo" + "xb-" + f"{rng.randint(10**11, 10**12 - 1)}-{rng.randint(10**11, 10**12 - 1)}-" + noise[:24].lower(),
        )
    )
    faulty.turns[0].text += f" (If the harbour gateway asks, its key is {token}.)"
    faulty.prompt = faulty.turns[0].text
    return faulty


def with_personal_data(trace: Trace, rng: random.Random) -> Trace:
    """Somebody's address, number or card stands in the text; all invented or published test numbers."""
    faulty = trace.copied()
    name = rng.choice(_NAMES)
    mailbox = f"{name.lower().replace(' ', '.')}{rng.randint(2, 98)}@sevrinpost.net"
    datum = rng.choice(
        (
            f"Write to {mailbox} when done.",
            f"Call {name} at +1 202-555-01{rng.randint(10, 99)} with the result.",
            f"{name} pays by card 4111 1111 1111 1111.",
            f"The refund goes to IBAN GB82 WEST 1234 5698 7654 32, holder {name}.",
        )
    )
    faulty.turns[0].text += " " + datum
    faulty.prompt = faulty.turns[0].text
    return faulty


def overlong(trace: Trace, rng: random.Random) -> Trace:
    """A program prints one line twelve thousand times."""
    faulty = trace.copied()
    at = faulty.first_calling()
    call, reply = faulty.turns[at].calls[0], faulty.turns[at + 1]
    line = f"gauge {rng.randint(10, 99)} {rng.choice(('steady', 'quiet', 'calm'))}, no alarm raised"
    arguments = dict(call.arguments) if isinstance(call.arguments, dict) else {}
    arguments["code"] = f"for hour in range(12000):\n    print({line!r})\n{arguments['code']}"
    call.arguments = arguments
    reply.text = run("python", arguments)
    return faulty


def needless(trace: Trace, rng: random.Random) -> Trace:
    """The task is solved in the head, and a tool is called all the same."""
    faulty = trace.copied()
    faulty.truth = trace.correct
    return faulty


def reworded(trace: Trace, rng: random.Random) -> Trace:
    """The same attempt with one word changed: a near duplicate."""
    faulty = trace.copied()
    faulty.last.text += rng.choice((" Done.", " Good.", " Fair winds!", " Cheers."))
    return faulty


def _first_call(trace: Trace) -> tuple[Call, Turn, Trace]:
    """The first call and its reply, in a copy."""
    faulty = trace.copied()
    at = faulty.first_calling()
    return faulty.turns[at].calls[0], faulty.turns[at + 1], faulty


def _unjudged(trace: Trace) -> Trace:
    """A copy with no recorded truth or outcome."""
    faulty = trace.copied()
    faulty.truth = faulty.success = None
    return faulty


def _concluding(trace: Trace, answer: str) -> Trace:
    """A copy that concludes `answer` instead."""
    faulty = trace.copied()
    head, _, tail = faulty.last.text.rpartition(trace.answer)
    faulty.last.text = head + answer + tail
    faulty.answer = answer
    return faulty


def _other_answer(correct: str, rng: random.Random) -> str:
    """An answer clearly unlike the right one."""
    try:
        value = float(correct)
    except ValueError:
        return rng.choice([word for word in ("Lowmouth", "Greywick", "October", "Wilma Sandoval") if word != correct])
    shifted = value * rng.choice((0.6, 1.35, 1.8)) + rng.randint(3, 19)
    return f"{shifted:.2f}" if "." in correct else str(round(shifted))

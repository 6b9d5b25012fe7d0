"""The final answer an assistant text states, found by the marks that protocols and models put around it."""

import re
from collections import deque
from collections.abc import Iterator

TAIL_CHARS = 20_000
"""Only this much of the end of a text is looked at: an answer stands last, and the cost stays flat on any input."""

SHORT_WORDS = 12
"""A text of so few words, with no mark in it, is itself the answer."""

MAX_ANSWER_WORDS = 60
"""A marked stretch longer than this is an explanation."""

_MAX_MARKS = 8
"""Marks of one kind looked at, from the end: a bound on the work, far beyond what a real text holds."""

_MAX_NESTED = 3
_SENTENCE_BREAK = re.compile(r"\n\s*\n|[.!?]\s|\b(?:wait|but|no)\b", re.I)
_OPENED = re.compile(r"<(answer|solution|final_answer)>", re.I)
_CLOSED = {tag: re.compile(rf"</{tag}>", re.I) for tag in ("answer", "solution", "final_answer")}
_FINISH = re.compile(r"finish\[", re.I)
_ANSWER_WORD = re.compile(r"answer", re.I)
_HASHES = re.compile(r"^[ \t]*####[ \t]*(\S[^\n]*)$", re.M)
_RUNS = re.compile(r"(?<=[ \t])[ \t]+|(?<=\n\n)\n+|(?<=[*_]{2})[*_]+")
"""What is taken out before the patterns below see a text: without long runs their backtracking has a bound."""

_PHRASE = re.compile(
    r"\b(?:final|correct|right|my|the|so|overall)[ \t](?:final[ \t]|correct[ \t])?answer\b[ \t]?[*_]*[ \t]?"
    r"(?:\([^()\n]{0,60}\)[ \t]?)?"
    r"(?:[:\uff1a][ \t]?[*_]*(?:[ \t]?\n){0,3}|is\b[ \t]?:?(?:[ \t]?\n){0,2}|=|[*_]*[ \t]?(?:\n[ \t]?){1,3})[ \t]?[*_]*"
    r"|(?<!\w)answer[ \t]?[*_]*[ \t]?[:\uff1a][ \t]?[*_]*(?:[ \t]?\n){0,2}[ \t]?[*_]*",
    re.I,
)
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*")
_SENTENCE_END = re.compile(r"[.!?](?=\s)")
_ABBREVIATION = re.compile(
    r"(?:\b[A-Za-z]|\b(?:mr|mrs|ms|dr|st|sr|jr|vs|no|prof|gen|lt|col|inc|ltd|mt|approx|etc))$", re.I
)
_NUMERIC = re.compile(r"^[^A-Za-z\n]{0,12}\d")
_LEAD_IN = re.compile(r"^(?:the\s+)?(?:final\s+|correct\s+)?answer\s*(?:is\b\s*:?|:)\s*", re.I)


def extract_answer(text: str | None) -> str | None:
    r"""The final answer stated in an assistant text; None where it states none.

    The last of the marks that leave no doubt wins: `\boxed{…}`, `<answer>`, `<solution>`, `#### x`, `finish[x]`.
    Without one: the last "The final answer is …", "Answer: …" or Final Answer heading; then a single bold stretch in
    the last paragraph; then the text itself if it has at most SHORT_WORDS words. Thought before `</think>` does not
    count unless nothing follows it. Looks at the last TAIL_CHARS characters only. Cost: 15-160 us.
    """
    if not text:
        return None
    tail = text[-TAIL_CHARS:]
    _, closed, said = tail.rpartition("</think>")
    if closed and said.strip():
        tail = text = said
    marked = marked_answer(tail)
    if marked is not None:
        return marked
    phrased = _phrased(tail) or _lone_bold(tail)
    if phrased is not None:
        return phrased
    whole = text if len(text) <= 400 else ""
    return tidy(whole) if 0 < len(whole.split()) <= SHORT_WORDS else None


def marked_answer(text: str) -> str | None:
    """What the last unmistakable mark encloses; None without one. A mark inside a mark is opened too."""
    inner = _last_mark(text[-TAIL_CHARS:])
    for _ in range(_MAX_NESTED):
        nested = _last_mark(inner) if inner is not None else None
        if nested is None:
            break
        inner = nested
    if inner is None or (len(inner.split()) > MAX_ANSWER_WORDS and not _is_code(inner)):
        return None
    return tidy(_LEAD_IN.sub("", inner.strip()))


def _last_mark(tail: str) -> str | None:
    """The content of the mark that starts last."""
    found = [mark for mark in (_boxed(tail), _tagged(tail), _hashed(tail), _finished(tail)) if mark is not None]
    return max(found)[1] if found else None


def tidy(answer: str) -> str | None:
    """The answer without the space, emphasis, inline-mathematics marks and full stop around it; None if that is all."""
    answer = answer.strip()
    previous = None
    while answer != previous:
        previous = answer
        answer = answer.strip("*_` \t\r\n") if not answer.startswith("```") else answer
        if answer.endswith(".") and not answer.endswith("..") and not _ABBREVIATION.search(answer[:-1]):
            answer = answer[:-1]
        for start, end in (("\\(", "\\)"), ("\\[", "\\]"), ("$$", "$$"), ("$", "$")):
            inner = answer[len(start) : -len(end)]
            if len(answer) > len(start) + len(end) and answer.startswith(start) and answer.endswith(end):
                answer = inner if start not in inner and end not in inner else answer
    return answer or None


def _boxed(tail: str) -> tuple[int, str] | None:
    r"""Position and content of the last whole `\boxed{…}`; several in one sentence are one answer of several values."""
    end, values, last_start = len(tail), [], 0
    for _ in range(_MAX_MARKS):
        start = max(tail.rfind("\\boxed", 0, end), tail.rfind("\\fbox", 0, end))
        if start < 0:
            break
        brace = tail.find("{", start, start + 9)
        close = _closing(tail, brace, "{", "}") if brace >= 0 else None
        if close is not None and tail[brace + 1 : close].strip():
            if values and _SENTENCE_BREAK.search(tail, close, last_start):
                break
            value = tail[brace + 1 : close].strip()
            if value not in values:
                values.insert(0, value)
            last_start = start
        end = start
    return (tail.rfind("\\boxed" if "\\boxed" in tail else "\\fbox"), ", ".join(values)) if values else None


def _tagged(tail: str) -> tuple[int, str] | None:
    """Position and content of the last `<answer>`, `<solution>`, `<final_answer>`; an unclosed one runs to the end."""
    for opened in reversed(deque(_OPENED.finditer(tail), maxlen=_MAX_MARKS)):
        closed = _CLOSED[opened.group(1).lower()].search(tail, opened.end())
        inner = tail[opened.end() : closed.start() if closed else None]
        if inner.strip():
            return opened.start(), inner
    return None


def _hashed(tail: str) -> tuple[int, str] | None:
    """Position and content of the last `#### x`; a Markdown heading of that level is none, a number or last line is."""
    last = deque(_HASHES.finditer(tail), maxlen=1) if "####" in tail else None
    if not last:
        return None
    value = last[0].group(1)
    is_last_line = not tail[last[0].end() :].strip()
    if value.endswith(":") or not (_NUMERIC.match(value) or is_last_line):
        return None
    return last[0].start(), value


def _finished(tail: str) -> tuple[int, str] | None:
    """Position and content of the last ReAct `finish[x]`."""
    last = deque(_FINISH.finditer(tail), maxlen=1) if "[" in tail else None
    if not last:
        return None
    inner_start = last[0].end()
    close = _closing(tail, inner_start - 1, "[", "]")
    inner = tail[inner_start:close] if close is not None else tail[inner_start:].split("\n", 1)[0]
    return (last[0].start(), inner) if inner.strip() else None


def _closing(text: str, start: int, opening: str, closing: str) -> int | None:
    """Position of the bracket that closes the one at `start`; an escaped bracket counts for nothing."""
    depth = 0
    for index in range(start, len(text)):
        char = text[index]
        if char not in (opening, closing) or (index and text[index - 1] == "\\"):
            continue
        depth += 1 if char == opening else -1
        if depth == 0:
            return index
    return None


def _phrased(tail: str) -> str | None:
    """What follows the last "The answer is", "Answer:" or Final Answer heading, up to the end of its sentence."""
    for start, end in _answer_words(tail):
        window = _RUNS.sub("", tail[max(0, start - 40) : end + 2_000])
        last = deque(_PHRASE.finditer(window), maxlen=1)
        if last:
            line = window[last[0].end() :].lstrip("\n \t").split("\n", 1)[0]
            return _first_sentence(line)
    return None


def _answer_words(tail: str) -> Iterator[tuple[int, int]]:
    """Where the word "answer" stands, in whatever case, the last first; no more than _MAX_MARKS of them."""
    if tail.isascii():
        # From the end, and not through all of the text: an answer stands last.
        lowered, start = tail.lower(), len(tail)
        for _ in range(_MAX_MARKS):
            start = lowered.rfind("answer", 0, start)
            if start < 0:
                return
            yield start, start + len("answer")
    else:
        yield from (word.span() for word in reversed(deque(_ANSWER_WORD.finditer(tail), maxlen=_MAX_MARKS)))


def _first_sentence(line: str) -> str | None:
    """The line up to the end of its first sentence, tidy; None if that is too long for an answer."""
    for stop in _SENTENCE_END.finditer(line):
        if not _ABBREVIATION.search(line[: stop.start()]):
            line = line[: stop.start()]
            break
    return tidy(line) if 0 < len(line.split()) <= MAX_ANSWER_WORDS else None


def _lone_bold(tail: str) -> str | None:
    """The one bold stretch of the last paragraph; None where there are several, or it is a heading."""
    paragraph = tail.rstrip().rsplit("\n\n", 1)[-1]
    bold = _BOLD.findall(paragraph)
    if len(bold) != 1 or bold[0].rstrip().endswith(":") or len(bold[0].split()) > SHORT_WORDS:
        return None
    return tidy(bold[0])


def _is_code(text: str) -> bool:
    """Whether a long marked stretch is a program: MINT's solutions to coding tasks are."""
    return "def " in text or "import " in text or "return " in text or "```" in text

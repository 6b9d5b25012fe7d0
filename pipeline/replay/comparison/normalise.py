"""The text of an observation without what changes from run to run or from one agent loop to the next."""

import re
from dataclasses import dataclass

from pipeline.replay.comparison.exceptions import Raised, find_raised

_ANSI = re.compile(r"\x1b(?:\[[0-?]{0,64}[ -/]{0,8}[@-~]|\][^\x07\x1b]{0,512}(?:\x07|\x1b\\)|[@-Z\\^_])")
_PROMPT = re.compile(r"^(?:(?:Out|In) ?\[\d{1,6}\]: ?\n?)+", re.MULTILINE)
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{5,16}\b|\b0x(?:7f|55|56)[0-9a-f]{10}\b")
_NUMPY_NUMBER = re.compile(
    r"(?<!\w\()\b(?:np|numpy)\.(?:float|int|uint|longdouble|longlong)\d{0,3}"
    r"\('?([+-]?(?:\d++(?:\.\d*+)?+|\.\d++|inf|nan)(?:[eE][+-]?\d++)?+)'?\)"
)
_NUMPY_BOOL = re.compile(r"\b(?:np|numpy)\.(True|False)_\b")
_SCRATCH = re.compile(r"(?<![\w/.])(?:/private)?/(?:tmp|var/tmp|var/folders|work|workspace)/(?:[\w.+@-]++/)*+")
_TEMPORARY_NAME = re.compile(r"(?<=<tmp>/)tmp[a-z0-9_]{6,10}\b")
_CELL_FILE = re.compile(r"<ipython-input-\d+-[0-9a-f]+>|<tmp>/\d+\.py\b")
_TIMERS = (
    re.compile(r"^(CPU times|Wall time): [^\n]*", re.MULTILINE),
    re.compile(r"^(real|user|sys)\t\d+m[\d.]+s$", re.MULTILINE),
    re.compile(r"^[\d.]+ [nµμum]?s ± [^\n]{1,60}? (per loop)\b[^\n]*", re.MULTILINE),
    re.compile(r"(?<=\bRan )(\d{1,9} tests?) in [\d.]+s\b"),
    re.compile(r"(\b(?:passed|failed|errors?|warnings?|skipped)) in [\d.]+s\b(?: \(\d+:\d\d:\d\d\))?"),
    re.compile(r"(?<![\w:])()\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]\d{3,9}(?:Z|[+-]\d\d:?\d\d)?(?!\w)"),
)
"""What only a clock writes, each with the part of it that stays.

A plain `2024-05-24 10:00` or `3.5 seconds` is a result like any other; where code reads the clock, two runs tell.
"""
_TIMER_HINTS = (" time", "real\t", "user\t", "sys\t", "per loop", " in ", ":")
_WARNING = re.compile(r"^[^\s:][^:\n]{0,300}:\d+: \w*Warning: [^\n]*\n?(?:  (?! )[^\n]*\n?)?", re.MULTILINE)
_MOST_PASSES = 4
_NOTHING = {
    "",
    "(no output)",
    "[no output]",
    "<no output>",
    "no output",
    "(empty)",
    "<empty>",
    "[executed successfully with no output]",
    "executed successfully with no output",
    "(executed successfully with no output)",
}


@dataclass(frozen=True, slots=True)
class View:
    """One rendering of an observation, normalised; `raised` is what it ends with, where that is an exception."""

    text: str
    raised: Raised | None

    @property
    def says_nothing(self) -> bool:
        """Whether it is empty, or a loop's words for that."""
        return len(self.text) < 48 and self.text.lower().rstrip(".") in _NOTHING


def normalise(text: str) -> str:
    """The text as it is compared and kept as evidence; normalising it again changes nothing."""
    return view_of(text).text


def view_of(text: str) -> View:
    """The text normalised, with the exception it ends with: traceback and frames become `Type: message`."""
    raised = None
    for _ in range(_MOST_PASSES):
        # again, as what goes may have hidden something: a prompt behind spaces, a traceback within a message
        before, text = text, _cleaned(text)
        raised = find_raised(text)
        if raised is not None:
            text = raised.render()
        if text == before:
            break
    return View(text, raised)


def _cleaned(text: str) -> str:
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    if "\x1b" in text:
        text = _ANSI.sub("", text).replace("\x1b", "")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "[" in text and "]:" in text:
        text = _PROMPT.sub("", text)
    if "0x" in text:
        text = _ADDRESS.sub(lambda found: "at 0x…" if found[0].startswith("at") else "0x…", text)
    if "np." in text or "numpy." in text:
        text = _NUMPY_BOOL.sub(r"\1", _NUMPY_NUMBER.sub(r"\1", text))
    if "/tmp" in text or "/work" in text or "/var/" in text:
        text = _TEMPORARY_NAME.sub("<name>", _SCRATCH.sub("<tmp>/", text))
    if "<" in text:
        text = _CELL_FILE.sub("<cell>", text)
    if any(hint in text for hint in _TIMER_HINTS):
        for timer in _TIMERS:
            text = timer.sub(lambda found: f"{found[1]} <time>".strip(), text)
    if "Warning: " in text:
        text = _WARNING.sub("", text)
    return "\n".join([line.rstrip() for line in text.split("\n")]).strip()

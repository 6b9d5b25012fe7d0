"""Text from a trace, made safe to show to a judge: it can be read, and it can not pass for the prompt around it."""

import hashlib
import itertools
import re
import unicodedata

BLANKED = "[tag left out]"
"""Stands for whatever imitates a control token of a chat template, or the tags around a trace."""

MARGIN = "| "
"""Begins every line of quoted text, so that no line of it can pass for one of ours."""

_ROLES = "system|user|assistant|developer|human|ai|bot|model|tool|function|ipython|context|instructions?|critic|judge"
_TAG = rf"{_ROLES}|(?:untrusted|trace|record|rubric|criterion|question|verdict|guidance)[\w:.-]{{0,40}}"
_GAP = r"[^\S\n]{0,2}"
_ANGLED = (
    rf"{_GAP}/?{_GAP}\|[^<>|\[\]\n]{{0,48}}(?:\|{_GAP}>|>)"  # <|im_start|>, <|eot_id|>, <|system|>, DeepSeek's, <|turn>
    rf"|[\w/:. -]{{1,32}}\|{_GAP}>"  # <turn|>
    rf"|{_GAP}<{_GAP}/?{_GAP}SYS{_GAP}>{_GAP}>"
    rf"|{_GAP}/?{_GAP}(?:s|bos|eos|pad|unk|mask|cls|sep|sop|eop|bom|eom|image|video|audio|image_soft_token|im_start"
    r"|im_end|im_sep|endoftext|end_of_text|begin_of_text|begin_of_sentence|end_of_sentence|eot_id|eom_id|start_header_id"
    r"|end_header_id|(?:start|end)_of_(?:turn|image|role|utterance)|extra_id_\d+|reserved_special_token_\d+)"
    rf"{_GAP}/?{_GAP}>"
    rf"|{_GAP}/?{_GAP}(?:{_TAG})(?:[^\S\n][^<>\[\]\n]{{0,80}})?/?>"
)
_BRACKETED = (
    rf"{_GAP}/?{_GAP}(?:INST|SYS|SYSTEM|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|BOS|EOS|THINK"
    rf"|MODEL_SETTINGS|IMG|IMG_BREAK|IMG_END|AUDIO|PREFIX|MIDDLE|SUFFIX|[gs]?MASK|CALL_ID|ARGS){_GAP}\]"
)
_QWEN = "(?:FUNCTION|ARGS|RESULT|RETURN)✿"
# that every token begins with one of three characters, told in this form, makes the search five times quicker
TOKEN = re.compile(rf"[<\[✿](?i:(?<=<)(?:{_ANGLED})|(?<=\[)(?:{_BRACKETED})|(?<=✿)(?:{_QWEN}))")
"""What chat templates put between turns, in the families of models we know of, and tags that look like ours."""

_JOINING = "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\u0900-\u0dff\u0f00-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefc"
_EMOJI = "\u2600-\u27bf\ufe0f\U0001f000-\U0001faff"
_INVISIBLE = re.compile(
    # controls but for tab and line ends; soft hyphen, joiners, fillers, marks of direction, annotations, variation
    # selectors and the tag characters that can carry a whole message unseen
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e"
    "\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_NEEDLESS_JOINER = re.compile(rf"(?<![{_JOINING}{_EMOJI}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINING}{_EMOJI}])")
"""Joiners and non-joiners count as text where scripts need them, between their letters, and in emoji."""
_ASCII_CONTROLS = bytes([*range(9), *range(11, 32), 127])
_LINE_END = re.compile(r"\r\n?|[\x85\u2028\u2029]")
_DATA = re.compile(r"(?:data:[\w/+.;=-]{1,80};base64,)[A-Za-z0-9+/=_-]{40,}")

_RUN = re.compile(r"([^\n])\1{63,}")
_STRIDE = 32
"""A run of at least 64 covers two neighbours among every 32nd character."""
_BLANK_LINES = re.compile(r"\n{5,}")
_UNIT = re.compile(r"(.{2,40}?)\1{11,}")
_LEAST_UNITS_CHARS = 300
_SAMPLE, _EVERY = 4, 5
"""Repetition is looked for where half of the pieces of a sample have been seen before; the pattern is slow."""
_SAME_LINES = 4

_LOOK_ALIKES = {
    int(code, 16): look
    for look, codes in {
        "<": "2039 2329 3008 27e8 276e 2770 02c2 1438 29fc 27ea 300a 227a fe64",
        ">": "203a 232a 3009 27e9 276f 2771 02c3 1433 29fd 27eb 300b 227b fe65",
        "|": "2223 01c0 2502 2503 2758 2759 275a 00a6 23d0 a7fe 2225 2016",
        "[": "3010 27e6 3014 2772 3016 301a",
        "]": "3011 27e7 3015 2773 3017 301b",
        "/": "2215 2044 29f8 2571",
        "_": "2581 203f fe4d fe4e fe4f",
        # Cyrillic, Greek and Latin letters
        "a": "0430 03b1 0251", "c": "0441", "d": "0501", "e": "0435", "g": "0261", "h": "04bb", "i": "0456 03b9 0131",
        "j": "0458", "k": "03ba", "n": "03b7", "o": "043e 03bf", "p": "0440 03c1", "q": "051b", "r": "0433",
        "s": "0455 017f", "t": "03c4", "u": "03c5", "v": "03bd", "w": "051d", "x": "0445 03c7", "y": "0443",
        "A": "0410 0391", "B": "0412 0392", "C": "0421", "E": "0415 0395", "H": "041d 0397", "I": "0406 0399 04c0",
        "J": "0408", "K": "041a 039a", "M": "041c 039c", "N": "039d", "O": "041e 039f", "P": "0420 03a1", "S": "0405",
        "T": "0422 03a4", "X": "0425 03a7", "Y": "04ae 03a5", "Z": "0396",
    }.items()
    for code in codes.split()
}  # fmt: skip
"""Code points that look like an ASCII character and that compatibility folding leaves as they are."""


class _Folding(dict[int, int]):
    """Character to the ASCII one it looks like, itself where there is none; filled as characters are met."""

    def __missing__(self, code: int) -> int:
        folded = _LOOK_ALIKES.get(code) or unicodedata.normalize("NFKC", chr(code))
        self[code] = ord(folded) if len(folded) == 1 and folded.isascii() else code
        return self[code]


_FOLDING = _Folding()


def neutralise(text: str) -> str:
    """The text without what a reader cannot see and without what a chat template would take for its own.

    Invisible characters and marks of direction go; control tokens and tags like ours are replaced, also those written
    with invisible, full-width or look-alike characters; line ends become one kind; embedded files are named; what is
    repeated beyond all sense is told once. Doing it twice changes nothing that matters: no token is left or made.
    """
    clean = visible(text)
    if "base64," in clean:
        clean = _DATA.sub("[file left out]", clean)
    return _blank_tokens(_collapse(clean))


def quote(text: str) -> str:
    """The text with every line of it marked as quoted."""
    return MARGIN + text.replace("\n", "\n" + MARGIN)


def seal(text: str) -> str:
    """Names the tags around a text: 16 hex digits of its hash, which a text cannot hold, as it would change them."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def visible(text: str) -> str:
    """The text with line ends of one kind and nothing invisible."""
    if text.isascii():
        held = text.encode()
        if len(held.translate(None, _ASCII_CONTROLS)) == len(held):
            return text
    clean = _INVISIBLE.sub("", _LINE_END.sub("\n", text))
    if "\u200c" in clean or "\u200d" in clean:
        clean = _NEEDLESS_JOINER.sub("", clean)
    return clean


def _blank_tokens(text: str) -> str:
    """The text with control tokens replaced; they are looked for in a twin of it in which look-alikes are the same."""
    if text.isascii():
        return TOKEN.sub(BLANKED, text)
    twin = text.translate(_FOLDING)
    parts, position = [], 0
    for found in TOKEN.finditer(twin):
        parts += [text[position : found.start()], BLANKED]
        position = found.end()
    return "".join([*parts, text[position:]]) if parts else text


def _collapse(text: str) -> str:
    """The text with senseless repetition told once: of a character, of a few words, of a line."""
    if "\n\n\n\n\n" in text:
        text = _BLANK_LINES.sub("\n\n", text)
    pairs = enumerate(itertools.pairwise(text[::_STRIDE]))
    if any(a == b and text.startswith(a * _STRIDE, k * _STRIDE) for k, (a, b) in pairs):
        text = _RUN.sub(_told_run, text)
    if len(text) < _LEAST_UNITS_CHARS:
        return text
    sampled = range(0, len(text), _EVERY)
    if len({text[k : k + _SAMPLE] for k in sampled}) > len(sampled) / 2:
        return text
    text = _UNIT.sub(lambda found: f"{found[1]} [{len(found[0]) // len(found[1]) - 1} times more]", text)
    lines: list[str] = []
    for line, held in itertools.groupby(text.split("\n")):
        number = sum(1 for _ in held)
        lines += [line] * number if number < _SAME_LINES or not line else [line, f"[{number - 1} times more]"]
    return "\n".join(lines)


def _told_run(found: re.Match[str]) -> str:
    run = found[0]
    return " " if run.isspace() else f"{run[:8]} [{len(run) - 8} times more]"

"""Which verdict a record gets, given one rerun or two."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.replay.comparison.compare import compare
from pipeline.replay.environment import Observation, Status
from pipeline.schema import Verdict

IPYTHON_NAME_ERROR = (
    "---------------------------------------------------------------------------\n"
    "NameError                                 Traceback (most recent call last)\n"
    "Cell In[2], line 1\n----> 1 c_value\n\nNameError: name 'c_value' is not defined"
)
PLAIN_NAME_ERROR = (
    'Traceback (most recent call last):\n  File "<cell>", line 1, in <module>\n'
    "NameError: name 'c_value' is not defined. Did you mean: 'd_value'?"
)
CUT_KEY_ERROR = (
    "-----------------------------\nKeyError                Traceback (most recent call last)\n"
    "File assumptions.py:503\n--> 503 return _ask(fact, self)\n...\n[Output Truncated]"
)
LONG = "0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584, 4181"


def verdict_of(recorded: str, *reruns: str, volatile: bool = False) -> str:
    return compare(recorded, [Observation(rerun) for rerun in reruns], volatile=volatile).verdict.value


@pytest.mark.parametrize(
    ("recorded", "rerun", "rule"),
    [
        ("17", "17\n", "same text"),
        ("Out[3]: 17", "17", "same text"),
        ("[Executed Successfully with No Output]", "", "no output"),
        ("None", "", "no output"),
        ("", "[No Output]", "no output"),
        ("26", "26.0", "same values"),
        ("1", "1.00000000000000", "same values"),
        ("[1, 2]", "[1.0,\n 2.0]", "same values"),
        ("7360000000", "7359999999.999999", "same values"),
        ("0.7071067811865476", "0.7071067811865475", "same values"),
        ("3.1415926535", "3.1415926536", "same values"),
        ("0.0", "1.2246467991473532e-16", "same values"),
        ("2.0e-6", "2e-06", "same values"),
        ("1e+20", "100000000000000000000", "same values"),
        ("3.14", "3.14159265", "float to recorded precision"),
        ("11.186", "11.1861762", "float to recorded precision"),
        ("5.18e-3", "0.00518123", "float to recorded precision"),
        ("[0.33 0.67]", "[0.33333333 0.66666667]", "float to recorded precision"),
        ("2.23606797", "2.23606798", "float to recorded precision"),
        ("[nan, inf, -inf]", "[NaN, inf, -inf]", "same values"),
        ("(-1+1.73205080757j)", "(-1.0+1.7320508075688772j)", "same values"),
        ("{1, 2, 3}", "{3, 1, 2}", "same values"),
        ("{'a': 1, 'b': [1, 2]}", '{"b": [1, 2.0], "a": 1}', "same values"),
        ("{x: 50.0000000000000, y: 16}", "{y: 16, x: 50.0}", "same values"),
        ("[{0.1, 0.2}]", "[{0.2, 0.10000000000000001}]", "same values"),
        ("frozenset({'b', 'a'})", "frozenset({'a', 'b'})", "same values"),
        ("found {2, 1} in all", "found {1, 2} in all", "same values"),
        ("Total: 3 hours", "Total: 3.0 hours", "same values"),
        ("x**2 + 2*x", "x**2+2*x", "same values"),
        ("Matrix([\n[1, 2],\n[3, 4]])", "Matrix([[1, 2], [3, 4]])", "same values"),
        ("[[1 2]\n [3 4]]", "[[1  2]\n [3  4]]", "same values"),
        ("[1. 2.]", "[1.0 2.0]", "same values"),
        ("0    1\n1    2\ndtype: int64", "0  1\n1  2\ndtype: int64", "same values"),
        ("['a', \"it's\"]", "['a', 'it\\'s']", "same values"),
        ('{"ok": true, "why": null}', "{'ok': True, 'why': None}", "same values"),
        ('"\\u00e9t\\u00e9"', "'été'", "same values"),
        ("Paris", "'Paris'", "string, quoted in one"),
        ("[np.float64(0.5)]", "[0.5]", "same text"),
        (IPYTHON_NAME_ERROR, "NameError: name 'c_value' is not defined", "same text"),
        (IPYTHON_NAME_ERROR, PLAIN_NAME_ERROR, "exception message, as another version words it"),
        ("AssertionError: Expected 18 but got 16", "AssertionError: Expected 18 but got 16.0", "exception message"),
        ("SyntaxError: invalid syntax", "SyntaxError: invalid syntax. Perhaps you forgot a comma?",
         "exception type; the wording is the parser's"),
        ("SyntaxError: can't assign to operator",
         "SyntaxError: cannot assign to expression here. Maybe you meant '==' instead of '='? (<string>, line 1)",
         "exception type; the wording is the parser's"),
        ("IndentationError: unexpected indent", "SyntaxError: invalid syntax",
         "exception type; the wording is the parser's"),
        ("ZeroDivisionError: integer division or modulo by zero", "ZeroDivisionError: integer modulo by zero",
         "exception type"),
        ("UnboundLocalError: local variable 'x' referenced before assignment",
         "UnboundLocalError: cannot access local variable 'x' where it is not associated with a value",
         "exception message, as another version words it"),
        ("TypeError: string indices must be integers", "TypeError: string indices must be integers, not 'str'",
         "exception message, as another version words it"),
        ("TypeError: can't convert complex to float",
         "TypeError: float() argument must be a string or a real number, not 'complex'",
         "exception message, as another version words it"),
        ("TypeError: f() missing 1 required positional argument: 'x'",
         "TypeError: A.f() missing 1 required positional argument: 'x'",
         "exception message, as another version words it"),
        ("TypeError: can't convert complex to float", "TypeError: must be real number, not complex",
         "exception message, as another version words it"),
        ("TypeError: No loop matching the specified signature and casting was found for ufunc inv",
         "UFuncTypeError: Cannot cast ufunc 'inv' input from dtype('O') to dtype('float64')",
         "exception message, as another version words it"),
        ("IOError: [Errno 13] Permission denied: 'a'", "OSError: [Errno 13] Permission denied: 'a'", "same text"),
        (CUT_KEY_ERROR, "KeyError: 'zero'", "exception type; the recorded message is cut off"),
        (f"[{LONG}...\n[Output Truncated]", f"[{LONG}, 6765]", "truncated record: prefix and suffix"),
        (f"[{LONG}, ... 99 numbers omitted ...]"[:-1] + "]", f"[{LONG}, 6765, 7]", None),
        (f"[{LONG} [... 9 characters omitted ...] 7]", f"[{LONG}, 6765, 7]", "truncated record: prefix and suffix"),
        (f"[{LONG}, 67...", f"[{LONG}, 6765, 7]", "truncated record: prefix and suffix"),
    ],
)  # fmt: skip
def test_a_record_that_says_the_same_is_a_match(recorded: str, rerun: str, rule: str | None) -> None:
    found = compare(recorded, [Observation(rerun)])
    if rule is None:
        assert found.verdict is Verdict.MISMATCH
    else:
        assert (found.verdict, found.detail, found.difference) == (Verdict.MATCH, rule, None)


@pytest.mark.parametrize(
    ("recorded", "rerun"),
    [
        ("17", "18"),
        ("-17", "17"),
        ("7360000000", "7359999999"),
        ("100000000000000000000000001", "100000000000000000000000002"),
        ("3.14", "3.15"),
        ("3.15", "3.14159"),
        ("5.0", "5.04"),
        ("0.2", "0.25"),
        ("7", "7.4"),
        ("3.14159", "3.14"),
        ("0.01", "0.0123"),
        ("0", "1e-9"),
        ("1.6e-19", "9.1e-31"),
        ("0.0063 g", "0.0000 g"),
        ("1e999", "1e998"),
        ("2j", "2"),
        ("007", "7"),
        ("1.2.3", "1.2.30"),
        ("3 cm", "3 m"),
        ("3cm", "3m"),
        ("yes", "no"),
        ("yes", "Yes"),
        ("True", "False"),
        ("True", "1"),
        ("[True]", "[1]"),
        ("None", "0"),
        ("'5'", "5"),
        ("'True'", "True"),
        ("b'a'", "'a'"),
        ("1\n2\n3", "1\n3"),
        ("1\n2", "1\n2\n3"),
        ("1\n2", "1 2"),
        ("12", "1 2"),
        ("ab", "a b"),
        ("*\n**\n***", "***\n**\n*"),
        ("***", "* * *"),
        ("[1, 2]", "[2, 1]"),
        ("[1, 2]", "(1, 2)"),
        ("[1, 2]", "{1, 2}"),
        ("(1,)", "(1)"),
        ("3360 1600", "(3360, 1600)"),
        ("{1, 2}", "{1, 2, 3}"),
        ("{1, 1.5}", "{1, 1}"),
        ("{'a': 1, 'b': 2}", "{'a': 2, 'b': 1}"),
        ("\\frac{1, 2}", "\\frac{2, 1}"),
        ("x**2", "x*2"),
        ("x - 1", "x + 1"),
        ("", "0"),
        ("[Executed Successfully with No Output]", "AssertionError"),
        ("None", "17"),
        ("The answer is <solution> 40 </solution>.", "40"),
        ("2024-05-24 10:00:00", "2024-05-24 11:00:00"),
        ("19 seconds", "18 seconds"),
        ("/tmp/a.txt", "/tmp/b.txt"),
        ("AssertionError: Expected 18 but got 16", "AssertionError: Expected 18 but got 119.7"),
        ("AssertionError", "AssertionError: Expected 18"),
        ("KeyError: 'a'", "KeyError: 'b'"),
        ("KeyError: 'a'", "ValueError: 'a'"),
        ("NameError: name 'x' is not defined", "NameError: name 'y' is not defined"),
        ("1\nValueError: bad", "2\nValueError: bad"),
        ("ValueError: bad", "17"),
        ("17", "ValueError: bad"),
        (CUT_KEY_ERROR, "ValueError: 'zero'"),
        (CUT_KEY_ERROR, "17"),
        ("Loading...", "Loading...\n5"),
        ("...", "17"),
        ("[truncated]", "17"),
        (LONG, f"{LONG}, 6765"),
        (f"[{LONG}, 9...", f"[{LONG}, 6765]"),
        (f"[{LONG}]\n[Output Truncated]", f"[{LONG}]"),
        ("[0 1 2 ... 7 8 9]", "[0 1 2 ... 7 8 10]"),
    ],
)
def test_a_near_miss_is_a_mismatch_either_way_round(recorded: str, rerun: str) -> None:
    found = compare(recorded, [Observation(rerun)])
    assert found.verdict is Verdict.MISMATCH
    assert found.detail.startswith("first difference at line ")
    assert found.difference is not None
    assert verdict_of(recorded, rerun, rerun) == "mismatch"


@pytest.mark.parametrize(
    ("recorded", "first", "second", "want"),
    [
        ("0.5", "0.1", "0.5", "match"),
        ("0.7", "0.1", "0.5", "nondeterministic"),
        ("seven", "0.1", "0.5", "mismatch"),
        ("id 7 ok", "id 81 ok", "id 92 ok", "nondeterministic"),
        ("id 7 failed", "id 81 ok", "id 92 ok", "mismatch"),
        ("id 7 ok\n3", "id 81 ok\n4", "id 92 ok\n4", "mismatch"),
        ("['b', 'c', 'a']", "['a', 'b', 'c']", "['c', 'a', 'b']", "nondeterministic"),
        ("['b', 'c']", "['a', 'b', 'c']", "['c', 'a', 'b']", "mismatch"),
        ('{"id": "7F3A", "n": 2}', '{"n": 2, "id": "81BC"}', '{"n": 2, "id": "92DE"}', "nondeterministic"),
        ('{"id": "7F3A", "n": 3}', '{"n": 2, "id": "81BC"}', '{"n": 2, "id": "92DE"}', "mismatch"),
        ('{"id": "7F3A"}', '{"n": 2, "id": "81BC"}', '{"n": 2, "id": "92DE"}', "mismatch"),
        ('{"id": 7}', '{"id": "81BC"}', '{"id": "92DE"}', "mismatch"),
        ("84252722", "9C3D51A0", "0B77E1F2", "nondeterministic"),
        ("84252722", "19283746", "28374651", "nondeterministic"),
        ("1e11b7a0-58f2-4c1c-9d5e-0242ac120002", "2f22c8b1-69a3-4d2d-8e6f-1353bd231113",
         "3a33d9c2-7ab4-4e3e-9f70-2464ce342224", "nondeterministic"),
        ("a\n1 2\nb", "a\n1\nb", "a\n1 2 3\nb", "nondeterministic"),
        ("c\n1 2\nb", "a\n1\nb", "a\n1 2 3\nb", "mismatch"),
        ("a\n9\n9\nb", "a\nb", "a\n1\nb", "nondeterministic"),
        ("[5, 6]", "[1]", "[1, 2, 3]", "nondeterministic"),
        ("17", "ValueError: bad", "12", "nondeterministic"),
        ("[6, 1, 2]", "[3, 4, 5]", "[3, 1, 6]", "nondeterministic"),
        ("Rolled 6\nRolled 1", "Rolled 3\nRolled 4", "Rolled 3\nRolled 1", "nondeterministic"),
        ("18\n0.25", "17\n0.75", "17\n0.5", "mismatch"),
        ("{'a': 2, 'b': 7}", "{'a': 1, 'b': 3}", "{'a': 1, 'b': 4}", "mismatch"),
    ],
)  # fmt: skip
def test_only_what_two_runs_share_contradicts_a_record(recorded: str, first: str, second: str, want: str) -> None:
    assert verdict_of(recorded, first, second) == want


@pytest.mark.parametrize(
    ("recorded", "rerun", "want"),
    [
        ("2023-11-02 10:00", "2025-01-05 09:30", "nondeterministic"),
        ("Today is Monday", "Today is Friday", "nondeterministic"),
        ("Heads\n3", "Tails\n3\n4", "mismatch"),
        ("[1, 2]", "[3]", "mismatch"),
        ("[1, 2]", "[1, 2]", "match"),
    ],
)
def test_code_that_reads_the_clock_is_held_to_the_shape_alone(recorded: str, rerun: str, want: str) -> None:
    assert verdict_of(recorded, rerun, rerun, volatile=True) == want


MODULE = "ModuleNotFoundError: No module named 'wikipedia'"


@pytest.mark.parametrize(
    ("recorded", "rerun", "want", "detail"),
    [
        ("Page: Paris", Observation(MODULE, Status.MISSING, "module wikipedia"), "unexecutable",
         "missing: module wikipedia"),
        (MODULE, Observation(MODULE, Status.MISSING, "module wikipedia"), "match", "same text"),
        ("ModuleNotFoundError: No module named 'other'", Observation(MODULE, Status.MISSING, "module wikipedia"),
         "unexecutable", "missing: module wikipedia"),
        ("", Observation("", Status.TIMEOUT, "10 s of wall time"), "unexecutable", "timeout: 10 s of wall time"),
        ("Execution timed out after 30s", Observation("", Status.TIMEOUT, "10 s"), "match", "ended alike: timeout"),
        ("TimeoutError: timed out", Observation("", Status.TIMEOUT, "10 s"), "match", "ended alike: timeout"),
        ("MemoryError", Observation("", Status.MEMORY, "2 GiB"), "match", "ended alike: memory"),
        ("URLError: <urlopen error>", Observation("gaierror: x", Status.NETWORK, "x"), "match", "ended alike: network"),
        ("17", Observation("17", Status.CAPPED, "output"), "unexecutable", "capped: output"),
        ("17", Observation("", Status.FAILED, "worker died"), "failed", "worker died"),
        ("TimeoutError: timed out", Observation("17"), "unexecutable",
         "the recorded run ended in timeout; this one did not"),
        ("TypeError: gcd expected 2 arguments, got 3", Observation("1"), "unexecutable",
         "the recorded run's version had no gcd of so many arguments"),
        ("AttributeError: module 'math' has no attribute 'lcm'", Observation("240"), "unexecutable",
         "the recorded run's version had no math.lcm"),
        ("[1. 2.]", Observation("AttributeError: module 'numpy' has no attribute 'float'.\n`np.float` was an alias"),
         "unexecutable", "this version has no numpy.float"),
        ("1", Observation("ImportError: cannot import name 'gcd' from 'fractions' (/opt/py/fractions.py)"),
         "unexecutable", "this version has no fractions.gcd"),
        ("  a\n0 1", Observation("AttributeError: 'DataFrame' object has no attribute 'append'"),
         "unexecutable", "this version has no DataFrame.append"),
        ("1.0", Observation("AttributeError: module 'math' has no attribute 'sec'"), "mismatch",
         "first difference at line 1: 1.0 / AttributeError: module 'math' has no attribute 'sec'"),
        (MODULE, Observation("17"), "unexecutable", "the recorded run ended in missing; this one did not"),
    ],
)  # fmt: skip
def test_a_lack_or_a_limit_is_no_contradiction(recorded: str, rerun: Observation, want: str, detail: str) -> None:
    found = compare(recorded, [rerun])
    assert (found.verdict.value, found.detail) == (want, detail)


def test_one_broken_run_of_two_decides_nothing() -> None:
    runs = [Observation("17"), Observation("", Status.FAILED, "worker died")]
    assert compare("18", runs).verdict is Verdict.FAILED


def test_a_name_error_is_a_result_unless_the_name_was_the_original_environments() -> None:
    lacked = [Observation("NameError: name 'wikipedia_search' is not defined", detail="name wikipedia_search")]
    assert compare("Page: Paris", lacked).verdict is Verdict.MISMATCH
    found = compare("Page: Paris", lacked, helpers={"wikipedia_search"})
    assert (found.verdict, found.detail) == (Verdict.UNEXECUTABLE, "name wikipedia_search not defined here")
    assert compare(lacked[0].text, lacked, helpers={"wikipedia_search"}).verdict is Verdict.MATCH


def test_a_record_may_agree_with_another_rendering_of_the_result() -> None:
    rerun = Observation("3\n'abc'", alternatives=("3", "'abc'"))
    assert compare("3", [rerun]).rerun == "3"
    assert compare("3", [rerun]).verdict is Verdict.MATCH
    found = compare("'abd'", [rerun])
    assert (found.verdict, found.rerun) == (Verdict.MISMATCH, "'abc'")


def test_the_evidence_shows_where_the_two_part() -> None:
    found = compare("Out[1]: a\nb\n17", [Observation("a\nb\n18\n")])
    assert (found.recorded, found.rerun) == ("a\nb\n17", "a\nb\n18")
    assert found.detail == "first difference at line 3: 17 / 18"
    assert found.difference == "--- recorded\n+++ rerun\n@@ -1,3 +1,3 @@\n a\n b\n-17\n+18"
    far = compare("x" * 300 + "1", [Observation("x" * 300 + "2")])
    assert far.detail == "first difference at line 1: 1 / 2"
    long = compare("\n".join(map(str, range(9999))), [Observation("\n".join(map(str, range(1, 9999))))])
    assert len(long.difference or "") <= 4000


def test_no_run_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="found none"):
        compare("17", [])


TOKENS = st.sampled_from(
    ["17", "3.5", "a", "'b c'", "[", "]", "{", "}", "(", ")", ",", ":", "\n", "  ", "-", "...", "\\"]
)
TEXTS = st.lists(TOKENS, max_size=30).map("".join) | st.text(max_size=200)


@given(TEXTS)
def test_any_text_agrees_with_itself(text: str) -> None:
    assert verdict_of(text, text) == "match"


@given(TEXTS, st.sampled_from([" ", "\t", "\r\n", "\n\n", "  \n"]))
def test_white_space_around_a_line_is_not_a_difference(text: str, noise: str) -> None:
    assert verdict_of(text, text + noise) == "match"
    assert verdict_of(noise + text, text) == "match"
    assert verdict_of(text.replace("\n", " \n"), text) == "match"


@given(TEXTS, st.integers(0, 10**6), st.integers(1, 10**6), TEXTS)
def test_another_integer_is_never_a_match(before: str, number: int, more: int, after: str) -> None:
    recorded, rerun = (f"{before} {value} {after}" for value in (number, number + more))
    # a tail that hides the number is no record of it: the head of a traceback, a cut one
    if "Traceback" not in recorded and "…" not in recorded and "..." not in recorded:
        assert verdict_of(recorded, rerun) == "mismatch"


@given(TEXTS, TEXTS, TEXTS)
def test_no_text_is_too_odd_to_compare(recorded: str, first: str, second: str) -> None:
    for volatile in (False, True):
        assert verdict_of(recorded, first, second, volatile=volatile) in (
            "match",
            "mismatch",
            "nondeterministic",
            "unexecutable",
        )


SIZE = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(text * (SIZE // len(text)), id=repr(text))
        for text in (
            " ", "\n", "[", "]", "{", "[(){}", "'", "\\'", "'a", "-", "1", ".", "1.", "a.", "1e", "1j+", "{a: 1, ",
            "Error: ", "ValueError: x\n", "Traceback (most recent call last)\n",
            "ValueError  Traceback (most recent call last)\n", "Out[1]: ", "\x1b[",
            "np.float64(", "/tmp/", "a:1: Warning: ", "[truncated", "deadbeef-", "at 0x", "real\t",
        )
    ],
)  # fmt: skip
def test_hostile_text_is_compared_in_bounded_time(text: str) -> None:
    started = time.process_time()
    assert verdict_of(text, text + "17") in ("match", "mismatch")
    shorter = text[:49_000]
    verdict_of(shorter, shorter + "17", shorter + "1 8", volatile=True)
    assert time.process_time() - started < 2.0

"""What normalising takes away, and what it leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.replay.comparison.normalise import normalise, view_of

IPYTHON = (
    "112\n233\n"
    "---------------------------------------------------------------------------\n"
    "AssertionError                            Traceback (most recent call last)\n"
    "Cell In[4], line 8\n"
    '      7 res = ascii_value_string("python")\n'
    '----> 8 assert res == 112, "Expected 112 but got {}".format(res)\n\n'
    "AssertionError: Expected 112 but got 674"
)
FLATTENED = (
    "--------------------------------------------------------------------------- IndexError                      "
    "          Traceback (most recent call last) Cell In[3], line 5\n      2 eq1 \x1b[38;5;241m= Eq(r, \x1b[38;5;241m7)"
    "\n----> 5 d_value \x1b[38;5;241m= solve(eq1, d)[\x1b[38;5;241;43m0]\n      6 d_value\n IndexError: list index out "
    "of range"
)
PLAIN = (
    "17\nTraceback (most recent call last):\n"
    '  File "<stdin>", line 1, in <module>\n    np.linalg.inv(a)\n'
    '  File "/usr/lib/numpy/linalg.py", line 540, in inv\n    ainv = _umath_linalg.inv(a)\n           ^^^^^^^^^^^^\n'
    "numpy.linalg.LinAlgError: Singular matrix\n"
)
CHAINED = (
    "Traceback (most recent call last):\n"
    '  File "<string>", line 2, in <module>\n    d["a"]\n'
    "KeyError: 'a'\n\n"
    "During handling of the above exception, another exception occurred:\n\n"
    "Traceback (most recent call last):\n"
    '  File "<string>", line 4, in <module>\n    raise ValueError("no such\\nkey")\n'
    "ValueError: no such\nkey\n"
)
CUT = (
    "---------------------------------------------------------------------------\n"
    "KeyError                                  Traceback (most recent call last)\n"
    "File /usr/local/lib/python3.8/dist-packages/sympy/core/assumptions.py:503, in make_property(self)\n"
    "--> 503 return _ask(fact, self)\n\nFile /usr/local/lib/python3.8/dist-packages/sympy/core/assumptions.p...\n"
    "[Output Truncated]"
)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", ""),
        ("  \n\n 17 \t\r\n\n", "17"),
        ("a \r\nb\t\r\nc", "a\nb\nc"),
        ("\x1b[0;31mred\x1b[0m \x1b]0;title\x07plain", "red plain"),
        ("Out[3]: 17", "17"),
        ("Out[4]: \n[-9,\n 9]", "[-9,\n 9]"),
        ("Out[1]: 72.0\nOut[2]: 36", "72.0\n36"),
        ("In [1]: x", "x"),
        ("list Out[3]: 17", "list Out[3]: 17"),
        ("<function f at 0x7f3a5c0d2e50>", "<function f at 0x…>"),
        ("0x7f3a5c0d2e50", "0x…"),
        ("0xff", "0xff"),
        ("[np.float64(3.14), np.int64(-2), np.True_]", "[3.14, -2, True]"),
        ("(numpy.float64(nan), np.float32('1e-05'))", "(nan, 1e-05)"),
        ("np.array([1])", "np.array([1])"),
        ("/tmp/tmpab12cd34/a.csv and /work/b.csv", "<tmp>/a.csv and <tmp>/b.csv"),
        ("/private/tmp/tmpab12cd34", "<tmp>/<name>"),
        ("/home/me/work/b.csv", "/home/me/work/b.csv"),
        ("Ran 3 tests in 0.001s", "Ran 3 tests <time>"),
        ("=== 3 passed in 0.12s ===", "=== 3 passed <time> ==="),
        ("Wall time: 2.1 ms", "Wall time <time>"),
        ("1.2 µs ± 3 ns per loop (mean ± std. dev.)", "per loop <time>"),
        ("at 2024-05-24T10:00:00.123456Z sharp", "at <time> sharp"),
        ("2024-05-24 10:00:00", "2024-05-24 10:00:00"),
        ("count for 19 seconds, 0.01 seconds", "count for 19 seconds, 0.01 seconds"),
        ("<ipython-input-3-abc>:2: RuntimeWarning: divide by zero\n  x = a / b\ninf", "inf"),
        ("/usr/lib/a.py:7: DeprecationWarning: old", ""),
        ("Warning: low balance", "Warning: low balance"),
    ],
)
def test_noise_goes_and_results_stay(text: str, want: str) -> None:
    assert normalise(text) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (IPYTHON, "112\n233\nAssertionError: Expected 112 but got 674"),
        (FLATTENED, "IndexError: list index out of range"),
        (PLAIN, "17\nLinAlgError: Singular matrix"),
        ("Error: " + PLAIN[3:], "LinAlgError: Singular matrix"),
        (CHAINED, "ValueError: no such\nkey"),
        (CUT, "KeyError: <cut>"),
        ("Traceback (most recent call last):\n  File ...", "Traceback: <cut>"),
        ("NameError: name 'x' is not defined", "NameError: name 'x' is not defined"),
        ("Error: NameError: name 'x' is not defined", "NameError: name 'x' is not defined"),
        ("AssertionError: ", "AssertionError"),
        ("sympy.polys.polyerrors.PolynomialError: 1/x", "PolynomialError: 1/x"),
        ("Cell In[2], line 1\n    x = 7x\n        ^\nSyntaxError: invalid syntax", "SyntaxError: invalid syntax"),
        ('  File "<string>", line 1\n    (\n    ^\nSyntaxError: not closed', "SyntaxError: not closed"),
        ("File <string>\nSyntaxError: too many nested blocks", "SyntaxError: too many nested blocks"),
        ("SyntaxError: cannot assign to expression (<unknown>, line 2)", "SyntaxError: cannot assign to expression"),
        ("Error: gift card balance is not enough", "Error: gift card balance is not enough"),
        ("The error: it is 3", "The error: it is 3"),
    ],
)  # fmt: skip
def test_a_traceback_becomes_what_was_printed_and_type_and_message(text: str, want: str) -> None:
    assert normalise(text) == want


def test_a_loop_has_words_for_no_output() -> None:
    texts = ["", " \n", "(no output)", "[Executed Successfully with No Output]", "None", "0", "no"]
    assert [view_of(text).says_nothing for text in texts] == [True, True, True, True, False, False, False]


NOISE = st.sampled_from(
    [
        *"\n\n\n \t\r[]():'\"<>-.0x",
        "Out[1]: ",
        "In [2]:",
        "\x1b[0m",
        "\x1b",
        "np.float64(",
        "np.True_",
        "1.5)",
        "/tmp/",
        "/work/x/",
        "at 0x7f0000000001",
        "Traceback (most recent call last)",
        "ValueError   ",
        "ValueError: ",
        "SyntaxError: ",
        "Error: ",
        "<cut>",
        "----------------",
        "a.py:3: UserWarning: ",
        " passed in 1.0s",
        "Wall time: 1",
        "2024-01-01 00:00:00.000",
        "Cell In[1], line 1",
        "<ipython-input-1-a>",
        "\ud800",
    ]
)


@given(st.lists(NOISE, max_size=14).map("".join) | st.text())
def test_normalising_again_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once

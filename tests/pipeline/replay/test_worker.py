"""The parts of the fork server by themselves: what goes over its channel, what it takes for Python, its streams."""

import ast
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import EnvironmentUnavailableError
from pipeline.replay.config import PythonSandbox
from pipeline.replay.environment import Status
from pipeline.replay.sandbox import worker
from pipeline.replay.sandbox.notebook import MISSING_CALL, parsed, split
from pipeline.replay.sandbox.protocol import (
    Answer,
    ForgedReplyError,
    Words,
    largest_reply,
    parse_answer,
    parse_words,
)
from pipeline.replay.sandbox.streams import Output, Stream
from pipeline.replay.sandbox.zygote import SilentError, Zygote

ANSWER: dict[str, Any] = {
    "output": [[1, "a"], [2, "b"]],
    "value": "c",
    "shown": None,
    "error": None,
    "status": "returned",
    "detail": "",
    "ended": False,
}


def test_both_ends_of_the_channel_speak_the_same_protocol() -> None:
    from pipeline.replay.sandbox import protocol

    for name in ("RESET", "CALL", "HELLO", "OUTCOME", "RECYCLE"):
        assert getattr(protocol, name) == getattr(worker, name)
    assert protocol.REQUEST.format == worker.REQUEST.format
    assert protocol.REPLY.format == worker.REPLY.format


def test_an_answer_is_read_as_it_was_written() -> None:
    assert parse_answer(json.dumps(ANSWER).encode()) == Answer([(1, "a"), (2, "b")], "c")
    told = {**ANSWER, "value": None, "error": ["E: x", "Traceback\nE: x"], "status": "missing", "detail": "file\n x "}
    assert parse_answer(json.dumps(told).encode()) == Answer(
        [(1, "a"), (2, "b")], error=("E: x", "Traceback\nE: x"), status=Status.MISSING, detail="file x"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"output": None}, {"output": [[0, "a"]]}, {"output": [[1, 2]]}, {"output": [["1", "a"]]}, {"output": [[1]]},
        {"output": {"1": "a"}}, {"value": 1}, {"shown": []}, {"error": "E"}, {"error": ["E"]}, {"error": ["E", None]},
        {"error": ["E", "F", "G"]}, {"error": [1, 2]}, {"status": "failed"}, {"status": "timeout"}, {"status": None},
        {"status": ["returned"]}, {"detail": None},
    ],
    ids=str,
)  # fmt: skip
def test_an_answer_of_another_shape_is_forged(change: dict[str, Any]) -> None:
    with pytest.raises(ForgedReplyError):
        parse_answer(json.dumps({**ANSWER, **change}).encode())


@given(
    st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(ANSWER)), inner),
    ).map(lambda value: json.dumps(value).encode())
)
def test_whatever_comes_is_an_answer_or_forged(data: bytes) -> None:
    for parse in (parse_answer, parse_words):
        try:
            found = parse(data)
        except ForgedReplyError:
            continue
        assert isinstance(found, Answer | Words)


@pytest.mark.parametrize(
    "data", [b"[" * 100_000, b"{" * 5, b'{"output": "\xff"}', b"null", b"1e999", b'{"number": 1e400}', b'{"end": 1}']
)
def test_words_that_are_not_words_are_forged(data: bytes) -> None:
    with pytest.raises(ForgedReplyError):
        parse_words(data)


def test_no_words_mean_that_the_process_lives() -> None:
    assert parse_words(b"") == Words()
    assert parse_words(b'{"end": "signal", "number": 11, "output": [[2, "x"]], "cut": true}') == Words(
        "signal", 11, ((2, "x"),), is_cut=True
    )


def test_the_largest_honest_answer_fits() -> None:
    cap = 1000
    output = Output(cap)
    stream = Stream(output, 1, "<stdout>")
    stream.write("\x00" * 2 * cap)
    text = json.dumps({**ANSWER, "output": output.taken(), "value": "", "detail": "x" * 200})
    assert len(text) < largest_reply(cap)


@pytest.mark.parametrize(
    ("code", "python"),
    [
        ("x = 1", "x = 1"),
        ("  x = 1\n  y = 2", "x = 1\ny = 2"),
        ("\n \n\tx = 1\n\tif x:\n\t\ty = 2", "x = 1\nif x:\n\ty = 2"),
        ("    x = '''\n  a\n    b'''", "x = '''\n  a\nb'''"),
        (" \n", ""),
        ("a = 1\r\nb = 2\rc = 3", "a = 1\nb = 2\nc = 3"),
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("if x:\n    %load_ext a\n    y", "if x:\n    pass\n    y"),
        ("%time x = 1", "x = 1"),
        ("%timeit -n10 f(x)", "f(x);"),
        ("%%time\nx = 1", "\nx = 1"),
        ("%%timeit -n 5 x = 2\nx", "x = 2 \nx"),
        ("!ls -l 'it", f"{MISSING_CALL}('shell')"),
        ("x = 1\n  \n!ls\n!pwd", f"x = 1\n  \n{MISSING_CALL}('shell')\n{MISSING_CALL}('shell')"),
        ("files = !ls", f"{MISSING_CALL}('shell')"),
        ("files = %sx ls", f"{MISSING_CALL}('shell')"),
        ("%%sh\nls", f"{MISSING_CALL}('shell')"),
        ("%%html\n<b>", f"{MISSING_CALL}('magic %%html')"),
        ("%precision 3", f"{MISSING_CALL}('magic %precision')"),
        ("x.append?", f"{MISSING_CALL}('help')"),
        ("??x", f"{MISSING_CALL}('help')"),
        (">>> x = 1\n... \n>>> x\n1", "x = 1\n\nx"),
        ("In [1]: x = 1\n   ...: y = 2\n\nOut[1]: 3", "x = 1\ny = 2"),
        ("x = (1 +\n%1)", None),
        ("print 'x'", None),
        ("100% sure?", None),
        ("def f(:", None),
    ],
)
def test_what_a_notebook_understands_becomes_python(code: str, python: str | None) -> None:
    if python is None:
        with pytest.raises(SyntaxError):
            parsed(code, "<cell 1>", 0)
        return
    found, tree = parsed(code, "<cell 1>", 0)
    assert found == python
    assert ast.dump(tree) == ast.dump(ast.parse(python))


@pytest.mark.parametrize(
    ("code", "is_split"),
    [
        ("x", True),
        ("a = 1\na", True),
        ("a = 1\n\nprint(a)  # shown\n\n", True),
        ("if x:\n    y\nz", True),
        ("def f():\n    return 1\n\nf()", True),
        ("x = [1,\n2]\nx", True),
        ("'''\n5\n'''\n6", True),
        ("a = 1", False),
        ("a; b", False),
        ("b;", False),
        ("b\n# end", False),
        ("  b", False),
        ("if x:\n    y", False),
        ("f(1,\n2)", False),
        ("f(1,\n2\n)", False),
        ("a = 1 + \\\n5", False),
        ("a = b \\\n-5", False),
        ("x = '''\n5", False),
        ("x = '''\n5\n6'''", False),
        ("@a\nb", False),
        ("if a:\nb", False),
        ("try:\n    a\nb", False),
        ("%time x\ny", False),
        ("!ls\ny", False),
        ("In [1]: x = 1\n1", False),
        (">>> x\n1", False),
        ("a\r\nb", False),
        ("for x in y: pass\nelse: z", False),
        ("", False),
        ("\x00", False),
    ],
)
def test_the_quick_way_takes_only_what_means_the_same_in_two_parts(code: str, is_split: bool) -> None:  # noqa: FBT001
    compiled = split(code, "<cell 1>", 0)
    assert (compiled is not None) == is_split
    if compiled is None:
        return
    body = ast.parse(code).body
    last = body.pop()
    assert isinstance(last, ast.Expr)
    statements = [compile(ast.Module(body, []), "<cell 1>", "exec")] if body else []
    wanted = [*statements, compile(ast.Expression(last.value), "<cell 1>", "eval")]
    for quick, slow in zip(compiled, wanted, strict=True):
        assert (quick.co_code, quick.co_names) == (slow.co_code, slow.co_names)
        assert list(quick.co_positions()) == list(slow.co_positions())


def test_a_syntax_error_is_that_of_the_code_as_it_was_written() -> None:
    with pytest.raises(SyntaxError) as caught:
        parsed("%time x = 1\ny = = 2", "<cell 1>", 0)
    assert (caught.value.lineno, caught.value.filename) == (2, "<cell 1>")


def test_streams_keep_order_and_cut_what_is_too_much() -> None:
    gave_up = []
    output = Output(10)
    output.give_up = lambda: gave_up.append(True)
    out, err = Stream(output, 1, "<stdout>"), Stream(output, 2, "<stderr>")
    print("a", "b", file=out)
    print("c", file=err)
    assert out.write("") == 0
    out.buffer.write(b"d")
    assert output.taken() == [[1, "a b\n"], [2, "c\n"], [1, "d"]]
    assert not output.is_cut
    out.write("x" * 20)
    assert output.taken() == [[1, "x" * 3]]
    assert output.is_cut
    assert gave_up == []
    out.write("x" * 200)
    assert gave_up == [True]
    output.begin()
    err.write("e")
    assert (output.taken(), output.is_cut) == ([[2, "e"]], False)
    with pytest.raises(TypeError, match="must be str, not int"):
        out.write(1)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnicodeEncodeError):
        out.write("\ud800")


def test_modules_that_are_not_there_are_not_preloaded() -> None:
    zygote = Zygote(PythonSandbox(preload=("absent_module", "json")), 0)
    try:
        zygote.reset(1)
        words, answer = zygote.call(b"import sys\n'json' in sys.modules, 'interpreter' in sys.modules, sys.path[0]")
    finally:
        zygote.close()
    assert words == Words()
    assert answer
    assert answer.value == "(True, False, '')"


def test_a_preload_that_breaks_the_interpreter_is_told() -> None:
    with pytest.raises(EnvironmentUnavailableError, match=r"(?s)the Python in it did not start: .*SystemExit.*preload"):
        Zygote(PythonSandbox(preload=("unittest.__main__",)), 0)


def test_a_call_that_takes_too_long_is_interrupted_and_then_given_up() -> None:
    zygote = Zygote(PythonSandbox(preload=(), timeout_s=0.2), 0)
    try:
        zygote.reset(1)
        words, answer = zygote.call(b"import signal, time\ntime.sleep(9)")
        assert words == Words(is_late=True)
        assert answer
        assert answer.error
        assert answer.error[0] == "KeyboardInterrupt"
        with pytest.raises(SilentError):
            zygote.call(b"signal.signal(signal.SIGINT, signal.SIG_IGN)\ntime.sleep(9)")
    finally:
        zygote.close()

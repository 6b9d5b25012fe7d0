"""The code of a Python call is found in every way that traces write it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.replay.arguments import CODE_KEYS, code_of

CASES = [
    ("code", '{"code": "print(1)"}', "print(1)"),
    ("indented code stays as it was", '{"code": "  x = 1\\n  x"}', "  x = 1\n  x"),
    ("empty code is code", '{"code": ""}', ""),
    ("input", '{"input": "1 + 1"}', "1 + 1"),
    ("code before input", '{"input": "3", "code": "int(input())"}', "int(input())"),
    ("lines", '{"code": ["x = 1", "x"]}', "x = 1\nx"),
    ("lines with their ends", '{"source": ["x = 1\\n", "x"]}', "x = 1\nx"),
    ("another name, a single string", '{"__arg1": "print(1)"}', "print(1)"),
    ("another name beside a number", '{"cell": "print(1)", "timeout": 3}', "print(1)"),
    ("two other strings", '{"a": "x", "b": "y"}', None),
    ("no string", '{"timeout": 3}', None),
    ("code that is no text", '{"code": 3}', None),
    ("empty object", "{}", None),
    ("declared as Python", '{"language": "Python", "code": "x"}', "x"),
    ("declared as another language", '{"language": "javascript", "code": "x"}', None),
    ("the language is not the code", '{"language": "python", "cell": "x"}', "x"),
    ("JSON string", '"print(1)\\nprint(2)"', "print(1)\nprint(2)"),
    ("encoded twice", json.dumps(json.dumps({"code": "x"})), "x"),
    ("a string that is a dictionary", json.dumps('{"a": "b"}'), '{"a": "b"}'),
    ("Python's own quotes", "{'code': 'print(1)'}", "print(1)"),
    ("raw line ends in a JSON string", '{"code": "a = 1\na"}', "a = 1\na"),
    ("broken object", '{"code": "print(1)', None),
    ("no JSON", "x = 1\nprint(x)", "x = 1\nprint(x)"),
    ("no JSON, a set", "{1, 2}", "{1, 2}"),
    ("a number", "42", "42"),
    ("a list", "[1, 2]", "[1, 2]"),
    ("a list of lines", '["x = 1", "x"]', "x = 1\nx"),
    ("null", "null", None),
    ("true", "true", None),
    ("nothing", "", None),
    ("blanks", " \n", None),
    ("none", None, None),
    ("fence", "```python\nx = 1\nx\n```", "x = 1\nx"),
    ("fence in an object", '{"code": "```py\\nx\\n```\\n"}', "x"),
    ("fence without a language", "```\nx\n```", "x"),
    ("fence that is not closed", "```python\nx\n", "x\n"),
    ("fence that was opened in the prompt", "x\n```", "x"),
    ("indentation inside a fence", "```python\n  x\n```", "  x"),
    ("words behind a fence", "```python\nx\n```\nThis prints x.", "x"),
    ("two fences", "```python\nx\n```\n\n```python\ny\n```", "x\ny"),
    ("tildes", "~~~python\nx\n~~~", "x"),
    ("another language", "```bash\nls\n```", None),
    ("one line in a fence", "```print(1)```", "print(1)"),
    ("one line in a fence with a language", "```python print(1)```", "print(1)"),
    ("back quotes", "`print(1)`", "print(1)"),
    ("a fence inside of a string", 's = """\n```python\n```\n"""', 's = """\n```python\n```\n"""'),
    ("tags", "<execute>\nx = 1\nx\n</execute>", "x = 1\nx"),
    ("tags around a fence", "<execute>\n```python\nx\n```\n</execute>", "x"),
    ("tags in an object", '{"code": "<execute> x </execute>"}', " x"),
    ("a tag that is not closed", "<execute>\nx", "x"),
]


@pytest.mark.parametrize(("arguments", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_code_of_a_call(arguments: str | None, wanted: str | None) -> None:
    assert code_of(arguments) == wanted


@given(key=st.sampled_from(CODE_KEYS), code=st.text(st.characters(exclude_characters="`~<", exclude_categories=["Cs"])))
def test_code_without_fences_or_tags_comes_out_as_it_went_in(key: str, code: str) -> None:
    assert code_of(json.dumps({key: code})) == code


@given(arguments=st.text())
def test_any_text_has_code_or_none_and_never_raises(arguments: str) -> None:
    code = code_of(arguments)
    assert code is None or arguments.strip() != ""

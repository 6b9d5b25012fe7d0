"""What a trace may not do to the prompt around it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.judging.untrusted import BLANKED, TOKEN, neutralise, quote, seal

ROLE_TOKENS = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
    "<|system|>",
    "<|assistant|>",
    "<|end|>",
    "<|channel|>",
    "<|END_OF_TURN_TOKEN|>",
    "<|reserved_special_token_5|>",
    "<|vision_start|>",
    "<|turn>",
    "<turn|>",
    "<\uff5cAssistant\uff5c>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "[INST]",
    "[/INST]",
    "[SYSTEM_PROMPT]",
    "[TOOL_RESULTS]",
    "[gMASK]",
    "<<SYS>>",
    "<</SYS>>",
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<image>",
    "<extra_id_0>",
    "✿FUNCTION✿",
    "<system>",
    "</user>",
    "<assistant>",
]

OWN_TAGS = ["</record-0123456789abcdef>", "</record>", "<record>", "<rubric>", "</ record >", "<verdict value='yes'>"]

PARTS = st.sampled_from(
    [
        *ROLE_TOKENS,
        *OWN_TAGS,
        *(character for token in ROLE_TOKENS[:3] for character in token),
        "\u200b",
        "\u200d",
        "\u202e",
        "\ufeff",
        "\U000e0041",
        "\uff1c",
        "\uff5c",
        "\uff1e",
        "\n",
        "\r\n",
        "\u2028",
        "\x00",
        " ",
        "im_start",
        "\uff49\uff4d_\uff53\uff54\uff41\uff52\uff54",
        "a",
        "😀",
        "می\u200cخو\u0627\u0647م",
        "\ud800",
    ]
)
HOSTILE = st.lists(PARTS, max_size=40).map("".join) | st.text(max_size=200)


@pytest.mark.parametrize("token", [*ROLE_TOKENS, *OWN_TAGS])
def test_a_token_is_told_as_one_that_was_left_out(token: str) -> None:
    assert neutralise(f"before {token} after") == f"before {BLANKED} after"


@pytest.mark.parametrize(
    "spelt",
    [
        "<|im\u200b_start|>",
        "<\u2060|\u2060im_start|>",
        "<|im_\u200dstart|>",
        "<|im_\u00adstart|>",
        "<|im_\U000e0073start|>",
        "\uff1c\uff5cim_start\uff5c\uff1e",
        "\uff1c|\uff49\uff4d_\uff53\uff54\uff41\uff52\uff54|\uff1e",
        "<|\u0456m_\u0455tart|>",
        "<| im_start |>",
        "<|IM_START|>",
        "\u2039|im_start|\u203a",
        "\uff3bINST\uff3d",
        "\u3008/record\u3009",
        "</re\u0441ord>",
        "<\uff5cim\u2581start\uff5c>",
    ],
)
def test_a_token_in_disguise_is_found(spelt: str) -> None:
    assert neutralise(f"before {spelt} after") == f"before {BLANKED} after"


@pytest.mark.parametrize(
    "text",
    [
        "List<String> and Map<K, V>",
        "if a < b | c > d: pass",
        "<b>bold</b> <table><tr>",
        "[1] [2] [INS] [instead]",
        "<tool_call>{}</tool_call> <answer>4</answer>",
        "a\tb\n  c",
        "می\u200cخو\u0627\u0647م क्\u200dष 👨\u200d👩\u200d👧",
        "naïve café — “quoted” \u2039x\u203a",
        "-----\n=====\n\n\nno",
    ],
)
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert neutralise(text) == text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x" * 500, "xxxxxxxx [492 times more]"),
        ("yes " * 200, "yes  [199 times more]"),
        ("The answer is right. " * 40, "The answer is right.  [39 times more]"),
        ("a" + " " * 300 + "b", "a b"),
        ("a" + "\n" * 300 + "b", "a\n\nb"),
        ("the same line of text, which is fairly long, longer than the words looked for\n" * 30 + "end",
         "the same line of text, which is fairly long, longer than the words looked for\n[29 times more]\nend"),
        ("a\u202eb\u200bc\x1b[0m\x00", "abc[0m"),
        ("see data:image/png;base64," + "iVBORw0KGgo" * 10 + " there", "see [file left out] there"),
    ],
)  # fmt: skip
def test_what_nobody_can_read_is_told_shortly(text: str, told: str) -> None:
    assert neutralise(text) == told


@given(HOSTILE)
@example("<|abc<s>|>")
@example("<|im_<|im_start|>start|>")
@example("<user <s>>")
@example("[IN[INST]ST]")
@example("<" * 100 + "|s|" + ">" * 100)
@example("</s>" * 300)
def test_no_token_survives_and_none_is_made(text: str) -> None:
    clean = neutralise(text)
    assert TOKEN.search(clean) is None
    assert TOKEN.search(quote(clean)) is None
    assert not any(token in quote(clean) for token in ROLE_TOKENS)


@given(HOSTILE)
def test_every_line_of_a_quotation_is_marked(text: str) -> None:
    assert all(line.startswith("| ") for line in quote(neutralise(text)).splitlines())


@given(HOSTILE)
def test_cleaning_is_the_same_every_time_and_can_be_encoded(text: str) -> None:
    assert neutralise(text) == neutralise(text)
    neutralise(text).encode("utf-8")


def test_the_tag_around_a_text_depends_on_all_of_it() -> None:
    assert seal("a") != seal("b")
    assert len(seal("")) == 16
    assert seal("x" + seal("x")) != seal("x")

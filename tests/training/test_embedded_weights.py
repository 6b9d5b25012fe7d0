"""The unpacked weights are those that transformers reads from the same file."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from pipeline.serving.embedded import wheel_weights
from training.embedded_weights import convert, main


@pytest.mark.slow
def test_every_weight_and_the_chat_template_are_those_transformers_reads(tmp_path: Path) -> None:
    source = wheel_weights().path
    convert(source, tmp_path / "judge")
    unpack: dict[str, Any] = {"gguf_file": source.name, "quantization_config": GgufConfig(dequantize=True)}
    theirs = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.bfloat16, **unpack)
    ours = AutoModelForCausalLM.from_pretrained(tmp_path / "judge")
    assert ours.dtype == torch.bfloat16
    held, wanted = ours.state_dict(), theirs.state_dict()
    assert held.keys() == wanted.keys()
    assert [name for name in wanted if not torch.equal(held[name], wanted[name])] == []
    kept = set(theirs.config.to_dict()) - {"_model_name_or_path", "_name_or_path", "architectures", "unk_token_id"}
    assert {key: ours.config.to_dict()[key] for key in kept} == {key: theirs.config.to_dict()[key] for key in kept}
    messages = [{"role": "user", "content": "Is it so?"}]
    ask = {"tokenize": False, "add_generation_prompt": True}
    assert AutoTokenizer.from_pretrained(tmp_path / "judge").apply_chat_template(messages, **ask) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nIs it so?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    out = tmp_path / "judge"
    out.mkdir()
    (out / "mine").write_text("kept")
    convert(wheel_weights().path, out)
    assert [path.name for path in tmp_path.iterdir()] == ["judge"]
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_the_command_wants_one_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["embedded_weights"])
    with pytest.raises(SystemExit, match="usage: python -m training"):
        main()

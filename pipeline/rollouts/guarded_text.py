"""Text from outside, put into a chat template so that it stays text: no word in it becomes a template's token."""

import re
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigError, PolicyRequestError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SEAM = "\ufdd0"
"""Where text is cut before it is tokenised. A noncharacter, as the two below: in no text meant for anyone."""
MARK = "\ufdd1"
"""Where the probe of a template finds its own words again."""
SLOT = "\ufdd2"
"""Where a cached rendering takes what came back."""
_OURS = str.maketrans(dict.fromkeys((SEAM, MARK, SLOT), "\ufffd"))


class GuardedText:
    """Tokenises rendered templates; the words that were guarded before rendering give no added token.

    `split_special_tokens` of transformers splits all or nothing, and leaves alone the tokens that are added without
    being special, as Qwen's `</tool_response>` is. Here each look-alike is cut behind its first character instead,
    and the pieces are tokenised apart. A text without one is tokenised as transformers would.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        """Raises ConfigError for a tokenizer whose special tokens no cut can break."""
        self._tokenizer = tokenizer
        added = {
            index: token.content for index, token in tokenizer.added_tokens_decoder.items() if token.content.strip()
        }
        if single := sorted(token for token in added.values() if len(token) == 1):
            raise ConfigError(
                f"tokenizer: want added tokens of two characters and more, found {single}; no text could hold them"
            )
        self._added = frozenset(added)
        words = "|".join(map(re.escape, sorted(added.values(), key=len, reverse=True)))
        self._written = re.compile(words or r"(?!)")
        self._starts = re.compile(f"(?=(?:{words}))." if words else r"(?!)", re.DOTALL)

    def guard(self, text: str) -> str:
        """The text with a seam in each word that would be an added token; what no UTF-8 can hold becomes U+FFFD."""
        if not text.isascii():
            text = text.translate(_OURS).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return self._starts.sub(lambda found: found[0] + SEAM, text)

    def guard_all(self, value: Any) -> Any:
        """A JSON value with every text in it guarded."""
        if isinstance(value, str):
            return self.guard(value)
        if isinstance(value, dict):
            return {self.guard_all(key): self.guard_all(item) for key, item in value.items()}
        return [self.guard_all(item) for item in value] if isinstance(value, list | tuple) else value

    @staticmethod
    def unguarded(text: str) -> str:
        """The text without its seams."""
        return text.replace(SEAM, "")

    def encode(self, rendered: str) -> list[int]:
        """The tokens of a rendering, none added that the template does not write.

        Raises PolicyRequestError where the tokenizer finds more of them than stand there, as after a normalisation
        that guarding knows nothing of.
        """
        ids: list[int] = []
        for piece in rendered.split(SEAM):
            if piece:
                ids += self._tokenizer.encode(piece, add_special_tokens=False, verbose=False)
        written, found = len(self._written.findall(rendered)), sum(map(self._added.__contains__, ids))
        if found != written:
            raise PolicyRequestError(
                f"tokenizer: want the {written} added tokens that the chat template writes, found {found}; "
                "text of the task or of an observation is taken for one, or the template's are not in the vocabulary"
            )
        return ids

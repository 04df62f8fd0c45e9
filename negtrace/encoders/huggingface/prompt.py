"""Prompt: the question that a language model is asked about a statement, and its two answers."""

__all__ = ["Prompt"]

from dataclasses import dataclass
from typing import Any

from negtrace.encoders.tokenizing import read_text
from negtrace.errors import EncoderError
from negtrace.pairs.tokens import Tokens

Span = tuple[int, int]

PROBE = "It is so."
"""A statement to see which token an answer begins with."""


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Text around a statement, up to the position where a language model's answer would begin.

    The score is the logit of the first answer minus the logit of the second.

    >>> prompt = Prompt(template="{anchor} Is it true? {statement}")
    >>> prompt.filled("No effusion.", "Clear lungs.")
    ('Clear lungs. Is it true? No effusion.', 25)

    Raises:
        EncoderError: when the template does not hold each field exactly once.
    """

    template: str = "{anchor}\nIs this true? {statement}\nAnswer:"
    """Text with `{anchor}` and `{statement}`, each exactly once."""
    answers: tuple[str, str] = (" yes", " no")
    """Answers where the statement holds and where it does not."""
    chat: bool = False
    """Put the prompt as a user's message into the tokenizer's own chat template."""

    def __post_init__(self) -> None:
        for field in ("{anchor}", "{statement}"):
            if self.template.count(field) != 1:
                raise EncoderError(
                    f"the prompt has {field} {self.template.count(field)} times; expected once, "
                    "as in " + repr(Prompt.template)
                )

    def filled(self, statement: str, anchor: str = "") -> tuple[str, int]:
        """Return the text of the prompt, and the character at which the statement starts in it.

        Without an anchor, the blanks that would follow it are left out too.
        """
        before, after = self.template.split("{statement}")
        before, after = (part.replace("{anchor}", anchor) for part in (before, after))
        before = before if anchor else before.lstrip()
        return before + statement + after, len(before)

    def text(self, tokenizer: Any, statement: str, anchor: str = "") -> tuple[str, int]:
        """Return the text that the tokenizer reads, and where in it the statement starts.

        It is the filled prompt, in the tokenizer's chat template if `chat` is set.
        """
        text, start = self.filled(statement, anchor)
        return self._in_chat(tokenizer, text, start) if self.chat else (text, start)

    def tokens(self, tokenizer: Any, statement: str, anchor: str = "") -> Tokens:
        """Return the tokens of the whole prompt, with spans for those of the statement alone.

        Tokens that the tokenizer adds at the end are left out, since the answer is read there.
        """
        text, start = self.text(tokenizer, statement, anchor)
        read = read_text(tokenizer, text, add_special_tokens=not self.chat)
        count = max((i + 1 for i, span in enumerate(read.spans) if span != (0, 0)), default=0)
        return Tokens(
            ids=read.ids[:count],
            spans=tuple(_inside(span, start, len(statement)) for span in read.spans[:count]),
            padding=(False,) * count,
            read_out=count - 1,
            types=read.types[:count],
        )

    def _in_chat(self, tokenizer: Any, text: str, start: int) -> tuple[str, int]:
        message = [{"role": "user", "content": text}]
        try:
            chat = tokenizer.apply_chat_template(
                message, tokenize=False, add_generation_prompt=True
            )
        except ValueError as error:
            raise EncoderError(
                "the tokenizer has no chat template; use Prompt(chat=False)"
            ) from error
        if chat.count(text) != 1:
            raise EncoderError(
                "the chat template changes the text of the prompt; use Prompt(chat=False) and "
                "write the roles into the prompt's own template"
            )
        return chat, chat.index(text) + start

    def answer_ids(self, tokenizer: Any) -> tuple[int, int]:
        """Return the first token of each answer, as it is read right after the prompt.

        Raises:
            EncoderError: when both answers begin with the same token, or when an answer changes
                the tokens of the prompt before it.
        """
        first, second = (self._answer_id(tokenizer, answer) for answer in self.answers)
        if first == second:
            raise EncoderError(
                f"the answers {self.answers[0]!r} and {self.answers[1]!r} begin with the same "
                "token; give two answers that begin with different tokens"
            )
        return first, second

    def _answer_id(self, tokenizer: Any, answer: str) -> int:
        if self.chat:
            return read_text(tokenizer, answer, add_special_tokens=False).ids[0]
        question = self.tokens(tokenizer, PROBE).ids
        answered = Prompt(template=self.template + answer, answers=self.answers)
        ids = answered.tokens(tokenizer, PROBE).ids
        if len(ids) <= len(question) or ids[: len(question)] != question:
            raise EncoderError(
                f"the answer {answer!r} changes the last tokens of the prompt; end the template "
                "without a blank and begin the answers with one, or the other way round"
            )
        return ids[len(question)]


def _inside(span: Span, start: int, length: int) -> Span:
    """Return the part of a span of the prompt that is in the statement, counted from its start."""
    first, last = max(0, span[0] - start), min(length, span[1] - start)
    return (first, last) if first < last else (0, 0)

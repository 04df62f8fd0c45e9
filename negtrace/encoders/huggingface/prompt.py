"""The question that a language model is asked about a statement, and its two answers."""

__all__ = ["Prompt"]

from dataclasses import dataclass
from typing import Any

from negtrace.encoders.tokenizing import read_text
from negtrace.errors import EncoderError
from negtrace.pairs.tokens import Tokens

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What is read around a statement, up to the place where the answer would follow.

    The score is the logit of the first answer minus that of the second.

    >>> Prompt(template="{anchor} Is it true? {statement}").filled("No effusion.", "Clear lungs.")
    ('Clear lungs. Is it true? No effusion.', 25)
    """

    template: str = "{anchor}\nIs this true? {statement}\nAnswer:"
    """Text with `{anchor}` and `{statement}`, each once; an anchor's place may stay empty."""
    answers: tuple[str, str] = (" yes", " no")
    """What follows the prompt where the statement holds, and where it does not."""
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
        """Return the prompt's text, and where in it the statement starts."""
        before, after = self.template.split("{statement}")
        before, after = (part.replace("{anchor}", anchor) for part in (before, after))
        before = before if anchor else before.lstrip()
        return before + statement + after, len(before)

    def tokens(self, tokenizer: Any, statement: str, anchor: str = "") -> Tokens:
        """Return the tokens of the whole prompt; spans are those of the statement alone.

        What a tokenizer adds at the end is left out, since the answer is read there.
        """
        text, start = self.filled(statement, anchor)
        if self.chat:
            text, start = self._in_chat(tokenizer, text, start)
        ids, spans = read_text(tokenizer, text, add_special_tokens=not self.chat)
        count = max((i + 1 for i, span in enumerate(spans) if span != (0, 0)), default=0)
        return Tokens(
            ids=ids[:count],
            spans=tuple(_inside(span, start, len(statement)) for span in spans[:count]),
            padding=(False,) * count,
            read_out=count - 1,
        )

    def _in_chat(self, tokenizer: Any, text: str, start: int) -> tuple[str, int]:
        message = [{"role": "user", "content": text}]
        try:
            whole = tokenizer.apply_chat_template(
                message, tokenize=False, add_generation_prompt=True
            )
        except ValueError as error:
            raise EncoderError(
                "the tokenizer has no chat template; use Prompt(chat=False)"
            ) from error
        if whole.count(text) != 1:
            raise EncoderError(
                "the chat template does not hold the prompt as it is; use Prompt(chat=False) and "
                "write the roles into its template"
            )
        return whole, whole.index(text) + start

    def answer_ids(self, tokenizer: Any) -> tuple[int, int]:
        """Return the first token of either answer, as it is read right after the prompt.

        Raises:
            EncoderError: when both answers begin alike, or change how the prompt is read.
        """
        first, second = (self._answer_id(tokenizer, answer) for answer in self.answers)
        if first == second:
            raise EncoderError(
                f"the answers {self.answers[0]!r} and {self.answers[1]!r} begin with the same "
                "token; name two that the model's tokenizer tells apart at once"
            )
        return first, second

    def _answer_id(self, tokenizer: Any, answer: str) -> int:
        asked = self.tokens(tokenizer, "It is so.").ids
        answered = Prompt(template=self.template + answer, answers=self.answers, chat=False)
        if self.chat:
            ids, _ = read_text(tokenizer, answer, add_special_tokens=False)
            return ids[0]
        ids = answered.tokens(tokenizer, "It is so.").ids
        if len(ids) <= len(asked) or ids[: len(asked)] != asked:
            raise EncoderError(
                f"the answer {answer!r} changes how the end of the prompt is read; end the "
                "template without a blank and begin the answers with one, or the other way round"
            )
        return ids[len(asked)]


def _inside(span: Span, start: int, length: int) -> Span:
    """Return the part of a span of the prompt that is in the statement, counted from its start."""
    first, last = max(0, span[0] - start), min(length, span[1] - start)
    return (first, last) if first < last else (0, 0)

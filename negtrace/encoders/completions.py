"""Completions: how probable a language model finds a text that goes on from a prompt."""

__all__ = ["CompletionScorer"]

from abc import ABC, abstractmethod
from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor

from negtrace.pairs.tokens import Tokens


class CompletionScorer(ABC):
    """A model that gives a probability to each next token."""

    @abstractmethod
    def tokenize_completion(self, prompt: str, completion: str) -> Tokens:
        """Return the tokens of a prompt and its completion, which are read as one text.

        Spans are counted from the start of the completion; those of the prompt are (0, 0).
        """

    @abstractmethod
    def completion_scores(
        self, prompts: Sequence[str], completions: Sequence[str]
    ) -> Float[Tensor, " row"]:
        """Return the mean log-probability of the tokens of each completion after its prompt.

        No gradient is kept.

        Args:
            prompts: a prompt for each row.
            completions: text that follows, as it stands: a new word begins with a blank.

        Raises:
            EncoderError: when a row does not fit the context, or has no token before or in the
                completion.
        """

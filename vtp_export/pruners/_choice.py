"""A pruner with its settings, as one word: `adaptive`, or `adaptive:complexity=entropy,count=adaptive`."""

from dataclasses import dataclass

from vtp_export.errors import SpecError


@dataclass(frozen=True)
class Choice:
    """A pruner's name and what is set besides its budget."""

    pruner: str
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """The word it was read from."""
        pairs = ",".join(f"{key}={value}" for key, value in self.settings)
        return f"{self.pruner}:{pairs}" if pairs else self.pruner


def choice(text: str) -> Choice:
    """Read one.

    Raises:
        SpecError: not NAME or NAME:KEY=VALUE,...

    Example:
        >>> choice("adaptive:tau=0.1").settings
        (('tau', '0.1'),)
    """
    name, colon, rest = text.partition(":")
    pairs = [pair.partition("=") for pair in rest.split(",")] if colon else []
    if not name or not all(key and sign for key, sign, _ in pairs):
        raise SpecError(f"'{text}' is not a method; write NAME or NAME:KEY=VALUE,KEY=VALUE")
    return Choice(name.strip(), tuple((key.strip(), value.strip()) for key, _, value in pairs))

"""The errors of the use cases, by what the caller can do about them. The command line maps them to exit codes."""

from collections.abc import Sequence


class AftercareError(Exception):
    """Base of all errors that a person is told about; the message says what is wrong and what would be right."""


class InvalidInput(AftercareError):
    """What was entered is wrong; nothing was changed. Exit 2."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems: Sequence[str] = problems


class InvalidSettings(InvalidInput):
    """One or more settings are wrong; all are named. Exit 2."""


class NotFound(InvalidInput):
    """There is no row with that id. Exit 2."""


class Refused(AftercareError):
    """The rules forbid it as things stand; nothing was changed. Exit 1."""


class NeedsConfirmation(AftercareError):
    """It asks first: on a terminal, or with --yes. Exit 2, nothing was changed."""


class UnderAge(Refused):
    """The patient was under the protocol's age; a clinician may treat all the same, with a reason."""

    def __init__(self, age: int, minimum: int) -> None:
        self.words = f"the patient was {age} at the treatment and the protocol is for {minimum} and over"
        super().__init__(f"{self.words}; a clinician may override it with a reason (--age-override)")


class ReplaceOrKeep(InvalidInput):
    """A plan of this kind runs, and the protocol wants staff to say what becomes of it."""

    words = "the patient has a running plan of this protocol, and the protocol asks what becomes of it"

    def __init__(self) -> None:
        super().__init__(f"{self.words}: say --replace or --keep")

"""What the forms of the patients' pages send."""

from collections.abc import Mapping
from typing import ClassVar

from web.forms import FormModel


class CodeForm(FormModel):
    """What opens the page, and what was being written when it closed."""

    code: str = ""
    kept: Mapping[str, str] = {}
    groups: ClassVar[Mapping[str, str]] = {"kept": "kept."}


class CheckInForm(FormModel):
    """How it is going."""

    answer: str = ""
    pain: str = ""
    words: str = ""


class CallForm(FormModel):
    """Why she asks for a call."""

    because: str = "asked"
    words: str = ""


class StepBackForm(FormModel):
    """From which exercise: the one that her page showed."""

    exercise: str = ""


class PauseForm(FormModel):
    """For how long."""

    weeks: str = ""


class VisitForm(FormModel):
    """Whether she comes."""

    review: str
    words: str = ""
    answer: str = ""


class QuestionsForm(FormModel):
    """The questions before a visit."""

    review: str
    pains: Mapping[str, str] = {}
    noticed: tuple[str, ...] = ()
    words: str = ""
    groups: ClassVar[Mapping[str, str]] = {"pains": "pain."}


class ChoicesForm(FormModel):
    """When and how she likes to be written to."""

    at: str = ""
    weekday: str = ""
    language: str = ""
    level: str = ""


class StopForm(FormModel):
    """Which messages."""

    topic: str = ""
    again: str = ""

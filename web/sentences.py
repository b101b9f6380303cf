"""What a page says a form has done. A key travels in the address; nothing about a patient does."""

from typing import Final

DONE: Final = {
    "signed-out": "You are signed out.",
    "joined": "Your account is ready.",
    "secrets-changed": "Changed. Your sessions in other browsers have ended if the password was changed.",
    "address-changed": "Your address is changed.",
    "signed-out-everywhere": "Signed out everywhere else.",
    "session-ended": "That session has ended.",
}

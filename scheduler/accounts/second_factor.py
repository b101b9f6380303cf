"""The second factor: time-based codes (RFC 6238) of an authenticator app, their QR code, and recovery codes."""

import base64
import io
import secrets
from datetime import datetime
from typing import Final

import pyotp
import segno

STEP_SECONDS: Final = 30
SECRET_BYTES: Final = 20
RECOVERY_CODES: Final = 10
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # without letters and digits that are mistaken for each other


def secret_of(random: bytes) -> str:
    """A secret as authenticator apps take it: the first 160 of these bits (RFC 4226 §4)."""
    return base64.b32encode(random[:SECRET_BYTES]).decode()


def matching_step(secret: str, code: str, at: datetime) -> int | None:
    """The time step whose code this is: the present one or a neighbour, for a clock that is a little off; else None."""
    typed = "".join(code.split())
    if not (typed.isascii() and typed.isdigit() and len(typed) == 6):
        return None
    totp = pyotp.TOTP(secret)
    now = int(at.timestamp()) // STEP_SECONDS
    for step in (now, now - 1, now + 1):
        if secrets.compare_digest(totp.generate_otp(step), typed):
            return step
    return None


def qr_code(secret: str, login: str) -> str:
    """The QR code that an authenticator app scans, as SVG without styles or scripts."""
    address = pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name="Aftercare")
    out = io.BytesIO()
    segno.make(address, error="m", micro=False).save(
        out, kind="svg", scale=4, border=3, dark="#000", light="#fff", xmldecl=False, svgns=True, omitsize=True
    )
    return out.getvalue().decode()


def spaced(secret: str) -> str:
    """The secret in groups of four, for typing."""
    return " ".join(secret[start : start + 4] for start in range(0, len(secret), 4))


def make_recovery_codes() -> list[str]:
    """Ten codes of about 49 bits each, in two groups."""
    return [
        "-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(2)) for _ in range(RECOVERY_CODES)
    ]


def normal_recovery_code(typed: str) -> str:
    """A recovery code as it is compared, however it was typed."""
    letters = "".join(letter for letter in typed.lower() if letter in _LETTERS)
    return f"{letters[:5]}-{letters[5:]}"

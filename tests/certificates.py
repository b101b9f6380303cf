"""Certificates for the SMTP server of the tests: a good one, and one for each thing that can be wrong with one.

Each signs itself, so trusting it is trusting that one file, but for the one of an authority that nobody here knows;
the server is `tests/smtp_server.py`.
"""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Flaw = Literal["none", "wrong name", "expired", "not yet valid", "self-signed", "unknown authority"]

VALID = {"expired": (2020, 2021), "not yet valid": (2089, 2090)}


@dataclass(frozen=True)
class Certificate:
    """Both ends of a TLS connection: what the server shows and what a client trusts."""

    server: ssl.SSLContext
    trust: ssl.SSLContext


def make_certificate(folder: Path, flaw: Flaw = "none") -> Certificate:
    """A certificate for 127.0.0.1 and localhost, or with one flaw; its files are left in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(IPv4Address("127.0.0.1"))]
    if flaw == "wrong name":
        names = [x509.DNSName("other.example.org")]
    authority = ec.generate_private_key(ec.SECP256R1()) if flaw == "unknown authority" else key
    first, last = VALID.get(flaw, (2020, 2090))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_name("mail.example.org"))
        .issuer_name(_name("An authority" if flaw == "unknown authority" else "mail.example.org"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(first, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(last, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=authority is key, path_length=None), critical=True)
        .sign(authority, hashes.SHA256())
    )
    certificate_file, key_file = folder / f"{flaw}.pem", folder / f"{flaw}.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate_file, key_file)
    if flaw in ("self-signed", "unknown authority"):
        return Certificate(server, ssl.create_default_context())
    return Certificate(server, ssl.create_default_context(cafile=str(certificate_file)))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])

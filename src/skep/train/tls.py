"""The credentials of a process for TLS between sites: a key and a certificate that live as long.

Nobody signs the certificate and nobody checks its name. Which process it belongs to is proven in
``handshake``: both sides put the fingerprint of the certificate that they see at the server's end
into the proof that they hold the job's token, so that someone in the middle, who has to show
another one, is found out. RFC 5929 calls this channel binding of the kind tls-server-end-point.
"""

from __future__ import annotations

import hashlib
import secrets
import ssl
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from skep.errors import InputError

_VALID = timedelta(days=3650)  # nobody checks it


@dataclass(frozen=True, slots=True)
class Identity:
    """What a process needs at either end of TLS, and the fingerprint of its certificate (hex)."""

    server: ssl.SSLContext
    client: ssl.SSLContext
    fingerprint: str


def identity() -> Identity:
    """A fresh one. Raises ``InputError`` where the package ``cryptography`` is missing."""
    certificate, key, password = _certificate()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    server.num_tickets = 0  # sessions are not resumed: each proves the token
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.pem"  # ssl reads files only; the key in it is encrypted
        path.write_bytes(key + certificate)
        server.load_cert_chain(path, password=password)
    client.check_hostname = False
    client.verify_mode = ssl.CERT_NONE  # see above: bound to the token instead
    return Identity(server, client, fingerprint(ssl.PEM_cert_to_DER_cert(certificate.decode())))


def fingerprint(certificate: bytes) -> str:
    """SHA-256 (hex) of a certificate in DER."""
    return hashlib.sha256(certificate).hexdigest()


def _certificate() -> tuple[bytes, bytes, bytes]:
    """A self-signed certificate, its encrypted key (both PEM), and the password of the key."""
    try:
        # Here, as only what encrypts needs it: neither a run alone nor one with ``plain``.
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.serialization import (
            BestAvailableEncryption,
            Encoding,
            PrivateFormat,
        )
    except ImportError as error:
        hint = "allowed: why links need no encryption, or pip install 'skep[train]' (cryptography)"
        raise InputError("plain", "", hint) from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "skep.train")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + _VALID)
        .sign(key, hashes.SHA256())
    )
    password = secrets.token_bytes(32).hex().encode()
    sealed = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password))
    return made.public_bytes(Encoding.PEM), sealed, password

"""TLS with a client certificate from a PKCS#12 file."""

import os
import secrets
import ssl
import tempfile
from pathlib import Path

from evpower.outside.http import authorities


class ClientCertificateError(Exception):
    """The file cannot be read, or holds no key and certificate."""


def client_context(path: str, password: str, ca_path: str = "") -> ssl.SSLContext:
    """Context that shows the certificate of ``path`` and trusts ``ca_path`` (PEM; empty: the public authorities).

    OpenSSL's Python binding loads keys from files only, so the key is on disk for a moment: encrypted, under a
    password that nobody keeps, readable by this user alone.

    Raises:
        ClientCertificateError: unreadable file, wrong password, or no key or certificate inside.
    """
    # Imported here: only processes that talk to this provider should pay for it.
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        pkcs12,
    )

    try:
        key, certificate, chain = pkcs12.load_key_and_certificates(
            Path(path).read_bytes(), password.encode() if password else None
        )
        if key is None or certificate is None:
            raise ClientCertificateError("the PKCS#12 file holds no key or no certificate")
        context = authorities(ca_path)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        once = secrets.token_bytes(32).hex().encode()
        pem = b"".join(item.public_bytes(Encoding.PEM) for item in (certificate, *chain))
        pem += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(once))
        with tempfile.TemporaryDirectory() as directory:  # mode 0700
            file = Path(directory) / "client.pem"
            file.touch(mode=0o600)
            file.write_bytes(pem)
            context.load_cert_chain(file, password=once)
            os.truncate(file, 0)
    except (OSError, ValueError, ssl.SSLError) as error:
        raise ClientCertificateError(f"client certificate cannot be used: {type(error).__name__}") from error
    return context

"""A TLS end that is not ours: Python's ssl module over memory buffers."""

from __future__ import annotations

import contextlib
import ssl
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dcsdk.sdp.association import DtlsRole
from dcsdk.tls.certificate import Certificate

TLS1_2, TLS1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = [TLS1_2, TLS1_3]


def pem_of(certificate: Certificate) -> bytes:
    """Return a certificate and its key as one PEM file."""
    return certificate.x509.public_bytes(Encoding.PEM) + certificate.key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )


def foreign_context(
    role: DtlsRole,
    *,
    certificate: Certificate | None,
    trusted: Certificate | None = None,
    version: ssl.TLSVersion = TLS1_3,
) -> ssl.SSLContext:
    """Make a context of one version.

    Args:
        role: of the foreign end.
        certificate: what it presents, ``None`` for nothing.
        trusted: the certificate it wants of the other end; ``None`` takes any, and asks for none.
        version: the only one it speaks.
    """
    context = ssl.SSLContext(
        ssl.PROTOCOL_TLS_CLIENT if role == "client" else ssl.PROTOCOL_TLS_SERVER
    )
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version < TLS1_2:
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    if certificate is not None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "certificate.pem"
            file.write_bytes(pem_of(certificate))
            context.load_cert_chain(file)
    if trusted is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=trusted.x509.public_bytes(Encoding.PEM).decode())
    return context


class Foreign:
    """One end, fed and emptied by hand.

    Args:
        role: client or server.
        context: of that role.
        session: to be resumed, of a client.

    Attributes:
        tls: what Python has of the connection.
        is_done: its handshake is over, as far as it knows.
        received: plaintext so far.
        error: what ended it.
    """

    def __init__(
        self, role: DtlsRole, context: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> None:
        self._into, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._into, self._out, server_side=role == "server", session=session
        )
        self.is_done = False
        self.received = b""
        self.error: ssl.SSLError | None = None

    def step(self, data: bytes) -> bytes:
        """Take bytes of the network; return what goes back there."""
        self._into.write(data)
        try:
            if not self.is_done:
                self.tls.do_handshake()
                self.is_done = True
            while part := self.tls.read(65_536):
                self.received += part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as exc:
            self.error = self.error or exc
        return self._out.read()

    def say(self, data: bytes) -> bytes:
        """Encrypt data; return what goes to the network."""
        self.tls.write(data)
        return self._out.read()

    def say_goodbye(self) -> bytes:
        """Return the close alert."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._out.read()

"""A small certificate authority for the emulated network's TLS servers and clients."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dcsdk.errors import ConfigError

CA_DAYS = 3650
"""Validity of the authority's own certificate."""

LEAF_DAYS = 365
"""Validity of an issued certificate; a new one is issued at each start."""

RENEW_DAYS = 30
"""An authority with fewer days left is made anew."""

_CLOCK_SKEW = datetime.timedelta(days=1)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """An end-entity certificate and its key, as files.

    Attributes:
        name: of the function it was issued to.
        certificate_file: PEM.
        key_file: PEM, readable by the owner only.
    """

    name: str
    certificate_file: Path
    key_file: Path


class Authority:
    """Issues certificates that chain to its own, which clients are told to trust.

    Files: ``ca.pem``, ``ca.key`` and ``<name>.pem``, ``<name>.key`` in one folder. An authority
    that is there already and still valid is used again, so clients keep their ``ca_file``.

    Args:
        folder: made when it is not there.

    Raises:
        ConfigError: the folder cannot be written, or holds something that is no authority.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not self._load():
                self._create()
        except OSError as exc:
            raise ConfigError(f"cannot keep certificates in {folder}: {exc.strerror}") from exc

    @property
    def ca_file(self) -> Path:
        """The authority's certificate, PEM: what a client trusts."""
        return self.folder / "ca.pem"

    def issue(self, name: str, hosts: Iterable[str]) -> IssuedCertificate:
        """Issue a certificate for a server or client.

        Args:
            name: of the function; names the files.
            hosts: DNS names and IP addresses it is reached by (``subjectAltName``), at least one.

        Raises:
            ConfigError: a bad name, no host, or the files cannot be written.
        """
        names = [_general_name(host) for host in hosts]
        if _NAME.fullmatch(name) is None or name == "ca" or not names:
            raise ConfigError(f"cannot issue a certificate called {name!r} for {len(names)} hosts")
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = (
            _builder(name, LEAF_DAYS)
            .issuer_name(self._certificate.subject)
            .public_key(key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
        )
        issued = IssuedCertificate(
            name=name,
            certificate_file=self.folder / f"{name}.pem",
            key_file=self.folder / f"{name}.key",
        )
        try:
            _write_key(issued.key_file, key)
            _write_certificate(issued.certificate_file, builder.sign(self._key, hashes.SHA256()))
        except OSError as exc:
            raise ConfigError(f"cannot write the certificate of {name}: {exc.strerror}") from exc
        return issued

    def server_context(
        self, issued: IssuedCertificate, *, require_client: bool = False
    ) -> ssl.SSLContext:
        """Make the TLS context of a server.

        Args:
            issued: what the server shows.
            require_client: refuse clients without a certificate of this authority (TS 33.501 13.1).
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(issued.certificate_file, issued.key_file)
        if require_client:
            context.load_verify_locations(self.ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self, issued: IssuedCertificate | None = None) -> ssl.SSLContext:
        """Make the TLS context of a client that trusts this authority and nobody else.

        Args:
            issued: what the client shows to servers that ask, or ``None``.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(self.ca_file)
        if issued is not None:
            context.load_cert_chain(issued.certificate_file, issued.key_file)
        return context

    # --- inside ----------------------------------------------------------------------------------
    def _load(self) -> bool:
        """Take the authority of the folder; ``False`` when there is none, or it ends soon."""
        key_file = self.folder / "ca.key"
        if not (self.ca_file.exists() and key_file.exists()):
            return False
        try:
            certificate = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        except ValueError as exc:
            raise ConfigError(
                f"{self.folder} holds a ca.pem or ca.key that cannot be read"
            ) from exc
        if not isinstance(key, ec.EllipticCurvePrivateKey) or (
            key.public_key() != certificate.public_key()
        ):
            raise ConfigError(f"ca.pem and ca.key in {self.folder} do not belong together")
        left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        if left < datetime.timedelta(days=RENEW_DAYS):
            return False
        self._certificate, self._key = certificate, key
        return True

    def _create(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        public = self._key.public_key()
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        name = f"emulated IMS {os.urandom(4).hex()}"
        builder = (
            _builder(name, CA_DAYS)
            .issuer_name(_name(name))
            .public_key(public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        )
        self._certificate = builder.sign(self._key, hashes.SHA256())
        _write_key(self.folder / "ca.key", self._key)
        _write_certificate(self.ca_file, self._certificate)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError as exc:
        raise ConfigError(f"{host!r} is neither an IP address nor a host name") from exc


def _builder(subject: str, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    _write(path, data, 0o600)


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    _write(path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a whole file or nothing, never readable by others for a moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(number, "wb") as file:
        file.write(data)
    temporary.replace(path)

"""An NSS key log: the secrets of TLS and DTLS associations, for Wireshark.

Whoever can read the file can read the traffic, so opening one warns.
"""

from __future__ import annotations

import logging
import os
import ssl
import weakref
from pathlib import Path

from dcsdk.errors import ConfigError

logger = logging.getLogger(__name__)


class KeyLog:
    """Appends key log lines to a file that only its owner may read.

    Args:
        path: the file; made when it is not there.

    Raises:
        ConfigError: the file cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as exc:
            raise ConfigError(f"cannot open the key log {self.path}: {exc.strerror}") from exc
        self._file = os.fdopen(descriptor, "ab", buffering=0)
        logger.warning(
            "keylog=%s TLS AND DTLS SECRETS ARE BEING WRITTEN: who reads this file reads the media",
            self.path,
        )

    def __call__(self, line: bytes) -> None:
        """Write one line; after ``close`` it is dropped. A full disk ends the log, not the call.

        Args:
            line: as OpenSSL gives it, without a line end.
        """
        if self._file.closed:
            return
        try:
            self._file.write(line + b"\n")
        except OSError as exc:
            logger.error("keylog=%s ends here, it cannot be written: %s", self.path, exc.strerror)
            self.close()

    def begin(self) -> None:
        """Write a comment, to see that the file can be written.

        Raises:
            ConfigError: it cannot be; the log is closed then.
        """
        try:
            self._file.write(b"# TLS\n")
        except OSError as exc:
            self.close()
            raise _cannot_write(self.path, exc) from exc

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()


def _cannot_write(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"cannot write the key log {path}: {error.strerror}")


class _TlsSecrets:
    """A file in memory that the ``ssl`` module writes secrets to, and the key log they go on to.

    Args:
        log: gets the lines.

    Raises:
        OSError: no file descriptor is left.
    """

    def __init__(self, log: KeyLog) -> None:
        self._log = log
        self._memory = os.memfd_create("tls-secrets")
        self.path = f"/proc/self/fd/{self._memory}"

    def hand_over(self) -> None:
        """Move what was written to the log, but for the comment at its beginning."""
        lines = os.pread(self._memory, os.fstat(self._memory).st_size, 0)
        if lines:
            os.ftruncate(self._memory, 0)
            for line in lines.splitlines():
                if not line.startswith(b"#"):
                    self._log(line)

    def close(self) -> None:
        """Close both files."""
        os.close(self._memory)
        self._log.close()


def log_tls_secrets(context: ssl.SSLContext, path: str | Path) -> None:
    """Have the connections that asyncio makes with a context write their secrets to a key log.

    The ``ssl`` module ends a connection whose secrets it cannot write to the file it was given. So
    it is given one in memory, emptied into the log at each step of a handshake: a disk that fills
    up ends the log, with an error in the program's log, and no connection. Systems without such
    files, all but Linux, give it the key log itself: there a full disk ends connections as well.

    Raises:
        ConfigError: the file cannot be opened or written.
    """
    log = KeyLog(path)
    log.begin()
    if not hasattr(os, "memfd_create"):
        log.close()
        context.keylog_filename = str(path)
        return
    try:
        secrets = _TlsSecrets(log)
    except OSError as exc:
        log.close()
        raise _cannot_write(log.path, exc) from exc
    weakref.finalize(context, secrets.close)
    context.keylog_filename = secrets.path

    class LoggedConnection(ssl.SSLObject):
        """A connection whose secrets are moved as soon as they are known."""

        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            finally:
                secrets.hand_over()

    context.sslobject_class = LoggedConnection

"""An NSS key log: the secrets of TLS and DTLS associations, for Wireshark.

Whoever can read the file can read the traffic, so opening one warns.
"""

from __future__ import annotations

import logging
import os
import ssl
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

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._file.close()


def log_tls_secrets(context: ssl.SSLContext, path: str | Path) -> None:
    """Have the connections of a context write their secrets to a key log.

    The ``ssl`` module ends a connection whose secrets it cannot write; so whether they can be is
    tried here, with a comment line.

    Raises:
        ConfigError: the file cannot be opened or written.
    """
    log = KeyLog(path)
    try:
        log._file.write(b"# TLS\n")
    except OSError as exc:
        raise ConfigError(f"cannot write the key log {path}: {exc.strerror}") from exc
    finally:
        log.close()
    context.keylog_filename = str(path)

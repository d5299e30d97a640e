"""What a line runs on: its paths and its transport.

A group owns both. It counts its lines and closes with the last of them; today it has one.
"""

from __future__ import annotations

import dataclasses

from dcsdk.errors import LocalProtocolError
from dcsdk.interfaces.security import Agreement, SecurityBackend, SecurityContext
from dcsdk.interfaces.transports import SecureTransport
from dcsdk.security import SecurityReport, SecurityScope
from dcsdk.session.line_paths import LinePaths, RemoteEnd


class TransportGroup:
    """The paths and the transport of a line.

    Args:
        backend: protects them.
        context: what the backend may know.
        paths: owned from now on.
        agreement: of the line.
        remote: the peer's end.
        is_offerer: our side made the offer that this group comes from.

    Attributes:
        agreement: what is in force.
        paths: what is in force.
        remote: the peer's end as last signalled.
        transport: the secure transport.
    """

    def __init__(
        self,
        backend: SecurityBackend,
        context: SecurityContext,
        paths: LinePaths,
        agreement: Agreement,
        remote: RemoteEnd,
        *,
        is_offerer: bool,
    ) -> None:
        self.backend = backend
        self.context = context
        self.paths = paths
        self.agreement = agreement
        self.remote = remote
        self.transport: SecureTransport = backend.open(agreement.parameters, paths.paths, context)
        self._is_offerer = is_offerer
        self._users = 0
        self._is_started = False
        paths.commit(remote, is_offerer=is_offerer)

    # --- its lines -------------------------------------------------------------------------------
    def join(self) -> None:
        """Count one more line."""
        self._users += 1

    async def leave(self, timeout_s: float) -> None:
        """Count one line less; the last one closes the transport."""
        self._users -= 1
        if self._users <= 0:
            await self.aclose(timeout_s)

    # --- life ------------------------------------------------------------------------------------
    def start(self) -> None:
        """Lead the paths to the peer and begin. Idempotent.

        Raises:
            ConfigError, TransportError: the paths cannot lead there.
        """
        if not self._is_started:
            self._is_started = True
            self.paths.connect(self.remote)
            self.transport.start()

    def follow(self, agreement: Agreement, remote: RemoteEnd) -> None:
        """Take what a further exchange said that keeps the transport."""
        self.agreement = agreement
        moved = self.remote.address != remote.address
        self.paths.commit(remote, is_offerer=self._is_offerer)
        self.remote = remote
        if moved and self._is_started and not self.paths.runs_ice:
            self.paths.connect(remote)

    def require_renewable(self) -> None:
        """Refuse to offer new keys where they cannot be had.

        Raises:
            LocalProtocolError: the transport is not up, or cannot be renewed.
        """
        if not self.transport.is_renewable:
            raise LocalProtocolError("the line cannot have new keys now", source="RFC 8842 3.1")

    def renew(self, paths: LinePaths, agreement: Agreement, remote: RemoteEnd) -> None:
        """Begin a new association on new paths; the old one serves until it works (RFC 8842 3.1).

        Args:
            paths: owned from now on.
            agreement: as agreed anew.
            remote: the peer's end.
        """
        paths.commit(remote, is_offerer=self._is_offerer, old=self.paths)
        self.transport.renew(agreement.parameters, paths.paths)
        self.paths, self.agreement, self.remote = paths, agreement, remote
        self._is_started = False

    def claim(self, scope: SecurityScope, reason: str, *, identity: str | None) -> None:
        """Say between whom the group is protected, and who the network says the peer is.

        While a new association shakes hands, never more is claimed than before.

        Args:
            scope: of its lines: they share one peer.
            reason: why, in one sentence.
            identity: ``P-Asserted-Identity``, or ``None``.
        """
        self.transport.report = dataclasses.replace(
            self.transport.report,
            scope=scope,
            reason=reason,
            signalling=self.context.signalling,
            asserted_identity=None if scope is SecurityScope.E2DCE else identity,
        )

    @property
    def report(self) -> SecurityReport:
        """What protects the lines of the group."""
        return self.transport.report

    async def aclose(self, timeout_s: float) -> None:
        """Close the transport and its paths. Idempotent and bounded by ``timeout_s`` seconds."""
        await self.transport.aclose(timeout_s)
        await self.paths.close()

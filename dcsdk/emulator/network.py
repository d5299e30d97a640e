"""The emulated IMS network in one process: every function on loopback sockets, wired up.

SIP runs P-CSCF - S-CSCF - IMS AS over TCP; the IMS AS, DCSF and DCMF talk HTTP; UEs come over UDP,
TCP or TLS, and their bootstrap channels end in the DCMF.

Source: TS 23.228 AC.2.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
import tempfile
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from dcsdk.config import ClientConfig, from_mapping
from dcsdk.emulator.access.pcscf import Pcscf
from dcsdk.emulator.app_server.ims_as import ImsAs
from dcsdk.emulator.app_server.ims_as_http import ImsAsHttp
from dcsdk.emulator.core.hss import Hss, Subscriber
from dcsdk.emulator.core.scscf import Scscf
from dcsdk.emulator.dc.dcmf import Dcmf
from dcsdk.emulator.dc.dcsf import AppPolicy, Dcsf
from dcsdk.emulator.dc.fault_functions import FailingMrm, VanishingEngine
from dcsdk.emulator.dc.repository import AppRepository
from dcsdk.emulator.lab.authority import Authority
from dcsdk.emulator.lab.trace import TraceBus
from dcsdk.emulator.lab.trace_sdp import SecurityLines
from dcsdk.emulator.network_config import NetworkConfig, SubscriberConfig
from dcsdk.errors import ConfigError, LocalProtocolError, TransportError
from dcsdk.interfaces import Address, AssociationEngine
from dcsdk.io.keylog import KeyLog, log_tls_secrets
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.io.sip.transport import TransportName
from dcsdk.io.tasks import finish_all
from dcsdk.registry import Registry
from dcsdk.security import SecurityScope
from dcsdk.sip.syntax.uri import SipUri
from dcsdk.sip.transactions.timers import PROFILES

logger = logging.getLogger(__name__)


class Network:
    """The network. Use it as ``async with Network(config) as network``.

    Args:
        config: see there; by default the demonstration network.
        registry: the plug-ins the DCMF uses; by default all that are installed.

    Attributes:
        config: as given.
        trace: every message.
        hss, pcscf, scscf, ims_as: functions, once started.
        dcsf, dcmf: functions, once started, of a network with data channels.
    """

    hss: Hss
    pcscf: Pcscf
    scscf: Scscf
    ims_as: ImsAs
    dcsf: Dcsf
    dcmf: Dcmf

    def __init__(
        self, config: NetworkConfig | None = None, *, registry: Registry | None = None
    ) -> None:
        self.config = NetworkConfig.demo() if config is None else config
        self.trace = TraceBus(self.config.trace_capacity)
        self._registry = registry
        self._stack = AsyncExitStack()
        self._faults = frozenset(self.config.faults)
        self._addresses: dict[TransportName, Address] = {}
        self._ca_file: Path | None = None
        self._engine: AssociationEngine | None = None
        self._dcmf_fingerprint = ""
        self._security_lines = SecurityLines(self.trace)

    # --- life ------------------------------------------------------------------------------------
    async def start(self) -> None:
        """Start every function.

        Raises:
            ConfigError: a port is taken, a folder cannot be used, a plug-in is not loaded.
        """
        try:
            await self._start()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Stop every function and close every socket. Idempotent and bounded.

        First those of SIP, which use the others, then the rest; each at the same time, so that
        the slowest is the bound, however many connections do not answer.
        """
        await self._stack.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    # --- for clients and tests -------------------------------------------------------------------
    @property
    def ca_file(self) -> Path:
        """The certificate that clients must trust.

        Raises:
            LocalProtocolError: the network is not running.
        """
        if self._ca_file is None:
            raise LocalProtocolError("the network is not running")
        return self._ca_file

    @property
    def users(self) -> tuple[str, ...]:
        """Names of the subscribers."""
        return tuple(subscriber.name for subscriber in self.config.subscribers)

    def address(self, transport: TransportName) -> Address:
        """Where the P-CSCF takes SIP.

        Raises:
            LocalProtocolError: not over this transport, or the network is not running.
        """
        if transport not in self._addresses:
            raise LocalProtocolError(f"the P-CSCF does not listen on {transport}")
        return self._addresses[transport]

    def ports(self) -> dict[str, int]:
        """The P-CSCF's ports by transport."""
        return {str(transport): port for transport, (_, port) in self._addresses.items()}

    def summary(self) -> str:
        """Describe the network in one line."""
        ports = ", ".join(
            f"SIP over {transport.upper()} on {host} port {port}"
            for transport, (host, port) in self._addresses.items()
        )
        faults = f"; faults: {', '.join(sorted(self._faults))}" if self._faults else ""
        return f"{self.config.home_domain}: {ports}{faults}"

    def client_values(self, name: str, transport: TransportName = "tls") -> dict[str, Any]:
        """What a configuration of one subscriber's client says, as plain values.

        Raises:
            ConfigError: no such subscriber.
            LocalProtocolError: the P-CSCF does not listen on this transport.
        """
        subscriber = self._subscriber(name)
        host, port = self.address(transport)
        values: dict[str, Any] = {
            "public_identity": f"sip:{name}@{self.config.home_domain}",
            "password": subscriber.password.reveal(),
            "pcscf_host": host,
            "pcscf_port": port,
            "pcscf_transport": transport,
            "sip_timers": self.config.sip_timers,
            "e2dce_tokens": self.config.e2dce_tokens,
            "allow_standalone_dc": True,
        }
        if transport == "tls":
            values["ca_file"] = str(self.ca_file)
        else:
            values["allow_unprotected_signalling"] = True
        return values

    def client_config(self, name: str, **overrides: Any) -> ClientConfig:
        """Make the configuration of one subscriber's client.

        Args:
            name: of the subscriber.
            **overrides: fields of :class:`ClientConfig`; ``pcscf_transport`` also selects the
                port, and anything but TLS allows unprotected signalling.

        Raises:
            ConfigError: no such subscriber, or an override that cannot be.
            LocalProtocolError: the network is not running, or not on that transport.
        """
        transport: TransportName = overrides.get("pcscf_transport", "tls")
        values = {**self.client_values(name, transport), "profile": self.config.profile}
        return from_mapping(ClientConfig, {**values, **overrides})

    def scope_of(self, peer_fingerprint: str) -> SecurityScope:
        """Tell the truth about a stream, by the certificate its other end has shown.

        Args:
            peer_fingerprint: as :class:`dcsdk.SecurityReport` has it.

        Returns:
            ``E2DCE`` when it is our DCMF's, ``NONE`` for none, else ``E2E``.
        """
        if not peer_fingerprint:
            return SecurityScope.NONE
        is_ours = peer_fingerprint.lower() == self._dcmf_fingerprint.lower()
        return SecurityScope.E2DCE if is_ours else SecurityScope.E2E

    def last_security_lines(self) -> list[tuple[str, list[str]]]:
        """What SDP between UEs and P-CSCF said about security since the last call of this."""
        return self._security_lines.take()

    def vanish_dcmf(self) -> None:
        """Make the DCMF fall silent: from now on it neither sends nor hears a datagram.

        Raises:
            LocalProtocolError: the network was not started with the fault ``dcmf-vanishes``.
        """
        if not isinstance(self._engine, VanishingEngine):
            raise LocalProtocolError("start the network with the fault dcmf-vanishes")
        self._engine.vanish()

    # --- inside ----------------------------------------------------------------------------------
    def _subscriber(self, name: str) -> SubscriberConfig:
        for subscriber in self.config.subscribers:
            if subscriber.name == name:
                return subscriber
        raise ConfigError(f"no subscriber {name!r}; there are: {', '.join(self.users) or 'none'}")

    async def _start(self) -> None:
        config = self.config
        folder = config.folder
        if folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="dcsdk-ims-")
            self._stack.callback(temporary.cleanup)
            folder = Path(temporary.name)
        authority = Authority(folder)
        self._ca_file = authority.ca_file
        self.hss = Hss(":memory:" if config.database is None else config.database)
        self._stack.callback(self.hss.close)
        for subscriber in config.subscribers:
            self.hss.add_subscriber(_as_subscriber(subscriber, config.home_domain))
        control = await self._start_data_channel_functions() if config.data_channels else None
        await self._start_sip(control)
        context = authority.server_context(
            authority.issue("pcscf", _names_of(config.host, config.home_domain))
        )
        await self._open(context)
        logger.info("network up: %s", self.summary())

    async def _start_data_channel_functions(self) -> ImsAsHttp:
        """DCSF, DCMF and the HTTP half of the IMS AS."""
        config, stack = self.config, self._stack
        functions: list[_Function] = []
        stack.push_async_callback(_close_all, functions)
        registry = Registry.load() if self._registry is None else self._registry
        pick = registry.pick
        engine_class = pick("association engine", registry.engines, config.engine)
        http = pick("application protocol", registry.app_protocols, "http")()
        keylog = None
        if config.keylog is not None:
            keylog = KeyLog(config.keylog)
            stack.callback(keylog.close)
        engine_config = EngineConfig(is_dcep_accepted=False, keylog=keylog)
        self._engine = engine_class(engine_config)
        if "dcmf-vanishes" in self._faults:
            self._engine = VanishingEngine(self._engine)
        self.dcmf = Dcmf(
            engine=self._engine,
            http=http,
            engine_config=engine_config,
            host=config.host,
            media_host=config.media_host,
            trace=self.trace,
        )
        functions.append(self.dcmf)
        await self.dcmf.start()
        self._dcmf_fingerprint = str(self.dcmf.certificate.fingerprint)
        self.dcsf = Dcsf(
            repository=AppRepository() if config.apps is None else AppRepository(config.apps),
            unknown_app=AppPolicy(config.unknown_app),
            host=config.host,
            trace=self.trace,
            profile=config.profile,
        )
        functions.append(self.dcsf)
        await self.dcsf.start()
        mrm_root = self.dcmf.api_root
        if "mrm-503" in self._faults:
            failing = FailingMrm(config.host, self.trace)
            functions.append(failing)
            await failing.start()
            mrm_root = failing.api_root
        control = ImsAsHttp(
            notification_url=self.dcsf.notification_url,
            mrm_root=mrm_root,
            host=config.host,
            trace=self.trace,
        )
        functions.append(control)
        await control.start()
        self.dcsf.connect(control.api_root)
        return control

    async def _start_sip(self, control: ImsAsHttp | None) -> None:
        """S-CSCF, the SIP half of the IMS AS, and the P-CSCF's side toward them."""
        config, timers = self.config, PROFILES[self.config.sip_timers]
        functions: list[_Function] = []
        self._stack.push_async_callback(_close_all, functions)
        self.scscf = Scscf(
            self.trace,
            hss=self.hss,
            home_domain=config.home_domain,
            is_dc_supported=config.data_channels,
            min_expires_s=config.min_expires_s,
            max_expires_s=config.max_expires_s,
            timers=timers,
            faults=self._faults,
        )
        functions.append(self.scscf)
        registrar: SipUri = await self.scscf.start(config.host)
        self.ims_as = ImsAs(
            self.trace,
            hss=self.hss,
            control=control,
            marks_e2dce=config.e2dce_tokens,
            timers=timers,
        )
        functions.append(self.ims_as)
        self.scscf.application_server = await self.ims_as.start(config.host)
        self.pcscf = Pcscf(
            self.trace,
            registrar=registrar,
            is_e2dce_supported=config.e2dce_tokens,
            profile=config.profile,
            visited_network=config.home_domain,
            timers=timers,
            faults=self._faults,
        )
        functions.append(self.pcscf)
        await self.pcscf.start(config.host)

    async def _open(self, context: ssl.SSLContext) -> None:
        """Open the P-CSCF's side toward UEs."""
        config = self.config
        if config.keylog is not None:
            log_tls_secrets(context, config.keylog)
        wanted: list[tuple[TransportName, int | None, ssl.SSLContext | None]] = [
            ("udp", config.udp_port, None),
            ("tcp", config.tcp_port, None),
            ("tls", config.tls_port, context),
        ]
        for transport, port, ssl_context in wanted:
            if port is None:
                continue
            try:
                address = await self.pcscf.listen(
                    transport, config.host, port, ssl_context=ssl_context
                )
            except TransportError as exc:
                raise ConfigError(
                    f"{transport}_port {port} of {config.host} cannot be used: {exc}"
                ) from exc
            self._addresses[transport] = address
            self._stack.callback(self._addresses.pop, transport, None)


class _Function(Protocol):
    """What every function has in common."""

    async def aclose(self) -> None: ...


async def _close_all(functions: Iterable[_Function]) -> None:
    await finish_all(function.aclose() for function in functions)


def _as_subscriber(config: SubscriberConfig, domain: str) -> Subscriber:
    return Subscriber(
        private_identity=f"{config.name}@{domain}",
        password=config.password,
        public_identities=(f"sip:{config.name}@{domain}", *config.aliases),
        dc_allowed=config.dc_allowed,
    )


def _names_of(host: str, domain: str) -> list[str]:
    """What clients may call the P-CSCF."""
    names = [host, domain, f"pcscf.{domain}"]
    return [*names, "localhost"] if ipaddress.ip_address(host).is_loopback else names

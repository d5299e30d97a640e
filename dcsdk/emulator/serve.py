"""Runs an emulated network for clients in other processes, until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from dcsdk.emulator.network import Network
from dcsdk.emulator.network_config import NetworkConfig
from dcsdk.errors import ConfigError, LocalProtocolError
from dcsdk.io.sip.transport import TransportName

_TRANSPORTS: tuple[TransportName, ...] = ("tls", "tcp", "udp")


async def serve(
    config: NetworkConfig, *, output: TextIO | None = None, stop: asyncio.Event | None = None
) -> None:
    """Run a network until ``stop``, or until it is cancelled.

    When it is up, one line of JSON is written: ``{"ready": true, "host", "ports", "ca_file",
    "home_domain", "folder", "users": {name: {"public_identity", "config"}}}``. A network with a
    ``folder`` also leaves a configuration file for each user there, ``<name>.toml``.

    Args:
        config: of the network.
        output: where the line goes, by default standard output.
        stop: ends the network when it is set.

    Raises:
        ConfigError: a port is taken, or the folder cannot be written.
    """
    async with Network(config) as network:
        print(json.dumps(ready_line(network)), file=output or sys.stdout, flush=True)
        await (asyncio.Event() if stop is None else stop).wait()


def ready_line(network: Network) -> dict[str, Any]:
    """Describe a running network, and write its users' configuration files."""
    config = network.config
    users = {}
    for name in network.users:
        values = network.client_values(name, _preferred_transport(network))
        users[name] = {"public_identity": values["public_identity"]}
        if config.folder is not None:
            path = config.folder / f"{name}.toml"
            write_client_file(path, values)
            users[name]["config"] = str(path)
    return {
        "ready": True,
        "home_domain": config.home_domain,
        "host": config.host,
        "ports": network.ports(),
        "ca_file": str(network.ca_file),
        "folder": None if config.folder is None else str(config.folder),
        "users": users,
        "faults": list(config.faults),
    }


def write_client_file(path: Path, values: Mapping[str, Any]) -> None:
    """Write a client's configuration as TOML, readable by its owner only: it has a password.

    Raises:
        ConfigError: the file cannot be written.
    """
    values = dict(values)
    if "ca_file" in values:
        values["ca_file"] = os.path.relpath(values["ca_file"], path.parent)
    # JSON text, numbers and booleans are TOML ones too.
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
    try:
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as exc:
        raise ConfigError(f"cannot write {path}: {exc.strerror}") from exc


def _preferred_transport(network: Network) -> TransportName:
    for transport in _TRANSPORTS:
        try:
            network.address(transport)
        except LocalProtocolError:
            continue
        return transport
    raise ConfigError("the P-CSCF does not listen")

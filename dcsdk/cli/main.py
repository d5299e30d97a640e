"""The ``dcsdk`` command."""

from __future__ import annotations

import json
import logging
import os
import stat
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dcsdk.cli.command import Interrupted, Notices, run
from dcsdk.cli.demo import Demo, DemoResult, make_sample_file
from dcsdk.cli.demo_view import SilentReporter, TimelineReporter
from dcsdk.config import from_mapping, read_toml
from dcsdk.emulator.network import Network
from dcsdk.emulator.network_config import NetworkConfig
from dcsdk.emulator.serve import serve
from dcsdk.errors import ConfigError, DcsdkError

EXIT_FAILED = 1
EXIT_USAGE = 2
SAMPLE_BYTES = 10_000_000

app = typer.Typer(
    help="IMS data channels: a demonstration, and an emulated IMS network to test against.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _fail(message: str, status: int) -> typer.Exit:
    """Say in one line what is wrong."""
    typer.echo(f"dcsdk: {message}", err=True)
    return typer.Exit(status)


def _try_to_write(path: Path, what: str) -> None:
    """Find out before anything begins whether a file can be written, and leave it as it was.

    Raises:
        ConfigError: it cannot.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with open(descriptor, "ab", buffering=0) as file:
            before = os.fstat(descriptor)
            file.write(b"# dcsdk\n")
            if stat.S_ISREG(before.st_mode):
                file.truncate(before.st_size)
    except OSError as exc:
        raise ConfigError(f"cannot write the {what} {path}: {exc.strerror}") from exc


@app.callback()
def _options(
    context: typer.Context,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log every step to standard error.")
    ] = False,
) -> None:
    if verbose:
        logging.basicConfig(level=logging.DEBUG, stream=sys.stderr)
    context.obj = context.with_resource(Notices(is_silent=verbose).of("dcsdk"))


@app.command()
def demo(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Option(help="The file to move; by default 10 MB of random bytes.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object and nothing else.")
    ] = False,
    keylog: Annotated[
        Path | None,
        typer.Option(help="Write TLS and DTLS secrets here, for Wireshark. Who has it can read."),
    ] = None,
    capture: Annotated[
        Path | None,
        typer.Option(
            help="Write what the calling client sends and receives here, as pcapng with the "
            "secrets inside and SIP in plain text. Who has it can read."
        ),
    ] = None,
    sip_port: Annotated[
        int, typer.Option(help="TLS port of the emulated P-CSCF; 0 takes a free one.")
    ] = 0,
) -> None:
    """Two clients register, call, fetch a mini-app and move a file over a data channel.

    Exit status: 0 when all of it worked; 1 when something did not, or a file asked for is not
    complete; 2 when a file or port cannot be used; 130 after Ctrl-C, 143 after SIGTERM.
    """
    if file is not None:
        try:
            if not file.is_dir() and not stat.S_ISREG(file.stat().st_mode):
                raise _fail(f"{file} is a device or pipe, not a file", EXIT_USAGE)
            with file.open("rb"):
                pass
            if not file.stat().st_size:
                raise _fail(f"{file} is empty: there is nothing to move", EXIT_USAGE)
        except OSError as exc:
            raise _fail(f"cannot read {file}: {exc.strerror}", EXIT_USAGE) from exc
    notices: Notices = context.obj
    view = None if as_json else TimelineReporter(Console())
    try:
        for path, what in ((keylog, "key log"), (capture, "capture")):
            if path is not None:
                _try_to_write(path, what)
        work = _run_demo(view or SilentReporter(), file, keylog, capture, sip_port)
        result = run(work, notices)
    except Interrupted as exc:
        raise typer.Exit(exc.status) from exc
    except ConfigError as exc:
        raise _fail(str(exc), EXIT_USAGE) from exc
    except (DcsdkError, OSError) as exc:
        if as_json:
            typer.echo(json.dumps({"ok": False, "error": str(exc)}))
        raise _fail(f"the demonstration failed: {exc}", EXIT_FAILED) from exc
    finally:
        if view is not None:
            view.stop()
    result.problems = notices.errors
    if view is None:
        typer.echo(json.dumps(result.as_dict(), indent=2))
    else:
        view.result(result)
    if not result.is_ok:
        raise typer.Exit(EXIT_FAILED)


async def _run_demo(
    reporter: Any, file: Path | None, keylog: Path | None, capture: Path | None, sip_port: int
) -> DemoResult:
    config = NetworkConfig.demo(tls_port=sip_port, keylog=keylog)
    with tempfile.TemporaryDirectory(prefix="dcsdk-demo-") as folder:
        source = file or Path(folder) / "sample.bin"
        if file is None:
            make_sample_file(source, SAMPLE_BYTES)
        async with Network(config) as network:
            reporter.note("the emulated IMS network is up: " + network.summary())
            scenario = Demo(
                network,
                reporter,
                source=source,
                target=Path(folder) / "received.bin",
                overrides={"keylog": keylog} if keylog is not None else {},
                capture=capture,
            )
            result = await scenario.run()
            result.ports = network.ports()
            return result


@app.command()
def emulator(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="TOML file; by default the demonstration network.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Where the CA certificate and key files go.")
    ] = None,
) -> None:
    """Run the emulated IMS network on fixed ports until Ctrl-C.

    Prints one JSON line when it is ready: addresses, CA file, users.
    """
    try:
        values = read_toml(config) if config is not None else {}
        if folder is not None:
            values["folder"] = folder
        network_config = from_mapping(NetworkConfig, {**NetworkConfig.served(), **values})
        run(serve(network_config), context.obj)
    except Interrupted:
        return  # which is how it ends
    except ConfigError as exc:
        raise _fail(str(exc), EXIT_USAGE) from exc
    except (DcsdkError, OSError) as exc:
        raise _fail(f"the emulator stopped: {exc}", EXIT_FAILED) from exc


def main() -> None:
    """Run the command."""
    app()

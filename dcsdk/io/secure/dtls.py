"""The DTLS association that was agreed on, on a path."""

from __future__ import annotations

from dcsdk.interfaces.keying import DtlsParameters
from dcsdk.interfaces.paths import DatagramPath
from dcsdk.io.secure.captured_dtls import CapturedDtls
from dcsdk.io.secure.engine_config import EngineConfig
from dcsdk.sdp.fingerprint import preferred
from dcsdk.tls.context import DtlsContext
from dcsdk.tls.dtls import DtlsAssociation


def open_dtls(
    context: DtlsContext, path: DatagramPath, parameters: DtlsParameters, config: EngineConfig
) -> DtlsAssociation:
    """Make the DTLS association that was agreed on, captured or plain.

    Args:
        context: of our certificate.
        path: that it will run on.
        parameters: what was agreed. Its fingerprints are those that the policy of the line let
            through: SHA-1 is among them only where that policy allows it, and is not judged again.
        config: settings.

    Raises:
        SecurityError: no usable fingerprint.
    """
    role = parameters.dtls_role
    fingerprints = preferred(parameters.remote_fingerprints, allow_sha1=True)
    if config.capture is None:
        return DtlsAssociation(context, role=role, fingerprints=fingerprints, mtu=config.mtu)
    return CapturedDtls(
        context,
        role=role,
        fingerprints=fingerprints,
        mtu=config.mtu,
        capture=config.capture,
        path=path,
    )

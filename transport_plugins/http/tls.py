"""TLS: a context that costs nothing before the first https URL, and its errors."""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING

from btplug.errors import Refused

if TYPE_CHECKING:
    from .settings import HTTPConfig

_ISSUER = "give its authority with: btplug config set http.ca_file FILE"
# OpenSSL's numbers (X509_V_ERR_…), which ssl passes on as verify_code.
_REASONS = {
    9: ("it is not valid yet", "check the clocks here and there"),
    10: ("it has expired", "have the peer renew it"),
    18: ("it is self-signed", _ISSUER),
    19: ("it is signed by itself, not by a known authority", _ISSUER),
    20: ("its authority is not known", _ISSUER),
    21: ("its authority is not known", _ISSUER),
    62: ("it is for another host", "use the name that the certificate has"),
    64: ("it is for another address", "use the name that the certificate has"),
}


class Trust:
    """Makes the TLS context, once, when the first connection needs it.

    Loading the authorities takes 40 to 75 ms. The context is a plain one, not
    `ssl.create_default_context`, which would write keys to ``SSLKEYLOGFILE``.
    """

    def __init__(self, config: HTTPConfig) -> None:
        self._config = config
        self._context: ssl.SSLContext | None = None
        self.forked()

    def forked(self) -> None:
        """Forget who held the lock: it was another thread, in the parent process."""
        # Entered again by a signal's handler that sends; it makes one of its own then.
        self._lock = threading.RLock()

    def context(self) -> ssl.SSLContext:
        """Return the context.

        Raises:
            Refused: ``ca_file`` holds no certificate.
        """
        with self._lock:
            if self._context is None:
                self._context = self._made()
            return self._context

    def _made(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.set_alpn_protocols(["http/1.1"])
        if self._config.dangerously_skip_tls_verification:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        file = self._config.ca_file
        if not file:
            import certifi

            file = certifi.where()
        try:
            context.load_verify_locations(cafile=file)
        except OSError as exc:  # ssl.SSLError is one
            raise Refused(
                f"found no certificates in {file!r} ({exc.strerror})",
                where=file,
                fix="give a PEM file: btplug config set http.ca_file FILE",
                delivered=False,
            ) from exc
        return context


def explain(exc: Exception, host: str) -> tuple[str, str]:
    """Say why a TLS handshake failed, and what can be done."""
    if isinstance(exc, ssl.SSLCertVerificationError):
        why, fix = _REASONS.get(exc.verify_code, (exc.verify_message, _ISSUER))
        return f"the certificate of {host} is not accepted: {why}", fix
    reason = getattr(exc, "reason", None) or ""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return (
            f"{host} does not speak TLS, perhaps plain HTTP ({reason})",
            "write http:// in the URL if that is right",
        )
    if isinstance(exc, (ssl.SSLEOFError, ConnectionError)):
        reason = reason or str(exc.strerror or exc)
        return f"{host} ended the TLS handshake ({reason})", "check the peer's TLS"
    return (
        f"no TLS with {host} ({reason or exc})",
        "check which versions of TLS the peer speaks",
    )

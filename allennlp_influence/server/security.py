"""Who may ask, and what the browser may do with the answer."""

import ipaddress
from urllib.parse import SplitResult, urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import Forbidden

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether a host name or address, with or without brackets, is this machine's own only."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def protect(app: Flask, content_security_policy: str) -> None:
    """
    Refuses what a page of another site makes a browser ask, and adds headers to every answer.

    A name of another site can be made to stand for 127.0.0.1 (DNS rebinding), so a server that is bound to a
    loopback address, by `app.config["LOOPBACK"]`, answers to loopback names only.
    """

    @app.before_request
    def refuse_others() -> None:
        host = request.headers.get("Host", "")
        name = _split(f"//{host}").hostname  # without the port: a tunnel may have another
        if app.config["LOOPBACK"] and not is_loopback(name or ""):
            raise Forbidden(
                "this server answers to localhost and 127.0.0.1 only; open it by one of these, or start it with another "
                "--host"
            )
        origin = request.headers.get("Origin")
        if origin is not None and _split(origin).netloc != host:
            raise Forbidden("pages of other sites may not use this server; open its own page")

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(_HEADERS)
        response.headers["Content-Security-Policy"] = content_security_policy
        return response


def _split(address: str) -> SplitResult:
    try:
        return urlsplit(address)
    except ValueError:  # half an IPv6 address
        return urlsplit("")

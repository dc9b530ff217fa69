"""From sockets to a clean end."""

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Iterator

from allennlp.common.checks import ConfigurationError
from rich.console import Console
from waitress import create_server

from allennlp_influence.server.requests import MOST_BYTES
from allennlp_influence.server.security import is_loopback

if TYPE_CHECKING:
    from allennlp_influence.server.endpoint import InfluenceEndpoint

# More than the influence queries that can wait, so that predictions never wait for a thread.
_THREADS = 32


def bound_server(endpoint: "InfluenceEndpoint", host: str, port: int) -> Any:
    """
    A waitress server that is bound to an address, but does not run yet.

    # Raises

    `ConfigurationError` if it can't be bound.
    """
    try:
        server = create_server(
            endpoint.app,
            host=host,
            port=port,
            threads=_THREADS,
            connection_limit=1000,
            backlog=1024,
            channel_timeout=60,
            max_request_body_size=8 * MOST_BYTES,  # above the app's own limit, whose error is JSON
            channel_request_lookahead=1,  # which notices that a client has gone
            ident=None,
        )
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the server can't listen at {host}, port {port} ({error}); choose others with --host and --port"
        ) from error
    endpoint.app.config["LOOPBACK"] = is_loopback(host)
    return server


def serve(endpoint: "InfluenceEndpoint", host: str, port: int) -> None:
    """Prepares the endpoint and serves until SIGINT (Ctrl-C) or SIGTERM, in the main thread."""
    server = bound_server(endpoint, host, port)
    console = Console(highlight=False)
    try:
        with _ended_by_signals(endpoint):
            console.print("Preparing what does not depend on the query; Ctrl-C ends the server")
            begin = time.perf_counter()
            endpoint.prepare()
            console.print(f"Ready after {time.perf_counter() - begin:.0f} s: {address(server, host)}")
            server.run()
    except KeyboardInterrupt:
        pass
    finally:
        server.close()
        endpoint.close()
        console.print("Stopped")


def address(server: Any, host: str) -> str:
    """Where a bound server is to be found."""
    sockets = getattr(server, "effective_listen", None) or [(host, server.effective_port)]
    return f"http://{f'[{host}]' if ':' in host else host}:{sockets[0][1]}/"


@contextmanager
def _ended_by_signals(endpoint: "InfluenceEndpoint") -> Iterator[None]:
    def end(*_: Any) -> None:
        endpoint.stop()  # or the server's threads would wait for the last answers
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

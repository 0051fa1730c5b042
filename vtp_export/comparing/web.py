"""`vtp-export demo --web`: a page where kept tokens light up as the budget slides, with the answer beside them.

Only this machine can reach it: it listens on 127.0.0.1, and refuses what a page of another origin, or another name for
this address, asks of it. Nothing is loaded from elsewhere, and photos stay in memory.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vtp_export.comparing.stage import Stage
from vtp_export.errors import SpecError, UnavailableError, VtpError
from vtp_export.extras import install
from vtp_export.progress import Progress, silent
from vtp_export.runtime.images import note

HOST = "127.0.0.1"
PAGE = Path(__file__).parents[1] / "reports" / "templates" / "web.html"
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MOST_BYTES = 64 << 20


def application(stage: Stage) -> Any:
    """The page as a WSGI application.

    Args:
        stage: what it shows.

    Raises:
        UnavailableError: flask is not installed.
    """
    try:
        import flask
    except ImportError as error:
        raise UnavailableError(f"the page needs flask: {install('web')}") from error
    app = flask.Flask("vtp_export", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MOST_BYTES

    def told(make: Callable[..., dict[str, Any]]) -> Callable[..., Any]:
        def view(**given: Any) -> Any:
            try:
                return flask.jsonify(make(**given))
            except VtpError as error:
                return flask.jsonify({"error": str(error)}), 400

        return view

    def prune() -> dict[str, Any]:
        asked = flask.request.args
        photo, pruner, keep, question = (asked.get(name, "") for name in ("photo", "pruner", "keep", "question"))
        return stage.prune(photo, pruner, _number(keep), question)

    def refuse() -> Any:
        return (flask.jsonify({"error": f"this is for {HOST} alone"}), 403) if _elsewhere(flask.request) else None

    app.before_request(refuse)
    app.after_request(_closed)
    app.add_url_rule("/", "page", lambda: PAGE.read_text(encoding="utf-8"))
    app.add_url_rule("/about", "about", told(stage.about))
    photo = told(lambda: {"photo": stage.photo(flask.request.get_data())})
    app.add_url_rule("/photo", "photo", photo, methods=["POST"])
    sample = told(lambda number: {"photo": stage.sample(number)})
    app.add_url_rule("/sample/<int:number>", "sample", sample, methods=["POST"])
    app.add_url_rule("/prune", "prune", told(prune))
    return app


def _elsewhere(request: Any) -> bool:
    """Whether a name that leads here from elsewhere was asked for, or a page of another origin asks."""
    origin = request.headers.get("Origin")
    named = request.host.partition(":")[0] not in (HOST, "localhost")
    return named or (origin is not None and origin.partition("://")[2] != request.host)


def _closed(response: Any) -> Any:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-store"
    return response


def serve(
    model: str,
    *,
    port: int = 0,
    device: str = "cpu",
    dtype: str = "float32",
    threads: int | None = None,
    progress: Progress = silent,
) -> str:
    """Show the page until the program is interrupted.

    Args:
        model: see `Stage`.
        port: where to listen; 0 for one that is free.
        device: see `Stage`, as `dtype` and `threads`.
        dtype: as there.
        threads: as there.
        progress: hears of the loading.

    Returns:
        The address that it had.

    Raises:
        VtpError: the model cannot be used, flask is not installed, or the port is taken.
    """
    app = application(Stage(model, device=device, dtype=dtype, threads=threads, progress=progress))
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        """Requests are no news."""

        def log_request(self, *given: object) -> None:
            """Nothing."""

    try:
        server = make_server(HOST, port, app, request_handler=Quiet)
    except (OSError, SystemExit) as error:
        raise UnavailableError(f"port {port} cannot be listened on; name another with --port, or 0") from error
    address = f"http://{HOST}:{server.server_port}/"
    note(f"open {address} in a browser; Ctrl-C ends it")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        server.server_close()
    return address


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise SpecError(f"keep must be a number of tokens, not '{text}'")
    return int(text[:9])

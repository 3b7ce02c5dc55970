"""`lrp3d open`: shows the pages of a folder in a browser."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lrp3d.commands import DONE, UsageError, arguments
from lrp3d.commands.results import write_results
from lrp3d.printed import say

if TYPE_CHECKING:
    from http.server import ThreadingHTTPServer

    from lrp3d.commands.arguments import Commands

MOST = 500  # pages of a gallery


def add_to(commands: Commands) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "open",
        help="show the pages of a folder in a browser",
        description="Show the pages that other commands wrote: the page itself where there is one, else a list of all "
        "below the folder. They are served on this machine alone (127.0.0.1) until you press Ctrl-C.",
        epilog="Example: lrp3d open out/demo",
    )
    parser.add_argument(
        "folder", type=arguments.place, metavar="OUT", help="the folder that --out of another command named"
    )
    parser.add_argument(
        "--port", type=arguments.count, default=0, metavar="N", help="port of the server (default: a free one)"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address and open no browser")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serves the folder until it is interrupted."""
    import webbrowser

    with server(options.folder, options.port) as serving:
        address = f"http://127.0.0.1:{serving.server_address[1]}/"
        say(f"{address}  (Ctrl-C ends)")
        write_results(options, {"address": address, "pages": [path.as_posix() for path in pages(options.folder)]})
        if not options.no_browser:
            webbrowser.open(address)
        try:
            serving.serve_forever()
        except KeyboardInterrupt:
            return DONE
    return DONE


def pages(folder: Path) -> list[Path]:
    """The pages below a folder, by their places in it."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*.html") if path.is_file())[:MOST]


def gallery(folder: Path) -> str:
    """A page that links to all pages of a folder, each with its picture of the matrix if it has one."""
    import html
    from urllib.parse import quote

    from lrp3d.printed import printable

    items = []
    for page in pages(folder):
        picture = page.parent / "matrix.png"
        image = f'<img alt="" src="{quote(picture.as_posix())}">' if (folder / picture).is_file() else ""
        name = html.escape(printable(page.as_posix()))
        items.append(f'<li><a href="{quote(page.as_posix())}">{image}{name}</a></li>')
    title = html.escape(printable(folder.resolve().name))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>:root{{color-scheme:light dark}}body{{font:15px/1.5 system-ui,sans-serif;"
        "margin:24px}ul{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:16px;padding:0;"
        "list-style:none}img{display:block;width:100%}</style>"
        f"<main><h1>{title}</h1><ul>{''.join(items)}</ul></main></html>"
    )


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """A server of a folder's files on this machine alone; it starts with the folder's own page or with the gallery.

    Raises:
        UsageError: there is no such folder, it has no page, or the port is not free.
    """
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
    from urllib.parse import quote

    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder: give the folder that --out of another command named")
    paths = pages(folder)
    if not paths:
        raise UsageError(f"no page is in {folder}: lrp3d explain --out, demo and study report write pages")

    class Pages(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/favicon.ico":  # every browser asks for it, and would note an error
                self.send_response(204)
                self.end_headers()
            elif self.path != "/":
                super().do_GET()
            elif len(paths) == 1:
                self.send_response(302)
                self.send_header("Location", f"/{quote(paths[0].as_posix())}")
                self.end_headers()
            else:
                content = gallery(folder).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Logs nothing: requests are not shown in the terminal."""

    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Pages, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise UsageError(f"--port {port} cannot be used: {error}") from error

"""The command ``casemate``."""

from __future__ import annotations

from pathlib import Path


def main() -> None:
    """Run the command line, guarded, giving it the server that it may start."""
    from casemate.cli.main import run
    from casemate.gate import guard

    guard.stand()
    run(_serve, _serve_witness)


def _serve(path: Path, host: str | None, port: int | None, workers: int | None) -> None:
    import click

    from casemate.server import serve  # not for commands that serve nothing

    serve(path, host, port, workers, lambda text: click.echo(text))


def _serve_witness(path: Path, name: str | None, host: str, port: int) -> None:
    import click

    from casemate.server import serve_witness

    serve_witness(path, name, host, port, lambda text: click.echo(text))


if __name__ == "__main__":
    main()

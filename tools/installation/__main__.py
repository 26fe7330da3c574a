"""`python -m tools.installation --data-dir DIR`: what `strongroom up` does, without its decorations."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from engine.errors import BackupError
from tools.installation.supervisor import (
    DEFAULT_PORT,
    InstallationInfo,
    InstallationOptions,
    run_installation,
)


def _parse(arguments: list[str]) -> InstallationOptions:
    parser = argparse.ArgumentParser(prog="strongroom up")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--listen", default=f"127.0.0.1:{DEFAULT_PORT}", metavar="HOST:PORT")
    parser.add_argument("--postgres", metavar="DSN")
    parser.add_argument("--nats", metavar="URL")
    parser.add_argument("--proxy-nats", metavar="URL")
    parser.add_argument("--proxies", type=int, default=2)
    parser.add_argument("--pool", default="default")
    words = parser.parse_args(arguments)
    host, _, port = words.listen.rpartition(":")
    return InstallationOptions(
        data_dir=words.data_dir,
        host=host.strip("[]"),
        port=int(port),
        postgres=words.postgres,
        nats=words.nats,
        proxy_nats=words.proxy_nats,
        proxies=words.proxies,
        pool=words.pool,
    )


def _ready(info: InstallationInfo) -> None:
    print(f"ready {info.url}", flush=True)  # noqa: T201 - the answer of this command


def main() -> int:
    """Run until Ctrl-C; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(run_installation(_parse(sys.argv[1:]), _ready))
    except BackupError as error:
        logging.error("%s (%s)", error.message, error.code)
        return 1
    except BaseExceptionGroup as errors:
        known, others = errors.split(BackupError)
        if known is None or others is not None:
            raise
        logging.error("%s", known.exceptions[0])
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

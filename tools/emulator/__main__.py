"""
`python -m tools.emulator`: run an emulator until interrupted.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path
from typing import get_args

from tools.emulator.options import EmulatorOptions, Throttling
from tools.emulator.serve import RECIPES, Emulator, serve


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.emulator", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    recipes = ", ".join(sorted(RECIPES))
    what.add_argument("--recipe", default="demo", help=f"{recipes}; huge:N has N messages")
    what.add_argument("--content", type=Path, help="folder whose first-level folders are users")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--org", type=Path, help="TOML file to write when ready")
    parser.add_argument("--restore-org", type=Path, help="the same with the app of the restore")
    parser.add_argument("--data-dir", type=Path, default=default_data_dir())
    parser.add_argument("--script", type=Path, help="JSON file with a fault script")
    parser.add_argument("--throttling", choices=get_args(Throttling), default="off")
    parser.add_argument("--rate", type=float, default=1.0, help="virtual seconds per second")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds each answer takes")
    return parser.parse_args()


def default_data_dir() -> Path:
    """Where keys are kept when nothing else is said."""
    base = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(base) / "strongroom" / "emulator"


def _announce(emulator: Emulator) -> None:
    lines = {
        "Graph": emulator.graph_url,
        "authority": emulator.authority,
        "proxy": emulator.proxy_url,
        "control": f"{emulator.control_url} (token in control.json)",
        "data": emulator.options.data_dir,
        "users": len(emulator.tenant.users),
    }
    for name, value in lines.items():
        print(f"{name:10} {value}", flush=True)  # noqa: T201


def main() -> int:
    """Run until interrupted."""
    arguments = _arguments()
    host, _, port = arguments.listen.rpartition(":")
    options = EmulatorOptions(
        data_dir=arguments.data_dir,
        recipe=arguments.recipe,
        content=arguments.content,
        seed=arguments.seed,
        host=host or "127.0.0.1",
        port=int(port),
        org_file=arguments.org,
        restore_org_file=arguments.restore_org,
        script=arguments.script,
        throttling=arguments.throttling,
        rate=arguments.rate,
        latency=arguments.latency,
    )
    try:
        asyncio.run(serve(options, _announce))
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())

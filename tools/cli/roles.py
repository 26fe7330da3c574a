"""Commands that run parts of an installation, and look after one."""

from pathlib import Path

from tools.cli.options import CACHE_DIR, OPENING, REPO, STATE_DIR
from tools.cli.syntax import Command, Parameter, parameter, switch, within


def _listen(default: str, help: str) -> Parameter:
    return parameter(
        "--listen", metavar="HOST:PORT", default=default, help=f"{help} (default: %(default)s)"
    )


RUNNING = (
    Command(
        "demo",
        "One backup, verification and restore on an emulated tenant.",
        "tools.cli.role_commands:demo",
        (switch("--keep", "Leave it running and print the addresses and a sign-in"),),
    ),
    Command(
        "up",
        "The whole installation on this machine; Ctrl-C stops every part of it.",
        "tools.cli.role_commands:up",
        (
            parameter(
                "--data-dir",
                metavar="DIR",
                type=Path,
                required=True,
                help="Everything it keeps lies here",
            ),
            _listen("127.0.0.1:8443", "Where the web is served"),
            parameter("--postgres", metavar="DSN", help="Use this PostgreSQL, not a private one"),
            parameter("--nats", metavar="URL", help="Use this NATS, not a private one"),
            parameter("--proxy-nats", metavar="URL", help="The URL proxies get with --nats"),
            parameter(
                "--proxies",
                metavar="COUNT",
                type=within(int, 1, 16),
                default=2,
                help="Proxy processes (default: %(default)s)",
            ),
        ),
    ),
    Command(
        "server",
        "The server alone, against existing PostgreSQL and NATS.",
        "tools.cli.role_commands:server",
        (
            parameter(
                "--config",
                metavar="FILE",
                type=Path,
                required=True,
                help="Settings file of the server (JSON)",
            ),
        ),
    ),
    Command(
        "proxy",
        "One backup proxy.",
        "tools.cli.role_commands:proxy",
        (
            parameter(
                "--join",
                metavar="FILE",
                type=Path,
                required=True,
                help="Join document of this proxy",
            ),
            CACHE_DIR,
            STATE_DIR,
            parameter(
                "--tasks",
                dest="tasks_max",
                metavar="COUNT",
                type=within(int, 1, 64),
                default=4,
                help="Tasks at once (default: %(default)s)",
            ),
        ),
    ),
    Command(
        "emulator",
        "A local Microsoft Graph and Entra ID with a seeded tenant.",
        "tools.cli.role_commands:emulator",
        (
            parameter(
                "--recipe",
                metavar="NAME",
                default="demo",
                help="demo (default), tiny, mid, nasty, huge, empty",
            ),
            parameter(
                "--content", metavar="DIR", type=Path, help="Serve a tenant made of this folder"
            ),
            parameter(
                "--seed",
                metavar="NUMBER",
                type=int,
                default=1,
                help="Equal seeds give equal tenants (default: %(default)s)",
            ),
            _listen("127.0.0.1:0", "Where it is served, with TLS"),
            parameter(
                "--org",
                metavar="FILE",
                type=Path,
                help="Written when ready: what --org of backup takes",
            ),
            parameter(
                "--restore-org",
                metavar="FILE",
                type=Path,
                help="The same for a restore: its app registration may write",
            ),
            parameter(
                "--data-dir",
                metavar="DIR",
                type=Path,
                help="CA and keys; a temporary folder by default",
            ),
            parameter(
                "--throttling",
                choices=("off", "real", "tiny"),
                default="real",
                help="Limits it enforces (default: %(default)s)",
            ),
        ),
    ),
)

JSON = switch("--json", "One JSON document on standard output")
WHICH = (
    parameter(
        "--data-dir",
        metavar="DIR",
        type=Path,
        help="The installation of `strongroom up` here; it may run or not",
    ),
    parameter(
        "--config", metavar="FILE", type=Path, help="Instead: settings file of `strongroom server`"
    ),
)

UPKEEP = (
    Command(
        "audit verify",
        "Check the chain of the audit log.",
        "tools.cli.installation_commands:audit_verify",
        (
            *WHICH,
            parameter(
                "--noted",
                metavar="NUMBER:HASH",
                help="Head that an earlier check printed: it must still be there",
            ),
            JSON,
        ),
    ),
    Command(
        "upgrade",
        "What a start of this program would change: schema, formats, rights of proxies.",
        "tools.cli.installation_commands:upgrade",
        (
            parameter("repos", metavar="REPO", nargs="*", help="Repositories to look at"),
            parameter(
                "--check",
                action="store_true",
                required=True,
                help="Look and change nothing: an upgrade itself is a start of the new program",
            ),
            *WHICH,
            JSON,
        ),
    ),
    Command(
        "rebuild",
        "An installation from a repository and its passphrase.",
        "tools.cli.rebuild_commands:rebuild",
        (
            REPO,
            parameter(
                "--data-dir", metavar="DIR", type=Path, help="A new folder for the installation"
            ),
            parameter(
                "--org",
                metavar="FILE",
                type=Path,
                help="TOML file with the [organization] table, for the jobs",
            ),
            switch("--dry-run", "List the jobs that restore points tell of, make nothing"),
            *OPENING,
        ),
    ),
)

ROLES = (*RUNNING, *UPKEEP)

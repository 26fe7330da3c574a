"""Every command of `strongroom` with its arguments and options; names and meanings are the contract."""

from pathlib import Path

from tools.cli.opening import KeyFile, OneOpening, ServiceAddress
from tools.cli.options import AS_OF, FOLDERS_AND_DATES, OPENING, POINT, REPO, SELECTION
from tools.cli.roles import ROLES
from tools.cli.syntax import Command, parameter, switch, within

REPOSITORY = (
    Command(
        "repo init",
        "Create a repository; asks for the passphrase twice on a terminal.",
        "tools.cli.repo_commands:init",
        (
            REPO,
            parameter(
                "--padding",
                choices=("padme", "none"),
                default="padme",
                help="Round lengths of packs up, so that they say little (default: %(default)s)",
            ),
            parameter(
                "--parity",
                choices=("on", "off"),
                help="Some 6 %% more bytes, from which damaged packs are repaired (default: on for a local disk)",
            ),
            parameter(
                "--immutable",
                metavar="DAYS",
                type=within(int, 1, 36500),
                help="Lock what is stored for so many days at least (S3 Object Lock, Azure version-level immutability)",
            ),
            switch(
                "--governance", "With --immutable: who has a right of its own may take locks away"
            ),
            *OPENING,
        ),
    ),
    Command(
        "repo info",
        "Version, keys, writers, restore points.",
        "tools.cli.repo_commands:info",
        (REPO, *OPENING),
    ),
    Command(
        "repo stats",
        "Sizes, deduplication and compression.",
        "tools.cli.repo_commands:stats",
        (REPO, *OPENING),
    ),
    Command(
        "repo verify",
        "Check what is stored; with --repair put back what is damaged.",
        "tools.cli.repair_commands:verify",
        (
            REPO,
            parameter(
                "--level",
                choices=("listing", "directory", "scrub", "read", "drill"),
                help="How deep (default: directory, with --repair: scrub); scrub needs no passphrase",
            ),
            switch("--read-data", "The same as --level read"),
            switch(
                "--repair", "Put back what parity or a copy makes good, mark what stays damaged"
            ),
            switch("--dry-run", "With --repair: say what would be done"),
            parameter(
                "--from",
                dest="others",
                metavar="REPO",
                action="append",
                help="With --repair: a copy of this repository (again for more)",
            ),
            parameter(
                "--budget",
                metavar="SHARE",
                help="Look into so much of the packs, those looked at longest ago first: 10%%, 50G",
            ),
            parameter(
                "--older-than",
                metavar="AGE",
                help="Look into the packs alone that were not looked at for so long: 30d, 12h, 2w",
            ),
            switch("--everything", "With --level drill: every item, not a sample"),
            AS_OF,
            *OPENING,
        ),
    ),
    Command(
        "repo salvage",
        "A repository that no longer opens, from what is left of it.",
        "tools.cli.repair_commands:salvage",
        (
            REPO,
            parameter(
                "--list",
                dest="show",
                action="store_true",
                help="Restore points and configuration alone; no pack is read",
            ),
            switch("--dry-run", "List what is there and write nothing"),
            switch("--force", "Also of a repository that opens: take in what nothing names"),
            *OPENING,
        ),
    ),
    Command(
        "repo copy",
        "Copy restore points into another repository; run it again and it goes on.",
        "tools.cli.copy_commands:copy",
        (
            parameter("source", metavar="FROM", help="The repository that is copied"),
            parameter(
                "target", metavar="TO", help="Another repository, made before with repo init"
            ),
            parameter(
                "--point",
                dest="points",
                metavar="POINT",
                action="append",
                help="Only this restore point (again for more)",
            ),
            parameter(
                "--last",
                metavar="COUNT",
                type=within(int, 1, 1_000_000),
                help="Of each name only the newest so many",
            ),
            parameter(
                "--name", metavar="PATTERN", help="Only restore points with such a name (*, ?)"
            ),
            switch(
                "--again",
                "Also those older than the newest copy of their name: forgotten in TO, or left out before",
            ),
            switch("--dry-run", "List what would be copied; change nothing"),
            switch("--verify", "Read back what was copied, compare it with FROM byte by byte"),
            parameter(
                "--to-passphrase-file",
                metavar="FILE",
                type=Path,
                action=OneOpening,
                help="File with the passphrase of TO (also STRONGROOM_TO_PASSPHRASE_FILE, STRONGROOM_TO_PASSPHRASE)",
            ),
            parameter(
                "--to-key-file",
                dest="to_passphrase_file",
                metavar="FILE",
                type=KeyFile,
                action=OneOpening,
                help="Private key of a recipient for TO instead",
            ),
            parameter(
                "--to-kms",
                dest="to_passphrase_file",
                metavar="file:DIR/NAME",
                type=ServiceAddress,
                action=OneOpening,
                help="Key of a key service for TO instead",
            ),
            *OPENING,
        ),
    ),
    Command(
        "repo collect",
        "Give back the space of what nothing needs; safe beside running backups.",
        "tools.cli.collect_commands:collect",
        (
            REPO,
            switch("--dry-run", "Say what would go; change nothing"),
            parameter(
                "--wait",
                dest="wait_s",
                metavar="SECONDS",
                type=within(float, 0, 86400),
                default=600.0,
                help="How long running writers are waited for before they must begin anew (default: %(default)s)",
            ),
            parameter(
                "--max-unused",
                metavar="PERCENT",
                type=within(float, 0, 100),
                default=20.0,
                help="Packs of which more is not needed are rewritten; 100: none (default: %(default)s)",
            ),
            *OPENING,
        ),
    ),
)

LOCKS = (
    Command(
        "repo lock audit",
        "Compare the locks that the store states with what was promised.",
        "tools.cli.lock_commands:audit",
        (REPO, *OPENING),
    ),
    Command(
        "repo lock extend",
        "Bring every lock up to the promise; collect does it too.",
        "tools.cli.lock_commands:extend",
        (REPO, *OPENING),
    ),
    Command(
        "repo lock set",
        "Lock for more days from now on; never for fewer.",
        "tools.cli.lock_commands:set_",
        (
            REPO,
            parameter(
                "--days",
                metavar="DAYS",
                type=within(int, 1, 36500),
                required=True,
                help="Days at least",
            ),
            switch("--dry-run", "Say what would be done"),
            *OPENING,
        ),
    ),
)

PREVIEW = switch("--dry-run", "Say what would be done")
LABEL = parameter("--label", default="", help="A name for the key; sealed like everything else")
KEYS = (
    Command(
        "repo key list",
        "Who opens the repository: id, kind, time, label.",
        "tools.cli.key_commands:list_",
        (REPO, *OPENING),
    ),
    Command(
        "repo key add",
        "Let one more passphrase (asked for twice), recipient or service key open it.",
        "tools.cli.key_commands:add",
        (
            REPO,
            parameter(
                "--new-passphrase-file", metavar="FILE", type=Path, help="The new passphrase"
            ),
            parameter(
                "--recipient", metavar="FILE", type=Path, help="Public key, made by `key generate`"
            ),
            parameter("--new-kms", metavar="file:DIR/NAME", help="Key of a key service"),
            LABEL,
            PREVIEW,
            *OPENING,
        ),
    ),
    Command(
        "repo key remove",
        "Let a key open it no more; see also rotate.",
        "tools.cli.key_commands:remove",
        (
            REPO,
            parameter("key", metavar="KEY", help="Its id or a unique beginning of it"),
            PREVIEW,
            *OPENING,
        ),
    ),
    Command(
        "repo key rotate",
        "Seal what is written from now on with new keys, which no removed key opens.",
        "tools.cli.key_commands:rotate",
        (
            REPO,
            switch("--identity", "New id and chunker keys too (not possible in place)"),
            PREVIEW,
            *OPENING,
        ),
    ),
    Command(
        "repo key sheet",
        "A recovery sheet to print; its secret is one more key.",
        "tools.cli.key_commands:sheet",
        (
            REPO,
            parameter(
                "--out", metavar="FILE", type=Path, help="A new file; a page to print if .html"
            ),
            LABEL,
            PREVIEW,
            *OPENING,
        ),
    ),
    Command(
        "repo key generate",
        "Make the key pair of a recipient (FILE, FILE.pub), or a key of a key service.",
        "tools.cli.key_commands:generate",
        (
            parameter(
                "file", metavar="FILE", type=Path, nargs="?", help="The private key, mode 0600"
            ),
            parameter(
                "--kms",
                metavar="file:DIR/NAME",
                help="A key of this name instead, or a new version of it",
            ),
            switch("--protect", "Protect the private key with a passphrase, asked for twice"),
            parameter(
                "--passphrase-file",
                metavar="FILE",
                type=Path,
                help="Protect it with the passphrase in FILE",
            ),
            PREVIEW,
            switch("--json", "One JSON document on standard output"),
        ),
    ),
)

SCOPE = parameter("name", metavar="NAME", help="Of the scope")
SERVICE = parameter(
    "--service",
    metavar="file:DIR/NAME",
    required=True,
    help="The key of a key service that wraps it",
)
IN_SCOPE = parameter(
    "--scope", default="", metavar="NAME", help="Seal all of it with the keys of this scope"
)
SCOPES = (
    Command(
        "repo key scope list",
        "Scopes: parts of the repository with keys of their own; open, closed here, or shredded.",
        "tools.cli.scope_commands:list_",
        (REPO, *OPENING),
    ),
    Command(
        "repo key scope add",
        "A scope, to be ended by destroying one key of a key service; the key is made if need be.",
        "tools.cli.scope_commands:add",
        (REPO, SCOPE, SERVICE, PREVIEW, *OPENING),
    ),
    Command(
        "repo key scope attach",
        "Tell this machine where the service key of a scope is.",
        "tools.cli.scope_commands:attach",
        (REPO, SERVICE, PREVIEW, *OPENING),
    ),
    Command(
        "repo key scope destroy",
        "Shred a scope: destroy its key, so that nobody can read it anywhere.",
        "tools.cli.scope_commands:destroy",
        (
            REPO,
            SCOPE,
            parameter(
                "--service",
                metavar="file:DIR/NAME",
                help="Where its key is, if this machine was not told",
            ),
            PREVIEW,
            switch("--yes", "Without asking"),
            *OPENING,
        ),
    ),
)

POINTS = (
    Command(
        "points",
        "List restore points: id, time, name, objects, items, bytes.",
        "tools.cli.point_commands:points",
        (REPO, switch("--objects", "Entries for each object and workload"), AS_OF, *OPENING),
    ),
    Command(
        "import",
        "Store a directory tree: files, links, modes, times.",
        "tools.cli.point_commands:import_",
        (
            parameter("folder", metavar="DIR", type=Path, help="The folder to store"),
            REPO,
            parameter(
                "--name",
                default="",
                help="Name of the restore point; the folder's name by default",
            ),
            switch("--reread", "Read every file, also those that seem unchanged"),
            IN_SCOPE,
            *OPENING,
        ),
    ),
    Command(
        "backup",
        "One backup session of a Microsoft 365 tenant, without a server.",
        "tools.cli.tenant_commands:backup",
        (
            REPO,
            parameter(
                "--org",
                metavar="FILE",
                type=Path,
                required=True,
                help="TOML file with the [organization] table",
            ),
            parameter(
                "--user",
                dest="users",
                metavar="USER",
                action="append",
                help="Only this user (again for more)",
            ),
            *SELECTION,
            parameter(
                "--workload",
                dest="workloads",
                choices=("mail", "calendar", "contacts", "tasks", "drives"),
                action="append",
                help="Only this workload (again for more)",
            ),
            parameter(
                "--budget-share",
                metavar="SHARE",
                type=within(float, 0.01, 1),
                default=1.0,
                help="Share of the tenant's request budget that this run may use, 0.01 to 1",
            ),
            IN_SCOPE,
            *OPENING,
        ),
    ),
    Command(
        "browse",
        "List containers and items of a restore point.",
        "tools.cli.point_commands:browse",
        (
            REPO,
            POINT,
            parameter(
                "path",
                metavar="PATH",
                nargs="?",
                default="",
                help="object/workload/...; for import: in the tree",
            ),
            AS_OF,
            *OPENING,
        ),
    ),
    Command(
        "export",
        "Write what a restore point holds to open files; overwrites nothing.",
        "tools.cli.point_commands:export",
        (
            REPO,
            POINT,
            parameter(
                "destination",
                metavar="DEST",
                type=Path,
                help="A new or empty folder; a new file for zip",
            ),
            parameter("--path", default="", help="Only what is at or below this path"),
            parameter(
                "--format",
                dest="form",
                choices=("native", "eml", "mbox", "ics", "vcf", "html", "json", "csv", "zip"),
                default="native",
                help="How items are written (default: %(default)s)",
            ),
            *FOLDERS_AND_DATES,
            AS_OF,
            *OPENING,
        ),
    ),
)

DIFFERENCE = Command(
    "diff",
    "What changed between two restore points.",
    "tools.cli.difference_commands:diff",
    (
        REPO,
        parameter("older", metavar="POINT", help="The one to compare with"),
        parameter("newer", metavar="POINT", help="The one to look at"),
        parameter("--path", default="", help="Only what is or was at or below this path"),
        switch("--summary", "Counts and sizes alone"),
        *OPENING,
    ),
)

DRY_RUN = switch("--dry-run", "Say what would go and why, change nothing")
FORCE = switch("--force", "Go on where the guard rails would stop")

RETENTION = (
    Command(
        "forget",
        "Remove restore points; space comes back with collect.",
        "tools.cli.retention_commands:forget",
        (
            REPO,
            parameter("points", metavar="POINT", nargs="*", help="Restore points that go"),
            parameter(
                "--keep-last",
                metavar="N",
                type=within(int, 1, 100_000),
                help="Instead: keep the newest N of each name and the last state of each object",
            ),
            FORCE,
            DRY_RUN,
            *OPENING,
        ),
    ),
    Command(
        "retain",
        "Apply retention rules.",
        "tools.cli.retention_commands:retain",
        (
            REPO,
            parameter(
                "--policy", metavar="FILE", type=Path, required=True, help="TOML file of the rules"
            ),
            parameter("--at", metavar="TIME", help="With --dry-run: as if it were this time (UTC)"),
            FORCE,
            DRY_RUN,
            *OPENING,
        ),
    ),
    Command(
        "hold add",
        "Keep a restore point whatever the rules say.",
        "tools.cli.retention_commands:hold_add",
        (REPO, POINT, parameter("--reason", metavar="TEXT", default="", help="Why"), *OPENING),
    ),
    Command(
        "hold remove",
        "End the hold of a restore point.",
        "tools.cli.retention_commands:hold_remove",
        (REPO, POINT, *OPENING),
    ),
    Command(
        "hold list",
        "List held restore points.",
        "tools.cli.retention_commands:hold_list",
        (REPO, *OPENING),
    ),
)

RESTORE = Command(
    "restore",
    "Give what a restore point holds back to Microsoft 365; invites nobody, goes on where it stopped.",
    "tools.cli.restore_commands:restore",
    (
        REPO,
        POINT,
        parameter("--org", metavar="FILE", type=Path, required=True, help="TOML: [organization]"),
        parameter(
            "--to",
            required=True,
            metavar="original|USER[/FOLDER]",
            help="Each to its owner and place, or all to one user, below a folder there",
        ),
        parameter("--path", default="", help="Only what is at or below this path"),
        *FOLDERS_AND_DATES,
        parameter(
            "--collision",
            choices=("skip", "copy", "replace"),
            default="skip",
            help="What is there already: leave it, make another one, or replace it (default: %(default)s)",
        ),
        parameter(
            "--settings",
            default="",
            metavar="PART,...",
            help="Settings of the mailbox too: all (= rules,categories,overrides,mailbox), forwarding, replies, replies-on",
        ),
        switch("--settings-only", "No items, only what --settings names"),
        switch("--dry-run", "Say what would be done and what it takes, write nothing"),
        switch("--yes", "Replace without asking"),
        *OPENING,
    ),
)

COMMANDS = (*ROLES, *REPOSITORY, *KEYS, *SCOPES, *LOCKS, *POINTS, RESTORE, DIFFERENCE, *RETENTION)

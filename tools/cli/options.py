"""Arguments and options that many commands share."""

from pathlib import Path

from tools.cli.opening import KeyFile, OneOpening, ServiceAddress
from tools.cli.syntax import parameter, switch

REPO = parameter(
    "repo", metavar="REPO", help="Repository: a path, s3://BUCKET/PREFIX or az://CONTAINER/PREFIX"
)
POINT = parameter(
    "point", metavar="POINT", help="Restore point: id, unique prefix, latest or NAME:latest"
)
CACHE_DIR = parameter(
    "--cache-dir", metavar="DIR", type=Path, help="Local caches; losing them costs time only"
)
STATE_DIR = parameter(
    "--state-dir", metavar="DIR", type=Path, help="Writer identities and what was seen of stores"
)
OPENING = (
    parameter(
        "--passphrase-file",
        metavar="FILE",
        type=Path,
        action=OneOpening,
        help="File with the passphrase or a typed recovery secret (also STRONGROOM_PASSPHRASE_FILE, STRONGROOM_PASSPHRASE)",
    ),
    parameter(
        "--key-file",
        dest="passphrase_file",
        metavar="FILE",
        type=KeyFile,
        action=OneOpening,
        help="Private key of a recipient instead",
    ),
    parameter(
        "--kms",
        dest="passphrase_file",
        metavar="file:DIR/NAME",
        type=ServiceAddress,
        action=OneOpening,
        help="Key of a key service instead",
    ),
    CACHE_DIR,
    STATE_DIR,
    switch("--json", "One JSON document on standard output"),
)

FOLDERS_AND_DATES = (
    parameter(
        "--folder",
        dest="folders",
        metavar="PATTERN",
        action="append",
        help="Only mail folders of this path and what is below: Projects/20*, @inbox; calendar:Team,"
        " contacts:@contacts/Friends, tasks:@defaultList for others (again for more)",
    ),
    parameter(
        "--without-folder",
        dest="without_folders",
        metavar="PATTERN",
        action="append",
        help="Not these folders (again for more)",
    ),
    parameter(
        "--received-from",
        metavar="DATE",
        help="Only mail received since then (YYYY-MM-DD, UTC, or RFC 3339)",
    ),
    parameter("--received-until", metavar="DATE", help="Only mail received before then"),
    parameter(
        "--dated-from",
        metavar="DATE",
        help="Only events that take place and tasks that are due since then",
    ),
    parameter(
        "--dated-until",
        metavar="DATE",
        help="Only events that begin and tasks that are due before then",
    ),
)

SELECTION = (
    parameter(
        "--group",
        dest="groups",
        metavar="GROUP",
        action="append",
        help="Members of this group: id, name or address (again for more)",
    ),
    parameter("--filter", metavar="ODATA", help="Users that this filter of Graph finds"),
    parameter(
        "--without-user",
        dest="without_users",
        metavar="USER",
        action="append",
        help="Not this user (again for more)",
    ),
    *FOLDERS_AND_DATES,
    switch("--recoverable-items", "Also deleted mail that can be recovered"),
    parameter(
        "--mail-policy",
        choices=("full", "portable"),
        help="full: also the export stream of each message, where the cloud gives it",
    ),
)

AS_OF = parameter(
    "--as-of",
    metavar="TIME",
    help="As the repository was then (UTC), from the versions that the store kept",
)

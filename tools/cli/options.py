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

AS_OF = parameter(
    "--as-of",
    metavar="TIME",
    help="As the repository was then (UTC), from the versions that the store kept",
)

"""
Messages between server and proxy: the only module of `proxy` that `server` may import.

Subjects and buckets (docs/control-plane.md):
    work.<pool>.<backup|restore|maintenance>.<task id>
                                stream WORK, work-queue retention, one message a task
    events.<session id>.<task id>
                                stream EVENTS, what happened, each with an id of its own
    ask.<pool>.<operation>      request/reply, queue group: any proxy of the pool answers
    secrets.<proxy id>          request/reply to the server: secrets of a leased task, sealed
    control.<pool>              to every proxy of the pool: a session shall stop (Control)
    PROXIES, key <proxy id>     bucket: heartbeat with a time to live
    CHECKPOINTS, key <task id>  bucket: number of the last delivery that left a checkpoint
    BUDGETS, key <tenant>.<scope>
                                bucket: request budgets, shared by all proxies (proxy.shared_budgets)
    budgets.<tenant>.<scope>    what was stored in BUDGETS, told to whoever listens

All bodies are JSON of the structs below. Unknown members are refused: both sides are upgraded
together.
"""

from typing import Literal

import msgspec

from engine.errors import (
    BackupError,
    Conflict,
    Denied,
    InternalError,
    NotFound,
    Unavailable,
    Unsupported,
    UsageError,
)

__all__ = [
    "BackupError",
    "BrowseRequest",
    "Conflict",
    "Control",
    "Counters",
    "Denied",
    "DownloadTicket",
    "EntryRef",
    "Event",
    "EventKind",
    "InternalError",
    "ItemOutcome",
    "JoinDocument",
    "NotFound",
    "ObjectRef",
    "ProxyStatus",
    "Reply",
    "SealedSecrets",
    "SecretsRequest",
    "Selection",
    "Task",
    "TaskKind",
    "TaskSecrets",
    "Unavailable",
    "Unsupported",
    "UsageError",
    "Workload",
]

WORK_STREAM = "WORK"
EVENTS_STREAM = "EVENTS"
PROXIES_BUCKET = "PROXIES"
CHECKPOINTS_BUCKET = "CHECKPOINTS"
BUDGETS_BUCKET = "BUDGETS"
BUDGETS_SUBJECT = "budgets"
BUDGETS_LIFE_S = 25 * 3600.0  # longer than the longest window
HEARTBEAT_S = 3.0
HEARTBEAT_TTL_S = 15.0
LEASE_S = 15.0  # JetStream ack_wait: a task whose proxy is silent for so long is delivered again
DELIVERIES_WITHOUT_CHECKPOINT_MAX = 5

Workload = Literal["mail", "calendar", "contacts", "tasks", "drives", "tree"]
ExportFormat = Literal["native", "eml", "mbox", "ics", "vcf", "html", "json", "csv", "zip"]
TaskKind = Literal["discover", "backup", "seal-point", "verify"]
EventKind = Literal["leased", "discovered", "progress", "committed", "outcome", "finished"]


class ObjectRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    One protected object.

    `kind` user, later group, site, team; `id` as the service has it; `name` for people.
    """

    kind: str
    id: str
    name: str
    display_name: str = ""


class EntryRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of a committed manifest: what a restore point names for one object and workload."""

    manifest: str
    index: int


class Counters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one task did so far. Totals of the task, never differences; counts and bytes."""

    items_stored: int = 0
    items_unchanged: int = 0
    items_removed: int = 0
    items_skipped: int = 0
    items_failed: int = 0
    items_total: int = 0  # items in the catalog after the last commit
    bytes_read: int = 0  # content bytes received from the service
    bytes_stored: int = 0  # bytes added to the repository
    requests: int = 0
    resource_units: int = 0
    throttled: int = 0


class ItemOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    An item that was not stored as it should.

    Skipped with a cause of the closed list, or failed with a code.
    """

    item: str  # id in the service
    name: str  # for people; kept in the session, never logged
    result: Literal["skipped", "failed"]
    cause: str
    detail: str = ""


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Whom a job covers beyond the users it names, and what of their data. Members left empty do not restrict.

    groups, filter      members of groups (ids, names or addresses; nested ones too); users that an OData filter finds
    without_users       ids or principal names, left out however they were found
    folders             patterns of folder paths; a folder that fits is covered with everything below it. A workload in
                        front (`calendar:Team`) says whose containers are meant, else it is mail
    without_folders     the same, left out
    received_from, received_until
                        of mail: dates (YYYY-MM-DD, UTC) or RFC 3339 moments; from is in, until is not
    dated_from, dated_until
                        the same for when events take place (series: from their beginning on) and tasks are due
    recoverable_items   also what Outlook shows as deleted and recoverable
    mail_policy         full: also the export stream of each message, event, contact and task, where the cloud gives it;
                        portable: without it
    """

    groups: list[str] = []
    filter: str = ""
    without_users: list[str] = []
    folders: list[str] = []
    without_folders: list[str] = []
    received_from: str = ""
    received_until: str = ""
    recoverable_items: bool = False
    mail_policy: Literal["full", "portable"] = "full"
    dated_from: str = ""
    dated_until: str = ""


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    A unit of a session leased to one proxy.

    discover    list the organization's protected objects that `users` and `selection` name (neither: all)
    backup      read one object and workload into the repository, as far as `selection` covers it
    seal-point  write the restore point `point` of the session from `entries`
    verify      read the repository back at `verify_level`
    """

    id: str
    session: str
    job: str
    job_name: str
    pool: str
    kind: TaskKind
    organization: str  # id in the server
    repository: str  # id in the server
    repository_url: str
    organization_name: str = ""
    object: ObjectRef | None = None
    workload: Workload | None = None
    workloads: list[Workload] = []
    users: list[str] = []
    selection: Selection = Selection()
    entries: list[EntryRef] = []
    previous_entry: EntryRef | None = None
    point: str | None = None  # 16 hex digits, chosen once for a session
    result: Literal["success", "warning"] = "success"  # of the session so far, for the point
    verify_level: Literal["listing", "directory", "read"] = "read"


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Something that happened to a task. Storing one twice changes nothing: `id` is unique.

    leased      a proxy began (again): `delivery` counts
    discovered  `objects`
    progress    `counters`, and `done`/`todo` in items where known
    committed   `entry` and `complete`: the commit is durable
    outcome     `outcomes` of single items (at most OUTCOMES_PER_EVENT_MAX)
    finished    `result`; `error` code and message if failed; `entry` for backup; `report` for
                verify
    """

    id: str
    session: str
    task: str
    proxy: str
    kind: EventKind
    at: str  # RFC 3339, UTC
    delivery: int = 1
    objects: list[ObjectRef] = []
    counters: Counters | None = None
    done: int | None = None
    todo: int | None = None
    entry: EntryRef | None = None
    complete: bool = False
    outcomes: list[ItemOutcome] = []
    result: Literal["success", "warning", "failed"] | None = None
    error_code: str = ""
    error: str = ""
    report: dict[str, int | str] = {}


OUTCOMES_PER_EVENT_MAX = 200
OBJECTS_PER_EVENT_MAX = 1000  # more objects: several `discovered` events, then `finished`


class ProxyStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Heartbeat of one proxy."""

    id: str
    pool: str
    version: str
    host: str
    public_key: str  # X25519, base64; must equal the one fixed when the proxy joined
    started_at: str
    bulk_port: int  # its mutual-TLS port for downloads
    tasks: list[str] = []


class SecretsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    A proxy asks for what it needs to work on a task or an operation.

    Answered with a Reply whose body is SealedSecrets.
    """

    proxy: str
    organization: str | None
    repository: str | None


class TaskSecrets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Plain secrets, only ever in memory and inside SealedSecrets.

    `graph` is the [organization] table of --org.
    """

    graph: dict[str, str] | None = None
    passphrase: str | None = None


class SealedSecrets(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    TaskSecrets sealed to the proxy's X25519 key; base64 members.

    Ephemeral key, HKDF-SHA256, AES-256-GCM; the ciphertext begins with its nonce of 12 bytes.
    """

    ephemeral: str
    ciphertext: str


class BrowseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Read-only question about a repository: subject ask.<pool>.<points|browse|ticket>.

    points  restore points of the repository
    browse  containers and items below `path` of `point` (pages: `after`, `limit`)
    ticket  permission to fetch one item as bytes from the answering proxy's bulk port
    """

    repository: str
    repository_url: str
    point: str = ""
    path: str = ""
    after: str = ""
    limit: int = 200
    format: ExportFormat = "native"


class DownloadTicket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Where the server fetches the bytes, once, within `life_s`.

    https://<host>:<port>/bulk/<ticket>, mutual TLS; the certificate's name is the proxy's id.
    """

    proxy: str
    host: str
    port: int
    ticket: str
    file_name: str
    media_type: str
    life_s: int
    size: int | None = None


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """
    Answer of ask.* and secrets.*.

    `body` is JSON of the operation, or the error's class name, code and message are there.
    """

    ok: bool
    body: msgspec.Raw = msgspec.Raw(b"null")
    error_class: str = ""
    error_code: str = ""
    error: str = ""


SERVER_NAME = "server.strongroom.internal"  # DNS name in the server's certificate as a client
SEAL_CONTEXT = b"strongroom task secrets 1"  # HKDF info and additional data of SealedSecrets


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Order to every proxy of a pool; repeated by the server until it shows effect."""

    stop_session: str


class JoinDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What makes a process a proxy: written once, when the proxy joins its pool. A secret."""

    proxy: str
    pool: str
    nats_url: str
    nats_user: str
    nats_password: str
    ca: str  # PEM: the installation's authority
    certificate: str  # PEM, of this proxy; its DNS name is the proxy's id
    private_key: str  # PEM, of the certificate
    sealing_key: str  # X25519 private key, base64: opens SealedSecrets

"""
Sessions in the database: every function is part of one transaction of its caller.

`server.domain` decides, this module reads what the decision needs and writes it: the rows of a
session, of its tasks and the outbox stand or fall together. A second call with the same event
changes nothing.
"""

from typing import Any

import msgspec

from proxy.contract import EntryRef, Event, InternalError, NotFound, Selection, Task
from server.database.connector import Database, Row
from server.domain import sessions, tasks
from server.identifiers import new_id, new_point_id, now_text

EVENTS_LOCK = 0x57_52_00_03
ENTRIES_PER_POINT_MAX = 60_000  # objects times workloads of one restore point: one bus message


async def add_task(database: Database, task: Task) -> bool:
    """A row and its place in the outbox; False if the session has this unit already."""
    found = task.object
    made = await database.value(
        "tasks.insert",
        id=task.id,
        session=task.session,
        kind=task.kind,
        body=msgspec.to_builtins(task),
        object_kind=found.kind if found else "",
        object_id=found.id if found else "",
        object_name=found.name if found else "",
        workload=task.workload or "",
    )
    if made is None:
        return False
    subject = sessions.work_subject(task.pool, task.kind, task.id)
    await database.run("outbox.insert", task=task.id, subject=subject, message_id=task.id)
    return True


async def _insert_session(database: Database, kind: str, members: dict[str, Any]) -> Row:
    session = await database.row(
        "sessions.insert", id=new_id(), kind=kind, scheduled_at=None, **members
    )
    if session is None:
        raise InternalError("A session was not stored.")
    return session


async def start_backup(database: Database, job: Row) -> Row:
    """
    A run of `job`: session, discover task, outbox.

    Raises:
        Conflict: a run of the job has not ended.
    """
    repository = await database.row("repositories.get", id=job["repository"])
    organization = await database.row("organizations.get", id=job["organization"])
    if repository is None or organization is None:
        raise NotFound("The job's repository or organization is gone.", code="job-incomplete")
    members = {
        "job": job["id"],
        "job_name": job["name"],
        "organization": job["organization"],
        "repository": repository["id"],
        "pool": repository["pool"],
        "workloads": job["workloads"],
    }
    session = await _insert_session(database, "backup", members)
    selection = msgspec.convert(job["selection"], Selection)
    whom = (organization["name"], list(job["users"]), selection)
    await add_task(database, tasks.discover_task(new_id(), session, repository, whom))
    await announce(database, session["id"], "queued")
    return session


async def start_verification(database: Database, repository: Row, level: str) -> Row:
    """A session with one verify task."""
    members = {
        "job": None,
        "job_name": f"Verify {repository['name']}",
        "organization": None,
        "repository": repository["id"],
        "pool": repository["pool"],
        "workloads": [],
    }
    session = await _insert_session(database, "verify", members)
    await add_task(database, tasks.verify_task(new_id(), session, repository, level))
    await announce(database, session["id"], "queued")
    return session


async def announce(
    database: Database, session: str, state: str, error: tuple[str, str] = ("", "")
) -> None:
    """Tell the feed that a session changed its state."""
    await database.run("lock.take", key=EVENTS_LOCK)
    body = {
        "id": new_id(),
        "session": session,
        "task": None,
        "kind": "session",
        "at": now_text(),
        "state": state,
        "error_code": error[0],
        "error": error[1],
    }
    await database.value(
        "events.insert", id=body["id"], session=session, task=None, kind="session", body=body
    )


async def store_event(database: Database, event: Event) -> bool:
    """
    Keep an event and what it says about its task; True if the session may have a next step.

    An event of a task that is not known (a dropped database, a foreign bus) is left out.
    """
    task = await database.row("tasks.lock", id=event.task)
    if task is None or task["session"] != event.session:
        return False
    stored = await database.value(
        "events.insert",
        id=event.id,
        session=event.session,
        task=event.task,
        kind=event.kind,
        body=msgspec.to_builtins(event),
    )
    if stored is None:
        return False
    await _note_totals(database, event)
    if event.kind == "discovered":
        await _add_backups(database, msgspec.convert(task["body"], Task), event)
    return await _change_state(database, task, event)


async def _note_totals(database: Database, event: Event) -> None:
    if event.counters is not None or event.done is not None or event.todo is not None:
        counters = msgspec.to_builtins(event.counters) if event.counters else None
        await database.run(
            "tasks.progress",
            id=event.task,
            counters=counters,
            done=event.done,
            todo=event.todo,
            at=event.at,
        )
    complete = event.complete or (event.kind == "finished" and event.result != "failed")
    if event.entry is not None and complete:
        await database.run(
            "tasks.entry", id=event.task, manifest=event.entry.manifest, index=event.entry.index
        )
    await database.run_many(
        "outcomes.insert",
        [
            {
                "id": new_id(),
                "session": event.session,
                "task": event.task,
                **msgspec.structs.asdict(outcome),
            }
            for outcome in event.outcomes
        ],
    )


async def _change_state(database: Database, task: Row, event: Event) -> bool:
    session = await database.row("sessions.lock", id=event.session)
    if session is None:
        return False
    stopping = session["state"] == "stopping"
    state = sessions.task_state_after(task["state"], event, stopping=stopping)
    if task["state"] not in sessions.TASK_ENDS and event.kind != "finished":
        await database.run(
            "tasks.lease",
            id=event.task,
            proxy=event.proxy,
            begins=1 if event.kind == "leased" else 0,
            delivery=event.delivery,
        )
    if session["state"] == "queued" and state is not None:
        await database.run("sessions.set_state", id=event.session, state="running")
        await announce(database, event.session, "running")
    if state not in sessions.TASK_ENDS:
        return False
    await database.run(
        "tasks.finish",
        id=event.task,
        state=state,
        error_code=event.error_code,
        error=event.error,
        report=event.report,
    )
    return True


async def _add_backups(database: Database, discover: Task, event: Event) -> None:
    session = await database.row("sessions.lock", id=discover.session)
    if session is None or session["state"] in ("stopping", *sessions.SESSION_ENDS):
        return
    await database.run_many(
        "objects.see",
        [
            {"organization": discover.organization, **msgspec.structs.asdict(found)}
            for found in sorted(event.objects, key=lambda found: (found.kind, found.id))
        ],
    )
    for found in event.objects:
        for workload in discover.workloads:
            await add_task(database, tasks.backup_task(new_id(), discover, found, workload))


async def advance(database: Database, session_id: str) -> sessions.Step:
    """Do the next step of a session, if there is one to do."""
    session = await database.row("sessions.lock", id=session_id)
    if session is None or session["ended_at"] is not None:
        return sessions.Wait()
    rows = await database.rows("sessions.tally", session=session_id)
    tally = [sessions.TallyRow(r["kind"], r["state"], r["count"], r["problems"]) for r in rows]
    step = sessions.next_step(session["kind"], session["state"], tally)
    if isinstance(step, sessions.Seal):
        step = await _seal(database, session, step)
    if isinstance(step, sessions.End):
        await _end(database, session_id, step)
    return step


async def _seal(database: Database, session: Row, step: sessions.Seal) -> sessions.Step:
    rows = await database.rows(
        "sessions.entries",
        session=session["id"],
        job=session["job"],
        repository=session["repository"],
    )
    if not rows:
        return sessions.End("failed", "no-entries", "No backup task left a complete entry.")
    if len(rows) > ENTRIES_PER_POINT_MAX:
        message = f"A restore point holds at most {ENTRIES_PER_POINT_MAX} entries: split the job."
        return sessions.End("failed", "too-many-entries", message)
    entries = [EntryRef(manifest=row["manifest"], index=row["index"]) for row in rows]
    first = await database.row("tasks.first", session=session["id"], kind="discover")
    if first is None:
        raise InternalError("A backup session without a discover task.")
    discover = msgspec.convert(first["body"], Task)
    point = new_point_id()
    await add_task(database, tasks.seal_task(new_id(), discover, point, entries, step.result))
    await database.run("sessions.set_point", id=session["id"], point=point)
    return step


async def _end(database: Database, session_id: str, end: sessions.End) -> None:
    code, message = end.error_code, end.error
    if end.cause:
        why = await database.row("sessions.first_error", session=session_id, kind=end.cause)
        code, message = (why["error_code"], why["error"]) if why else (f"{end.cause}-failed", "")
    await database.run(
        "sessions.end", id=session_id, state=end.state, error_code=code, error=message
    )
    await announce(database, session_id, end.state, (code, message))

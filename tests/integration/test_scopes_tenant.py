"""A tenant that is backed up in a scope: by change within it, refused outside of it, gone with its key."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from engine.errors import ScopeClosed
from repository.scopes import add_scope, destroy_scope
from tests.fixtures.emulator import StartEmulator
from tests.fixtures.scopes import FABRIKAM, service_key
from tests.unit.proxy.lab import Lab, add_user, mime

pytestmark = pytest.mark.slow


@pytest_asyncio.fixture
async def lab(emulator: StartEmulator, tmp_path: Path) -> AsyncIterator[Lab]:
    made = Lab(await emulator(), tmp_path)
    yield made
    made.repository.close()


async def test_a_tenant_in_a_scope(lab: Lab, tmp_path: Path) -> None:
    """The second backup reads what is new; one that forgets the scope changes nothing; shredded, it begins anew."""
    held = service_key(tmp_path / "kms", "fabrikam")
    add_scope(lab.repository.keyring, FABRIKAM, held)
    user = add_user(lab.emulator, "ann")
    first = lab.tenant.add_message(user, "Inbox", mime(1))
    done = await lab.backup(user, scope=FABRIKAM)
    assert (done.failed, done.warned) == (False, False)
    lab.ledger.clear()
    second = lab.tenant.add_message(user, "Inbox", mime(2))
    done = await lab.backup(user, scope=FABRIKAM)
    assert lab.content_reads() == 1
    assert {first.key, second.key} <= set(lab.mail_ids(done.point))

    heads = list(lab.repository.entries)
    refused = await lab.backup(user)
    assert {task.error_code for task in refused.tasks} == {"scope-mixed"}
    assert refused.point is None
    lab.repository.refresh()
    assert [entry.ref for entry in lab.repository.entries] == [entry.ref for entry in heads]

    destroy_scope(lab.repository.keyring, lab.repository.keyring.scope(FABRIKAM), held)
    with pytest.raises(ScopeClosed):
        lab.mail_ids(done.point)
    anew = await lab.backup(user)
    assert anew.failed is False
    assert set(lab.mail_ids(anew.point)) >= {first.key, second.key}
    assert lab.repository.verify("drill").ok

"""Any history of commits equals a dict: the catalog merges levels, drops removed rows, loses nothing."""

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.catalog import removed_row
from engine.limits import CATALOG_PARTS_PER_LEVEL_MAX
from repository import Repository
from tests.fixtures.repositories import head, object_key, row

IDS = [b"a", b"b", b"c", b"d", b"e", b"f"]
change = st.tuples(st.sampled_from(IDS), st.one_of(st.none(), st.binary(max_size=3)))
history = st.lists(st.lists(change, min_size=1, max_size=4), min_size=1, max_size=30)
counter = iter(range(10**9))


@pytest.mark.slow
@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(history)
def test_any_history_equals_a_dict(
    repository: Repository, steps: list[list[tuple[bytes, bytes | None]]]
) -> None:
    """After every commit: rows, totals and levels are right, from the store too."""
    key = object_key(f"object-{next(counter)}")
    model: dict[bytes, bytes] = {}
    with repository.write_session("w") as session:
        slice_ = session.open_slice(key, "files", "s")
        for step in steps:
            rows = []
            for row_id, data in step:
                rows.append(removed_row(row_id) if data is None else row(row_id, session, data))
                if data is None:
                    model.pop(row_id, None)
                else:
                    model[row_id] = data
            slice_.advance(rows)
            assert slice_.ids() == set(model)
            session.commit()
            assert slice_.committed_catalog.totals().items == len(model)
        entry = head(repository, key)
        assert entry is not None
        assert (entry.form.items, entry.form.bytes) == (len(model), sum(map(len, model.values())))
        levels = [part.level for part in entry.form.catalog]
        assert all(levels.count(n) < CATALOG_PARTS_PER_LEVEL_MAX for n in levels)
        catalog = repository.catalog(entry)
        assert {r.id: repository.read_all(r.parts[0]) for r in catalog.rows()} == model
        assert set(catalog.ids()) == set(model)
        for row_id in IDS:
            found = catalog.get(row_id)
            assert (found is not None) == (row_id in model) == (row_id in catalog)
            assert catalog.version(row_id) == (found and found.version)
        session.drop_slice(slice_)


def test_a_catalog_without_removed_rows_is_not_copied_to_be_counted(
    repository: Repository,
) -> None:
    """A mailbox of a million messages would be held twice: its totals are taken from the rows where they lie."""
    key = object_key("large")
    with repository.write_session("w") as session:
        slice_ = session.open_slice(key, "files", "s")
        slice_.advance([row(b"%09d" % n, session, b"x" * 100) for n in range(2_000)])
        slice_.finish()
        session.commit()
    entry = head(repository, key)
    assert entry is not None
    catalog = repository.catalog(entry)
    before = pa.total_allocated_bytes()
    [table] = catalog.live()
    assert catalog.totals().items == 2_000
    assert pa.total_allocated_bytes() - before < table.nbytes / 4

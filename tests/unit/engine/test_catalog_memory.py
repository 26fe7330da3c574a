"""What a catalog part leaves in memory."""

import pyarrow as pa

from engine import catalog


def test_tables_lie_in_memory_that_is_given_back() -> None:
    """Arrow takes from the system's allocator, not from a pool that keeps what a large part once needed."""
    table = catalog.columns_table({name: [] for name in catalog.SCHEMA.names})
    assert table.num_rows == 0
    assert pa.default_memory_pool().backend_name == "system"

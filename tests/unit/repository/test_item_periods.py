"""Item periods: what is old goes from every restore point, and nothing that is not known to be."""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.catalog import Row, table_of
from engine.errors import UsageError
from repository import Repository
from repository.catalogs import expired
from repository.tree.importer import import_tree


@pytest.mark.parametrize(
    ("created_ns", "modified_ns", "kind", "goes"),
    [
        (999, 999, "message", True),
        (999, 1000, "message", False),
        (1000, 5, "message", False),
        (0, 999, "message", True),
        (0, 0, "message", False),
        (999, 999, "container", False),
    ],
)
def test_an_item_goes_when_both_its_times_lie_before(
    created_ns: int, modified_ns: int, kind: str, goes: bool
) -> None:
    """Containers stay, and what has no time at all."""
    made = Row(b"1", b"", b"n", kind)
    table = table_of([replace(made, created_ns=created_ns, modified_ns=modified_ns)])
    assert expired(table, 1000).to_pylist() == [goes]


def test_trees_do_not_come_where_items_go_by_age(tmp_path: Path, repository: Repository) -> None:
    """Their files are old when they come: an import would store what no restore point ever gives back."""
    (tmp_path / "tree").mkdir()
    repository.forget([], items_from_ns=1000)
    repository.collect()
    with pytest.raises(UsageError) as raised:
        import_tree(repository, tmp_path / "tree", "t")
    assert raised.value.code == "item-period-unfit"
    assert repository.points() == []

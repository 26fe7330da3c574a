"""Every error code that shipped code raises is explained in docs/errors.md, with its class, and no other is."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("cext", "engine", "repository", "proxy", "server", "tools")
NOT_OURS = ("tools/emulator/",)  # speaks Microsoft's codes
FAULT_TABLE = "proxy/graph/faults.py"
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| ([A-Za-z, ]+) \| (.+) \|$", re.MULTILINE)


def raised() -> dict[str, set[str]]:
    """Code -> "class (file:line)" of every call with a literal `code=`, and of Graph's table of faults."""
    found: dict[str, set[str]] = defaultdict(set)
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            name = file.relative_to(ROOT).as_posix()
            if name.startswith(NOT_OURS):
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if name == FAULT_TABLE and isinstance(node, ast.Call) and node.args:
                    first = getattr(node.args[0], "value", None)
                    if ast.unparse(node.func) == "_rule" and isinstance(first, str):
                        found[first].add(f"{ast.unparse(node.args[2])} ({name}:{node.lineno})")
                for keyword in node.keywords if isinstance(node, ast.Call) else ():
                    code = getattr(keyword.value, "value", None)
                    if keyword.arg == "code" and isinstance(code, str):
                        call = ast.unparse(node.func)  # type: ignore[attr-defined]
                        found[code].add(f"{call} ({name}:{node.lineno})")  # type: ignore[attr-defined]
    return found


def test_every_code_is_documented() -> None:
    """Code and document hold the same codes; the message says which rows to add or take away."""
    documented = {code for code, _, _ in ROW.findall((ROOT / "docs/errors.md").read_text())}
    codes = raised()
    missing = [
        f"| `{code}` | {sorted(codes[code])[0].split()[0]} | WHAT TO DO |   <- {', '.join(sorted(codes[code]))}"
        for code in sorted(codes.keys() - documented)
    ]
    assert not missing, "add to docs/errors.md:\n" + "\n".join(missing)
    stale = sorted(documented - codes.keys())
    assert not stale, f"nothing raises these; take them out of docs/errors.md: {stale}"


def test_codes_are_kebab_case_in_order_and_once() -> None:
    """Codes have one form; the table is sorted, so that two branches rarely meet."""
    rows = [code for code, _, _ in ROW.findall((ROOT / "docs/errors.md").read_text())]
    assert rows == sorted(set(rows))
    for code in raised():
        assert re.fullmatch(r"[a-z]+(-[a-z0-9]+)*", code), code

"""
The PowerShell module, checked without running it (no PowerShell can be had here).

Its grammar, its form, and that each call exists in the OpenAPI document of this very server with
each parameter in the schema. The Pester file beside the module runs where `pwsh` is.
"""

import itertools
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import tree_sitter_pwsh
from tree_sitter import Language, Node, Parser

from server.app import PREFIX, make_app

ROOT = Path(__file__).parents[2] / "tools" / "powershell"
MODULE = ROOT / "Strongroom"
PUBLIC = sorted((MODULE / "Public").glob("*.ps1"))
SOURCES = sorted([*MODULE.rglob("*.ps*1"), *ROOT.glob("*.ps1")])
# Get-Verb of PowerShell 7, those of the groups Common, Communications, Data and Lifecycle we may use.
APPROVED_VERBS = {
    *(
        "Add",
        "Clear",
        "Copy",
        "Find",
        "Get",
        "Join",
        "New",
        "Remove",
        "Resolve",
        "Search",
        "Select",
    ),
    *("Set", "Show", "Connect", "Disconnect", "Read", "Receive", "Send", "Write", "Backup"),
    *("Compare", "Convert", "ConvertFrom", "ConvertTo", "Export", "Import", "Restore", "Save"),
    *("Sync", "Update", "Disable", "Enable", "Invoke", "Register", "Request", "Restart", "Resume"),
    *("Start", "Stop", "Submit", "Suspend", "Unregister", "Wait", "Test", "Measure", "Protect"),
}
CHANGING_VERBS = {"Start", "Stop", "New", "Remove", "Set", "Disconnect"}

_PARSER = Parser(Language(tree_sitter_pwsh.language()))


def walk(node: Node) -> Iterator[Node]:
    """A node and everything below it."""
    yield node
    for child in node.children:
        yield from walk(child)


def parse(source: bytes) -> Node:
    """The syntax tree."""
    return _PARSER.parse(source).root_node


def broken_places(source: bytes) -> list[tuple[int, int]]:
    """Where the grammar is violated: line and column, from 0."""
    return [
        (node.start_point[0], node.start_point[1])
        for node in walk(parse(source))
        if node.is_error or node.is_missing
    ]


def text(node: Node) -> str:
    """Source of a node."""
    return (node.text or b"").decode()


def manifest_list(name: str) -> list[str]:
    """Strings of one list of the manifest."""
    source = (MODULE / "Strongroom.psd1").read_text()
    match = re.search(rf"{name}\s*=\s*@\((.*?)\)", source, re.DOTALL)
    assert match is not None, name
    return re.findall(r"'([^']*)'", match[1])


@dataclass
class Call:
    """One call of Invoke-SRRequest or Get-SRPage: literals and keys of its hash tables."""

    file: str
    arguments: dict[str, str] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)
    paged: bool = False


def calls_in(file: Path) -> Iterator[Call]:
    """Every call of the API in a file."""
    tree = parse(file.read_bytes())
    tables = dict(_tables_by_variable(tree))
    for node in walk(tree):
        if node.type != "command":
            continue
        name = node.child_by_field_name("command_name")
        if name is None or text(name) not in ("Invoke-SRRequest", "Get-SRPage"):
            continue
        call = Call(file.name, paged=text(name) == "Get-SRPage")
        for parameter, argument in _arguments(node):
            call.arguments[parameter] = text(argument).strip("'\"")
            call.keys[parameter] = _keys(argument) or tables.get(text(argument), [])
        # Invoke-SRRequest inside Get-SRPage passes its own -Path on: its callers are checked.
        if not call.arguments["Path"].startswith("$"):
            yield call


def _arguments(command: Node) -> Iterator[tuple[str, Node]]:
    elements = command.child_by_field_name("command_elements")
    parts = [n for n in (elements.children if elements else []) if n.type != "command_argument_sep"]
    for first, second in itertools.pairwise(parts):
        if first.type == "command_parameter" and second.type != "command_parameter":
            yield text(first).lstrip("-"), second


def _keys(node: Node) -> list[str]:
    return [text(n).strip("'\"") for n in walk(node) if n.type == "key_expression"]


def _tables_by_variable(tree: Node) -> Iterator[tuple[str, list[str]]]:
    for node in walk(tree):
        if node.type == "assignment_expression" and "@{" in text(node):
            yield text(node).partition("=")[0].strip(), _keys(node)


@pytest.fixture(scope="module")
def openapi() -> dict[str, Any]:
    """The document of this server."""
    return make_app(None).openapi()  # type: ignore[arg-type]


CALLS = [call for file in sorted(MODULE.rglob("*.ps1")) for call in calls_in(file)]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.name)
def test_sources_keep_the_grammar(file: Path) -> None:
    """No file has an error or a missing piece."""
    assert broken_places(file.read_bytes()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda source: source.replace(b"param(", b"param((", 1),
        lambda source: source[: source.rindex(b"}")],
        lambda source: source.replace(b"foreach (", b"foreach ", 1),
        lambda source: source + b"\nif ($true { 1 }\n",
        lambda source: source + b"\n$x = @{ a = }\n",
    ],
)
def test_the_gate_catches_broken_modules(damage: Any) -> None:
    """A parser that accepts everything would prove nothing."""
    source = (MODULE / "Public" / "Start-SRJob.ps1").read_bytes()
    assert broken_places(source) == []
    assert damage(source) != source
    assert broken_places(damage(source))


def test_the_manifest_exports_the_public_functions() -> None:
    """No more, no fewer, one a file of the same name."""
    assert manifest_list("FunctionsToExport") == [file.stem for file in PUBLIC]
    for file in sorted(MODULE.rglob("*/*.ps1")):
        names = [text(n) for n in walk(parse(file.read_bytes())) if n.type == "function_name"]
        assert names == [file.stem]


def test_promised_commands_are_there() -> None:
    """The names people script against."""
    promised = {"Connect-SRServer", "Get-SRJob", "Start-SRJob", "Get-SRJobSession"}
    assert promised <= {file.stem for file in PUBLIC}


@pytest.mark.parametrize("file", sorted(MODULE.rglob("*/*.ps1")), ids=lambda file: file.stem)
def test_functions_have_good_form(file: Path) -> None:
    """Approved verb, CmdletBinding, help; state is changed only after ShouldProcess."""
    source = file.read_text()
    verb, _, noun = file.stem.partition("-")
    assert verb in APPROVED_VERBS
    assert noun.startswith("SR")
    assert "[CmdletBinding(" in source
    help_text = source[source.index("<#") : source.index("#>")]
    assert ".SYNOPSIS" in help_text
    if file in PUBLIC:
        assert ".DESCRIPTION" in help_text
        assert ".EXAMPLE" in help_text
        documented = set(re.findall(r"\.PARAMETER (\w+)", help_text))
        assert documented == parameters_of(file)
    if verb in CHANGING_VERBS and file in PUBLIC:
        assert "SupportsShouldProcess" in source
        assert "$PSCmdlet.ShouldProcess(" in source


def parameters_of(file: Path) -> set[str]:
    """Names of the parameters of the function in a file."""
    tree = parse(file.read_bytes())
    return {
        text(next(n for n in node.children if n.type == "variable")).lstrip("$")
        for node in walk(tree)
        if node.type == "script_parameter"
    }


def test_secrets_are_secure_strings() -> None:
    """The password comes as a credential, the token stays a SecureString, certificates are checked."""
    source = (MODULE / "Public" / "Connect-SRServer.ps1").read_text()
    assert "[System.Management.Automation.PSCredential]" in source
    assert "[string] $Password" not in source
    assert "$connection.Token = ConvertTo-SecureString" in source
    skipping = [f.name for f in SOURCES if "DangerousAcceptAny" in f.read_text()]
    assert skipping == ["New-SRClient.ps1"]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.file}{call.arguments['Path']}")
def test_calls_exist_in_the_openapi_document(call: Call, openapi: dict[str, Any]) -> None:
    """Path and method, path and query parameters, form fields, and required ones are all sent."""
    path = PREFIX + call.arguments["Path"]
    method = call.arguments.get("Method", "Get").lower()
    assert path in openapi["paths"]
    assert method in openapi["paths"][path]
    operation = openapi["paths"][path][method]
    known = {
        (p["in"], p["name"]): p.get("required", False) for p in operation.get("parameters", [])
    }
    sent = {("path", name) for name in call.keys.get("Parameter", [])}
    sent |= {("query", name) for name in call.keys.get("Query", [])}
    if call.paged:
        sent |= {("query", "limit"), ("query", "after")}
    assert sent <= set(known)
    assert {key for key, required in known.items() if required} <= sent
    fields = set(call.keys.get("Form", []))
    content = operation.get("requestBody", {}).get("content", {})
    if fields:
        schema = content["application/x-www-form-urlencoded"]["schema"]
        schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        assert fields <= set(schema["properties"])
        assert set(schema.get("required", [])) <= fields
    else:
        assert not operation.get("requestBody", {}).get("required", False)


def test_every_public_function_is_covered() -> None:
    """The test above saw the calls: each command that reads or changes something has some."""
    assert {call.file for call in CALLS} >= {file.name for file in PUBLIC}


def test_pages_are_read_with_the_query_the_api_takes(openapi: dict[str, Any]) -> None:
    """Get-SRPage sends limit and after, within the limit of the API."""
    source = (MODULE / "Private" / "Get-SRPage.ps1").read_text()
    match = re.search(r"limit = (\d+); after = \$after", source)
    assert match is not None
    parameters = openapi["paths"][f"{PREFIX}/jobs"]["get"]["parameters"]
    limit = next(p for p in parameters if p["name"] == "limit")
    assert int(match[1]) <= limit["schema"]["maximum"]


def test_states_are_those_of_the_api(openapi: dict[str, Any]) -> None:
    """-State offers every state of a session and no other."""
    source = (MODULE / "Public" / "Get-SRJobSession.ps1").read_text()
    match = re.search(r"\[ValidateSet\((.*?)\)\]\s*\[string\[\]\] \$State", source)
    assert match is not None
    state = openapi["components"]["schemas"]["Session"]["properties"]["state"]
    assert re.findall(r"'(\w+)'", match[1]) == state["enum"]


def test_tables_show_members_of_the_answers(openapi: dict[str, Any]) -> None:
    """Each column of the format file is a member of its schema."""
    views = ElementTree.parse(MODULE / "Strongroom.Format.ps1xml").iter("View")
    for view in views:
        schema = view.findtext("Name", "").rpartition(".")[2]
        members = openapi["components"]["schemas"][schema]["properties"]
        assert {column.text for column in view.iter("PropertyName")} <= set(members)


@pytest.mark.slow
def test_pester() -> None:
    """The module itself, where PowerShell is."""
    pwsh = shutil.which("pwsh")
    if pwsh is None:
        pytest.skip("no pwsh on this machine: the module is checked, not run")
    command = f"Invoke-Pester -Path '{ROOT / 'Strongroom.Tests.ps1'}' -CI"
    subprocess.run([pwsh, "-NoProfile", "-Command", command], check=True, timeout=120)

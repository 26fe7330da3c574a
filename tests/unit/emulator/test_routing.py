"""The ways to spell a call."""

import pytest

from tools.emulator.routing import find

DELTA = "/drives/{drive}/root/delta"


@pytest.mark.parametrize(
    ("path", "template", "params"),
    [
        ("/users", "/users", {}),
        ("/users/delta", "/users/delta", {}),
        ("/users/microsoft.graph.delta", "/users/delta", {}),
        ("/users/delta()", "/users/delta", {}),
        ("//users//u1/", "/users/{user}", {"user": "u1"}),
        ("/users('o''hara@x')", "/users/{user}", {"user": "o'hara@x"}),
        ("/users/a%40b", "/users/{user}", {"user": "a@b"}),
        ("/drives/b!1/root/delta", DELTA, {"drive": "b!1"}),
        ("/drives/b!1/root/delta(token='x')", DELTA, {"drive": "b!1", "token": "x"}),
        ("/drives/b%211/items/I/children", "/drives/{drive}/items/{item}/children",
         {"drive": "b!1", "item": "I"}),
        ("/drives/b!1/root:/a/b%20c", "/drives/{drive}/items/{item}",
         {"drive": "b!1", "item": ":a/b c"}),
        ("/drives/b!1/root:/a/b:/children", "/drives/{drive}/items/{item}/children",
         {"drive": "b!1", "item": ":a/b"}),
        ("/drives/b!1/items/I:/a:/content", "/drives/{drive}/items/{item}/content",
         {"drive": "b!1", "item": "I:/a"}),
        ("/users/u/drive/root:/x", "/users/{user}/drive/items/{item}",
         {"user": "u", "item": ":x"}),
        ("/users/u/mailFolders/f/messages/m/$value",
         "/users/{user}/mailFolders/{folder}/messages/{message}/$value",
         {"user": "u", "folder": "f", "message": "m"}),
    ],
)  # fmt: skip
def test_find(path: str, template: str, params: dict[str, str]) -> None:
    found = find("GET", path)
    assert found is not None
    assert (found[0].template, found[1]) == (template, params)


@pytest.mark.parametrize("path", ["", "/", "/nothing", "/users/u/people", "/me/drive/root:/x"])
def test_unknown(path: str) -> None:
    assert find("GET", path) is None

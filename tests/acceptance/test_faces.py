"""
Console and Portal in a real browser against a real installation and an emulated tenant.

One installation for the module; each test signs in with a page of its own and ends with an empty
list of faults: no console error, no violation of the content security policy, no exception.
"""

import base64
import contextlib
import hashlib
import random
import re
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Download, Page, Route, expect

from tests.fixtures.browser import (
    Installation,
    Window,
    chromium,
    opened_window,
    running_browser,
    running_installation,
)

pytestmark = pytest.mark.slow

PEOPLE = ("adele", "diego", "megan")
MAILS = 12
LATENCY_S = 0.15  # of each answer of the tenant: progress is there to be seen
HOSTILE = "<img src=x onerror=alert(1)>"
ENDED_MS = 60_000

OpenWindow = Callable[..., AbstractContextManager[Window]]


def _mail(rng: random.Random, who: str, number: int) -> bytes:
    subject = f"{HOSTILE} offer {number}" if number % 4 == 0 else f"Minutes {number}"
    text = "\r\n".join(
        " ".join(rng.choices(("harbour", "bridge", "steel", "offer", "plan"), k=9))
        for _ in range(rng.randint(5, 200))
    )
    head = (
        f"From: {who}@example.org\r\nTo: {who}@example.org\r\nSubject: {subject}\r\n"
        f"Date: Mon, {number + 1:02d} Jun 2026 09:00:00 +0000\r\n"
        f"Message-ID: <{who}-{number}@example.org>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    return (head + text + "\r\n").encode()


def _make_tenant(folder: Path) -> None:
    rng = random.Random(1)
    for who in PEOPLE:
        for number in range(MAILS):
            place = folder / who / "mail" / ("Inbox" if number % 3 else "Inbox/Harbour bridge")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.eml").write_bytes(_mail(rng, who, number))
        files = folder / who / "files" / "Reports & plans"
        files.mkdir(parents=True)
        (files / "Über #1 100%.bin").write_bytes(rng.randbytes(2_500_000))
        (files / "empty.txt").write_bytes(b"")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder the tenant is made of."""
    chromium()
    folder = tmp_path_factory.mktemp("tenant") / "contoso"
    _make_tenant(folder)
    return folder


@pytest.fixture(scope="module")
def installation(content: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Everything runs; nothing is backed up yet."""
    with running_installation(tmp_path_factory.mktemp("up"), content, LATENCY_S) as found:
        yield found


@pytest.fixture(scope="module")
def session(installation: Installation) -> dict[str, Any]:
    """One session that has ended with everything stored."""
    ended = installation.backup()
    assert ended["state"] == "success"
    return ended


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for the module."""
    with running_browser() as found:
        yield found


@pytest.fixture
def window(browser: Browser) -> Iterator[Window]:
    """A page; in the end nothing went wrong in it."""
    with opened_window(browser) as found:
        yield found
        assert found.faults == []


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go, for people to look at."""
    return tmp_path_factory.mktemp("pictures")


def sign_in(page: Page, installation: Installation, face: str, user: str = "") -> None:
    """Through the form."""
    page.goto(f"{installation.url}/{face}/")
    page.get_by_label("User name").fill(user or installation.user)
    page.get_by_label("Password").fill(installation.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def status_of_token(installation: Installation, token: str) -> int:
    """What the server says to a request with it."""
    other = Installation(**{**vars(installation), "token": token})
    try:
        other.call("GET", "/me")
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def watch_token(page: Page) -> list[str]:
    """Collects the tokens a page sends."""
    tokens: list[str] = []

    def note(request: Any) -> None:
        value = request.headers.get("authorization", "")
        if value:
            tokens.append(value.removeprefix("Bearer "))

    page.on("request", note)
    return tokens


def test_wrong_password_then_right_one(
    installation: Installation, window: Window, pictures: Path
) -> None:
    """A clear sentence, the password gone from the form, and then in; the token is kept nowhere."""
    page = window.page
    page.goto(f"{installation.url}/console/")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("Enter your user name and your password.")
    page.get_by_label("User name").fill(installation.user)
    page.get_by_label("Password").fill("not the password")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Name or password is wrong.")
    expect(page.get_by_label("Password")).to_have_value("")
    page.screenshot(path=pictures / "sign-in.png")
    page.get_by_label("Password").fill(installation.password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
    stored = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]")
    assert stored == [0, 0, ""]


# Every value that the bar ever has on this page; a reload would lose them.
NOTE_VALUES = """() => {
  window.seen = [];
  const look = () => {
    const value = document.querySelector("progress, [role=progressbar]")?.getAttribute("value");
    if (value && window.seen.at(-1) !== value) window.seen.push(value);
  };
  new MutationObserver(look).observe(document, { subtree: true, childList: true, attributes: true });
  look();
}"""


def test_started_job_is_followed_to_its_end(
    installation: Installation, window: Window, pictures: Path
) -> None:
    """Start by keyboard; the bar moves without a reload; the session shows every object."""
    page = window.page
    sign_in(page, installation, "console")
    page.get_by_role("button", name="Start Everybody").press("Enter")
    expect(page.get_by_role("button", name="Everybody runs")).to_be_visible()
    page.get_by_role("link", name="Details").click()
    heading = page.get_by_role("heading", name="Everybody")
    expect(heading).to_be_visible()
    bar = page.get_by_role("progressbar")
    page.evaluate(NOTE_VALUES)
    state = page.locator(".head .badge")
    until = time.monotonic() + ENDED_MS / 1000
    while state.text_content() in ("Queued", "Running"):
        assert time.monotonic() < until
        if len(page.evaluate("seen")) == 3:
            page.screenshot(path=pictures / "session-running.png")
        page.wait_for_timeout(50)
    expect(state).to_have_text("Success")
    assert float(bar.get_attribute("value") or 0) == 1
    between = [value for value in map(float, page.evaluate("seen")) if 0 < value < 1]
    assert len(between) >= 3
    assert between == sorted(between)
    rows = page.get_by_role("table", name="Tasks of the session").get_by_role("row")
    expect(rows).to_have_count(1 + 2 + 2 * len(PEOPLE))
    mail = rows.filter(has_text="adele@").filter(has_text="Mail").get_by_role("cell")
    # Workload, state, stored, unchanged, removed, skipped, failed, read, requests.
    assert mail.all_text_contents()[:7] == ["Mail", "Success", str(MAILS), "0", "0", "0", "0"]
    expect(page.get_by_text("Every item was stored or had not changed.")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("The session has ended: success.")
    page.screenshot(path=pictures / "session-ended.png", full_page=True)
    page.get_by_role("link", name="Sessions", exact=True).click()
    newest = page.get_by_role("table").get_by_role("row").nth(1)
    expect(newest).to_contain_text("Everybody")
    expect(newest).to_contain_text("Success")
    page.get_by_role("link", name="Jobs").click()
    expect(page.get_by_role("button", name="Start Everybody")).to_be_visible()


def test_item_that_fails_is_shown_with_its_cause(
    installation: Installation, session: dict[str, Any], window: Window, pictures: Path
) -> None:
    """A session with warnings names the item; markup in its name is only text."""
    where = {"user": installation.tenant("users")[0]["upn"], "folder": "Inbox"}
    raw = base64.b64encode(_mail(random.Random(2), "bad", 4)).decode()
    added = installation.tenant("add_message", content=raw, **where)
    installation.tenant("fail_item", item=added["id"], status=403, code="ErrorAccessDenied")
    try:
        ended = installation.backup()
    finally:
        installation.tenant("clear_faults")
    assert ended["state"] == "warning", ended
    page = window.page
    sign_in(page, installation, "console")
    page.goto(f"{installation.url}/console/#/session/{ended['id']}")
    expect(page.locator(".head .badge")).to_have_text("Warning")
    outcomes = page.get_by_role("table", name="Skipped and failed items")
    expect(outcomes.get_by_role("row")).to_have_count(2)
    page.screenshot(path=pictures / "session-warning.png", full_page=True)
    assert page.locator("main img").count() == 0


def test_verification_is_started_from_the_console(
    installation: Installation, session: dict[str, Any], window: Window, pictures: Path
) -> None:
    """It ends in a session that says what was read."""
    page = window.page
    sign_in(page, installation, "console")
    page.get_by_role("link", name="Repositories").click()
    page.get_by_role("button", name="Verify Main repository").click()
    expect(page.get_by_role("heading", name="Verify Main repository")).to_be_visible()
    expect(page.locator(".head .badge")).to_have_text("Success", timeout=ENDED_MS)
    expect(page.locator("dl.facts")).to_contain_text("Bytes read")
    page.get_by_role("link", name="Proxies").click()
    expect(page.get_by_role("row").nth(1)).to_contain_text("Online")
    page.screenshot(path=pictures / "proxies.png")


def _download(page: Page, name: str) -> Download:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=f"Download {name}", exact=True).click()
    return waiting.value


def test_portal_gives_back_a_mail_and_a_file(
    installation: Installation,
    session: dict[str, Any],
    content: Path,
    window: Window,
    pictures: Path,
) -> None:
    """Restore point, object, workload, folders, item: the bytes are those the tenant serves."""
    page = window.page
    sign_in(page, installation, "portal")
    page.locator("a.point").last.click()
    page.get_by_role("link", name=re.compile("^adele@")).click()
    page.get_by_role("link", name="Mail", exact=True).click()
    page.get_by_role("link", name="Inbox", exact=True).click()
    page.get_by_role("link", name="Harbour bridge", exact=True).click()
    expect(page.get_by_role("navigation", name="Path")).to_contain_text("Inbox")
    mail = _download(page, f"{HOSTILE} offer 0")
    assert mail.suggested_filename.endswith(".eml")
    folder = content / "adele" / "mail" / "Inbox" / "Harbour bridge"
    assert Path(mail.path()).read_bytes() == (folder / "0.eml").read_bytes()
    expect(page.get_by_role("region", name="Downloads")).to_contain_text("Saved")
    page.screenshot(path=pictures / "portal-mail.png")

    crumbs = page.get_by_role("navigation", name="Path")
    crumbs.get_by_role("link", name=re.compile("^adele@")).click()
    page.get_by_role("link", name="OneDrive", exact=True).click()
    with contextlib.suppress(AssertionError):  # the drive itself may be a level of its own
        expect(page.get_by_role("link", name="Reports & plans")).to_be_visible(timeout=1500)
    if not page.get_by_role("link", name="Reports & plans").is_visible():
        page.get_by_role("link", name="OneDrive", exact=True).last.click()
    page.get_by_role("link", name="Reports & plans").click()
    name = "Über #1 100%.bin"
    file = _download(page, name)
    assert file.suggested_filename == name
    data = Path(file.path()).read_bytes()
    upn = next(u["upn"] for u in installation.tenant("users") if u["upn"].startswith("adele@"))
    drive = installation.tenant("oracle", user=upn)[upn]["drive"]
    expected = next(entry for path, entry in drive.items() if path.endswith(name))
    assert hashlib.sha256(data).hexdigest() == expected["sha256"]
    assert Path(_download(page, "empty.txt").path()).read_bytes() == b""
    page.go_back()
    expect(page.get_by_role("link", name="Reports & plans")).to_be_visible()


def test_failed_download_says_so(
    installation: Installation, session: dict[str, Any], window: Window
) -> None:
    """The problem's sentence in the tray; the page goes on."""
    page = window.page
    sign_in(page, installation, "portal")
    parts = f"{installation.ids['repository']}/latest/{session_user(installation)}/mail/Inbox"
    page.goto(f"{installation.url}/portal/#/points/{parts}")
    problem = {"status": 503, "detail": "No proxy of pool default is running.", "code": "no-proxy"}
    page.route("**/download?*", lambda route: route.fulfill(status=503, json=problem))
    page.get_by_role("button", name=re.compile("^Download")).first.click()
    tray = page.get_by_role("region", name="Downloads")
    expect(tray.get_by_text("No proxy of pool default is running.", exact=True)).to_be_visible()
    tray.get_by_role("button", name=re.compile("^Dismiss")).click()
    expect(tray.get_by_role("listitem")).to_have_count(0)


# A browser that asks for a file and gives a place to write to; `window.saved` is what was written.
PICKER = """window.saved = [];
window.showSaveFilePicker = async ({ suggestedName }) => ({
  name: suggestedName,
  createWritable: async () => new WritableStream({ write: (piece) => { saved.push(...piece); } }),
});"""
NO_PICKER = "delete window.showSaveFilePicker;"
# The body ends before the length that was announced.
CUT_OFF = """const real = window.fetch;
window.fetch = (target, init) => String(target).includes("/download?")
  ? Promise.resolve(new Response("abc", { headers: { "Content-Length": "10" } }))
  : real(target, init);"""


def _open_listing_of_a_huge_mail(installation: Installation, page: Page) -> None:
    """The folder Inbox, whose newest mail claims to have two gibibytes."""

    def enlarge(route: Route) -> None:
        listing = route.fetch().json()
        mails = [item for item in listing["items"] if item["kind"] == "message"]
        listing["items"] = [{**mails[0], "size": 2 << 30}]
        route.fulfill(json=listing)

    page.route("**/browse?*", enlarge)
    sign_in(page, installation, "portal")
    parts = f"{installation.ids['repository']}/latest/{session_user(installation)}/mail/Inbox"
    page.goto(f"{installation.url}/portal/#/points/{parts}")
    page.get_by_role("button", name=re.compile("^Download")).click()


def test_large_item_goes_straight_into_a_file(
    installation: Installation, session: dict[str, Any], content: Path, window: Window
) -> None:
    """Where the browser can write files, nothing is collected in memory."""
    window.page.add_init_script(PICKER)
    _open_listing_of_a_huge_mail(installation, window.page)
    tray = window.page.get_by_role("region", name="Downloads")
    expect(tray.get_by_text(re.compile("^Saved"))).to_be_visible()
    saved = bytes(window.page.evaluate("window.saved"))
    served = [file.read_bytes() for file in content.rglob("*.eml")]
    assert saved in served


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (NO_PICKER, re.compile("too large for this browser. Use `strongroom export`")),
        (PICKER + CUT_OFF, re.compile("^The download broke off. Try it again.$")),
    ],
    ids=["too-large", "cut-off"],
)
def test_download_that_cannot_succeed_says_why(
    installation: Installation,
    session: dict[str, Any],
    window: Window,
    script: str,
    sentence: re.Pattern[str],
) -> None:
    """One sentence in the tray, no file."""
    window.page.add_init_script(script)
    _open_listing_of_a_huge_mail(installation, window.page)
    shown = window.page.get_by_role("region", name="Downloads").locator(".bad-text")
    expect(shown).to_have_text(sentence)


def session_user(installation: Installation) -> str:
    """Some user of the tenant."""
    return str(installation.tenant("users")[0]["upn"])


def test_sign_out_makes_the_token_worthless(installation: Installation, window: Window) -> None:
    """And the page is back at its door."""
    page = window.page
    tokens = watch_token(page)
    sign_in(page, installation, "console")
    expect(page.get_by_role("button", name="Start Everybody")).to_be_visible()
    assert status_of_token(installation, tokens[-1]) == 200
    with page.expect_response("**/token/revoke") as answer:
        page.get_by_role("button", name="Sign out").click()
    assert answer.value.status == 204
    expect(page.get_by_role("heading", name="Sign in to the Console")).to_be_visible()
    assert status_of_token(installation, tokens[-1]) == 401


def test_lost_token_leads_to_sign_in_and_back(
    installation: Installation, session: dict[str, Any], window: Window
) -> None:
    """The next request finds out; after signing in again the same place is there."""
    page = window.page
    tokens = watch_token(page)
    sign_in(page, installation, "console")
    page.get_by_role("link", name="Repositories").click()
    expect(page.get_by_role("heading", name="Repositories")).to_be_visible()
    lost = Installation(**{**vars(installation), "token": tokens[-1]})
    lost.call("POST", "/token/revoke")
    page.get_by_role("link", name="Proxies").click()
    expect(page.get_by_role("alert")).to_have_text(
        "Your sign-in has expired. Please sign in again."
    )
    page.get_by_label("User name").fill(installation.user)
    page.get_by_label("Password").fill(installation.password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Proxies")).to_be_visible()


def test_faces_show_what_a_role_may(
    installation: Installation, session: dict[str, Any], browser: Browser
) -> None:
    """A viewer has no buttons; a restore operator is sent to the Portal."""
    for name in ("viewer", "restore-operator"):
        user = {"name": name, "password": installation.password, "roles": [name]}
        installation.call("POST", "/users", user)
    with opened_window(browser) as window:
        sign_in(window.page, installation, "console", "viewer")
        expect(window.page.get_by_role("table")).to_contain_text("Everybody")
        assert window.page.get_by_role("button", name=re.compile("^Start")).count() == 0
    with opened_window(browser) as window:
        page = window.page
        page.goto(f"{installation.url}/console/")
        page.get_by_label("User name").fill("restore-operator")
        page.get_by_label("Password").fill(installation.password)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("Restore Portal")
        sign_in(page, installation, "portal", "restore-operator")
        expect(page.locator("a.point").first).to_be_visible()


def test_stream_goes_on_where_it_ended(installation: Installation, window: Window) -> None:
    """After a broken connection the id of the last event is sent."""
    page = window.page
    places: list[str | None] = []

    def answer(route: Route) -> None:
        places.append(route.request.headers.get("last-event-id"))
        body = f'id: {40 + len(places)}\nevent: progress\ndata: {{"kind": "progress"}}\n\n'
        route.fulfill(content_type="text/event-stream", body=body)

    page.route("**/api/v1/events", answer)
    sign_in(page, installation, "console")
    until = time.monotonic() + 20
    while len(places) < 3 and time.monotonic() < until:
        page.wait_for_timeout(100)
    assert places[:3] == [None, "41", "42"]


PARSE = """async ([url, pieces]) => {
  const { EventParser } = await import(url);
  const parser = new EventParser();
  return pieces.flatMap((piece) => parser.push(piece));
}"""


def test_events_are_read_however_they_are_cut(installation: Installation, window: Window) -> None:
    """Any two cuts and any line ends give the same events."""
    page = window.page
    page.goto(f"{installation.url}/console/")
    url = f"{installation.url}/shared/events.js"
    stream = ': hello\nid: 1\nevent: a\ndata: {"x":\ndata: 1}\n\nretry: 5\n\nid: 2\ndata:y\n\n'
    whole = page.evaluate(PARSE, [url, [stream]])
    assert whole == [
        {"id": "1", "type": "a", "data": '{"x":\n1}'},
        {"id": "2", "type": "message", "data": "y"},
    ]
    for end in ("\n", "\r\n", "\r"):
        text = stream.replace("\n", end)
        for cut in range(1, len(text)):
            events = page.evaluate(PARSE, [url, [text[:cut], text[cut:], ": more\n"]])
            assert events == whole, (end, cut)


CONTRAST = """() => {
  const style = getComputedStyle(document.documentElement);
  const luminance = (name) => {
    const hex = style.getPropertyValue(`--${name}`).trim().slice(1);
    const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255);
    const [r, g, b] = parts.map((p) => (p <= 0.04045 ? p / 12.92 : ((p + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
    return (high + 0.05) / (low + 0.05);
  };
  const grounds = ["page", "card", "sunk"];
  const pairs = grounds.flatMap((g) => [["text", g], ["soft", g], ["accent", g]]);
  for (const tone of ["good", "warn", "bad", "accent"]) pairs.push([tone, `${tone}-wash`]);
  pairs.push(["accent-text", "accent"], ["accent-text", "accent-strong"], ["bad", "card"]);
  pairs.push(["soft", "accent-wash"], ["text", "accent-wash"]);
  return pairs.map(([a, b]) => [`${a} on ${b}`, ratio(a, b)]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_have_contrast(installation: Installation, browser: Browser, scheme: Any) -> None:
    """WCAG AA for text: 4.5 to 1, in both schemes."""
    with opened_window(browser, color_scheme=scheme) as window:
        window.page.goto(f"{installation.url}/console/")
        ratios = window.page.evaluate(CONTRAST)
    assert [pair for pair in ratios if pair[1] < 4.5] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_runs_over_the_edge(
    installation: Installation,
    session: dict[str, Any],
    browser: Browser,
    pictures: Path,
    width: int,
    scheme: Any,
) -> None:
    """No view needs scrolling sideways; all controls have names."""
    point = f"{installation.ids['repository']}/latest/{session_user(installation)}/mail/Inbox"
    views = {
        "console": ["jobs", "sessions", f"session/{session['id']}", "repositories", "proxies"],
        "portal": ["points", f"points/{point}"],
    }
    size = {"width": width, "height": 800}
    with opened_window(browser, color_scheme=scheme, viewport=size) as window:
        page = window.page
        for face, addresses in views.items():
            sign_in(page, installation, face)
            for address in addresses:
                page.goto(f"{installation.url}/{face}/#/{address}")
                expect(page.locator("main .loading")).to_have_count(0)
                expect(page.locator("main h1, main h2").first).to_be_visible()
                file = f"{face}-{address.partition('/')[0]}-{width}-{scheme}.png"
                page.screenshot(path=pictures / file)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                for control in page.locator("button, select, input, a").all():
                    assert control.evaluate(NAME_OF), control.evaluate("node => node.outerHTML")
        assert window.faults == []


NAME_OF = """node => node.getAttribute("aria-label") || node.textContent.trim() ||
  (node.labels && node.labels.length)"""


@pytest.mark.parametrize("address", ["console/", "portal/", "shared/api.js"])
def test_pages_reach_nothing_foreign(
    installation: Installation, window: Window, address: str
) -> None:
    """The policy is strict, and no file names another host."""
    answer = window.page.request.get(f"{installation.url}/{address}")
    assert answer.status == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]

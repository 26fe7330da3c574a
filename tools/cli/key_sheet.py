"""The recovery sheet: one page to print, as text or as HTML that needs nothing from anywhere."""

import html
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sheet:
    """What stands on a sheet; `lines` is the secret."""

    repository: str
    address: str
    key: str
    made: str
    lines: Sequence[str]

    @property
    def facts(self) -> dict[str, str]:
        """What tells it from other sheets."""
        return {
            "Repository": self.repository,
            "Address": self.address,
            "Key": self.key,
            "Made": self.made,
        }


TITLE = "Strongroom recovery sheet"
STEPS = (
    "Type the six lines into a text file, say sheet.txt. Blanks, dashes and small letters do not matter; O is 0, I and L "
    "are 1.",
    "Run: strongroom points ADDRESS --passphrase-file sheet.txt - it opens the repository as a passphrase does.",
    "If a line is mistyped, the message names it.",
    "Without Strongroom: tools/reader of its sources and docs/format.md are enough.",
)
CARE = (
    "Whoever has this sheet and the repository can read everything in it. Keep it where fire, water and curiosity "
    "do not reach both at once. If it may have been seen: strongroom repo key remove ADDRESS {key}, then "
    "strongroom repo key rotate ADDRESS."
)


def sheet_text(sheet: Sheet) -> str:
    """A page of plain text, 78 columns."""
    import textwrap

    def wrapped(text: str, first: str = "", rest: str = "") -> str:
        return textwrap.fill(text, 78, initial_indent=first, subsequent_indent=rest)

    facts = [f"{name:<12}{value}" for name, value in sheet.facts.items()]
    lines = [f"    {number})  {line}" for number, line in enumerate(sheet.lines, 1)]
    steps = [wrapped(step, f"{number}. ", "   ") for number, step in enumerate(STEPS, 1)]
    parts = (
        [TITLE.upper()],
        facts,
        ["Recovery secret"],
        lines,
        ["How to use it"],
        steps,
        [wrapped(CARE.format(key=sheet.key))],
    )
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
 @page {{ size: A4; margin: 20mm }}
 body {{ font: 12pt/1.5 Georgia, serif; max-width: 170mm; margin: 10mm auto; color: #000 }}
 h1 {{ font-size: 20pt }} h2 {{ font-size: 14pt }}
 th {{ text-align: left; padding-right: 8mm; font-weight: normal }}
 td {{ overflow-wrap: anywhere }}
 .secret {{ font: bold 17pt/2 "DejaVu Sans Mono", Menlo, Consolas, monospace; border: 1pt solid #000;
  padding: 5mm; white-space: pre }}
 .care {{ border-top: 1pt solid #000; padding-top: 4mm }}
</style></head><body>
<h1>{title}</h1>
<table>{facts}</table>
<h2>Recovery secret</h2>
<div class="secret">{lines}</div>
<h2>How to use it</h2>
<ol>{steps}</ol>
<p class="care">{care}</p>
</body></html>
"""


def sheet_html(sheet: Sheet) -> str:
    """The same page for a browser's printer; it loads nothing."""
    escape = html.escape
    return _PAGE.format(
        title=TITLE,
        facts="".join(
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in sheet.facts.items()
        ),
        lines="\n".join(f"{n})  {escape(line)}" for n, line in enumerate(sheet.lines, 1)),
        steps="".join(f"<li>{escape(step)}</li>" for step in STEPS),
        care=escape(CARE.format(key=sheet.key)),
    )

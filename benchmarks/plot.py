"""One picture of a run: how many times as fast as each peer, by set and step, as SVG."""

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from benchmarks.contenders import OURS, STEPS
from benchmarks.results import SetResult

COLOURS = ("#3b6fb6", "#d98b2b", "#4f9d69", "#8a5aa8")
BAR, GAP, SET_GAP = 14, 12, 34
LEFT, TOP, PLOT_HEIGHT, BOTTOM = 56, 58, 260, 84
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50)
FONT = 'font-family="sans-serif" font-size="11"'

# set, step, and by peer how many times as fast as the peer we are
Group = tuple[str, str, Mapping[str, float]]


def groups(results: Mapping[str, SetResult]) -> list[Group]:
    """What is drawn: every step that we and a peer have."""
    found: list[Group] = []
    for name, result in results.items():
        for step in STEPS[1:]:
            ratios = {who: result.ratio(step, who) for who in result.runs if who != OURS}
            known = {who: ratio for who, ratio in ratios.items() if ratio is not None}
            if known:
                found.append((name, step, known))
    return found


def svg(drawn: Sequence[Group], title: str) -> str:
    """Grouped bars on a logarithmic scale around 1. ValueError if there is nothing to draw."""
    values = [ratio for _, _, ratios in drawn for ratio in ratios.values()]
    if not values:
        raise ValueError("nothing to draw")
    least = max((tick for tick in TICKS if tick <= min(*values, 1)), default=TICKS[0])
    most = min((tick for tick in TICKS if tick >= max(*values, 2)), default=TICKS[-1])
    peers = list(dict.fromkeys(who for _, _, ratios in drawn for who in ratios))

    def height(ratio: float) -> float:
        share = math.log(min(max(ratio, least), most) / least) / math.log(most / least)
        return TOP + PLOT_HEIGHT * (1 - share)

    marks, right = _bars(drawn, peers, height)
    body = [
        f'<text x="{LEFT}" y="20" {FONT} font-weight="bold">{escape(title)}</text>',
        *_legend(peers),
        *_axis([tick for tick in TICKS if least <= tick <= most], height, right),
        *marks,
    ]
    size = f'width="{right + 10}" height="{TOP + PLOT_HEIGHT + BOTTOM}"'
    start = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><rect {size} fill="white"/>'
    return "\n".join([start, *body, "</svg>", ""])


def _bars(
    drawn: Sequence[Group], peers: Sequence[str], height: Callable[[float], float]
) -> tuple[list[str], int]:
    """Bars with their figures, steps and sets below; and where the last one ends."""
    marks: list[str] = []
    floor, x, begun, before = height(1), LEFT + GAP, LEFT + GAP, drawn[0][0]
    for name, step, ratios in drawn:
        if name != before:
            marks.append(_set_name(before, begun, x - GAP))
            x += SET_GAP - GAP
            begun, before = x, name
        for number, who in enumerate(peers):
            if who not in ratios:
                continue
            top, left = height(ratios[who]), x + number * BAR
            upper, length = min(top, floor), max(1.0, abs(floor - top))
            colour = COLOURS[number % len(COLOURS)]
            marks.append(
                f'<rect x="{left}" y="{upper:.1f}" width="{BAR - 2}" height="{length:.1f}" fill="{colour}">'
                f"<title>{escape(f'{name}, {step}: {ratios[who]:.2f}x {who}')}</title></rect>"
            )
            marks.append(_upright(f"{ratios[who]:.1f}", left + BAR - 4, upper - 3, "start"))
        middle = x + len(peers) * BAR / 2 + 3
        marks.append(_upright(step, middle, TOP + PLOT_HEIGHT + 6, "end"))
        x += len(peers) * BAR + GAP
    marks.append(_set_name(before, begun, x - GAP))
    return marks, x


def _upright(text: str, x: float, y: float, anchor: str) -> str:
    turn = f'transform="rotate(-90 {x:.1f} {y:.1f})"'
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" {turn} text-anchor="{anchor}" {FONT}>{escape(text)}</text>'
    )


def _set_name(name: str, left: float, right: float) -> str:
    y = TOP + PLOT_HEIGHT + BOTTOM - 10
    return (
        f'<text x="{(left + right) / 2:.1f}" y="{y}" text-anchor="middle" {FONT} '
        f'font-weight="bold">{escape(name)}</text>'
    )


def _legend(peers: Sequence[str]) -> list[str]:
    marks, x = [], LEFT
    for number, who in enumerate(peers):
        marks.append(
            f'<rect x="{x}" y="32" width="10" height="10" fill="{COLOURS[number % len(COLOURS)]}"/>'
            f'<text x="{x + 15}" y="41" {FONT}>times as fast as {escape(who)}</text>'
        )
        x += 60 + 6 * len(f"times as fast as {who}")
    return marks


def _axis(ticks: Sequence[float], height: Callable[[float], float], right: int) -> list[str]:
    return [
        f'<line x1="{LEFT}" x2="{right}" y1="{height(tick):.1f}" y2="{height(tick):.1f}" '
        f'stroke="{"#333" if tick == 1 else "#ddd"}"/>'
        f'<text x="{LEFT - 6}" y="{height(tick) + 4:.1f}" text-anchor="end" {FONT}>{tick:g}x</text>'
        for tick in ticks
    ]

"""Bars as SVG, on a logarithmic scale: what is compared differs by a factor of a thousand."""

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _ROW, _TOP = 640, 190, 26, 44
_OURS, _OTHERS = "#0b6bcb", "#9aa7b4"
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#1b1f24}.t{font-weight:600;font-size:15px}"
    ".s{fill:#57606a;font-size:11px}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9198a1}}"
)


def bars(title: str, unit: str, figures: Mapping[str, float]) -> str:
    """One bar a figure, the shortest first; ours stands out."""
    least = min(value for value in figures.values() if value > 0)
    most = max(figures.values())
    # The shortest bar is one tenth of its decade, so that it is seen.
    begin = math.log10(least) - 0.3
    span = (math.log10(most) - begin) or 1.0
    height = _TOP + _ROW * len(figures) + 10
    size = f'width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        f"<style>{_STYLE}</style>",
        f'<text class="t" x="0" y="18">{escape(title)}, {unit}</text>',
        '<text class="s" x="0" y="34">less is better; logarithmic scale</text>',
    ]
    for place, (name, value) in enumerate(sorted(figures.items(), key=lambda each: each[1])):
        top = _TOP + _ROW * place
        share = (math.log10(value) - begin) / span if value > 0 else 0.0
        width = max(2.0, share * (_WIDTH - _LEFT - 80))
        colour = _OURS if name.startswith("Interlingua") else _OTHERS
        said = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
        parts += [
            f'<text x="0" y="{top + 16}">{escape(name)}</text>',
            f'<rect x="{_LEFT}" y="{top + 3}" width="{width:.1f}" height="18" fill="{colour}"/>',
            f'<text x="{_LEFT + width + 6:.1f}" y="{top + 16}">{said}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])

"""The colours of forward, backward and update: readable on their papers, and told apart in grey."""

import re
from importlib.resources import files

import pytest

SHEET = (files("tinygrad_ce.report") / "palette.css").read_text(encoding="utf-8")
LIGHT, DARK = (dict(re.findall(r"--([\w-]+): (#\w{6})", part)) for part in SHEET.split("@media (prefers-color-scheme"))
PHASES = ("forward", "backward", "update")


def luminance(colour):
    """As WCAG 2.2 defines it (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a, b):
    dark, light = sorted(map(luminance, (a, b)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_a_phase_is_read_on_every_paper_and_told_from_the_next_without_its_hue(colours):
    for phase in PHASES:
        for paper in ("paper", "card", f"{phase}-paper"):
            assert contrast(colours[phase], colours[paper]) >= 4.5, (phase, paper)
        assert contrast(colours["ink"], colours[f"{phase}-paper"]) >= 7
    assert contrast(colours["forward"], colours["backward"]) >= 3
    assert contrast(colours["backward"], colours["update"]) >= 3

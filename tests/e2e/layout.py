"""Measures a page as it is laid out: what goes beyond an edge, and words too small to be read."""

from __future__ import annotations

__all__ = ["check_layout"]

from tests.e2e.devtools import Tab

# Elements whose content goes beyond an edge that neither scrolls nor ends in dots.
BEYOND = """[...document.querySelectorAll('main *')].filter((node) => {
  if (!node.clientWidth || node.scrollWidth <= node.clientWidth + 1) return false;
  if (node.closest('svg, select, video')) return false;
  const style = getComputedStyle(node);
  if (style.overflowX === 'visible') return false;
  if (style.textOverflow === 'ellipsis') return !node.title && !node.querySelector('[title]');
  return style.overflowX === 'hidden' || (style.overflowX === 'auto' && style.backgroundImage === 'none');
}).map((node) => node.tagName + '.' + node.className + ' ' + node.textContent.slice(0, 40))"""
# Words of charts and lanes that come out smaller than nine pixels.
SMALL = """[...document.querySelectorAll('main svg text')].filter((text) => {
  const svg = text.ownerSVGElement, box = svg.viewBox.baseVal, shown = svg.getBoundingClientRect().width;
  return shown && parseFloat(getComputedStyle(text).fontSize) * shown / box.width < 9;
}).map((text) => text.textContent)"""


def check_layout(tab: Tab, width: int) -> None:
    """The page is as wide as its window; what is wider than its box scrolls, and shows that; words can be read."""
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run(BEYOND) == []
    assert tab.run(SMALL) == []

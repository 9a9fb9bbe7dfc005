"""The gate for ready-made SVG: a drawing and nothing else may enter the page.

In: SVG text. Out: the same text, once it was read and found to hold only shapes, letters and plain rules.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

__all__ = ["checked_svg"]

_ELEMENTS = frozenset(
    {
        *("svg", "g", "defs", "clipPath", "linearGradient", "radialGradient", "stop", "style", "title", "desc"),
        *("path", "rect", "line", "circle", "ellipse", "polygon", "polyline", "text", "tspan"),
    }
)
_REFUSED_WORDS = ("@import", "javascript:", "expression(", "http:", "https:", "//", "data:")


def checked_svg(svg: str) -> str:
    """The SVG itself; ValueError names what does not belong into a picture.

    >>> checked_svg("<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>")
    Traceback (most recent call last):
    ValueError: a picture may not hold the element 'script'
    """
    if "<!" in svg or "<?" in svg:
        raise ValueError("a picture may not hold declarations or comments")
    root = ET.fromstring(svg)  # noqa: S314 - declarations, and so entities, are refused above
    for element in root.iter():
        tag = element.tag.rpartition("}")[2]
        if tag not in _ELEMENTS:
            raise ValueError(f"a picture may not hold the element {tag!r}")
        for key, value in element.attrib.items():
            name = key.rpartition("}")[2].lower()
            outside = "url(" in value and "url(#" not in value
            if name.startswith("on") or (name == "href" and not value.startswith("#")) or outside:
                raise ValueError(f"a picture may not hold the attribute {name!r}")
        if tag == "style" and any(word in (element.text or "") for word in (*_REFUSED_WORDS, "url(")):
            raise ValueError("a picture's style may not point outside")
    return svg

"""The links on a page of HTML. Law: text in, text out; nothing of what the links mean."""

from __future__ import annotations

from html.parser import HTMLParser


class _Links(HTMLParser):
    """Collects where a page's links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.found.extend(value for name, value in attrs if name == "href" and value)


def links_of(page: str) -> list[str]:
    """Return where the links of a page lead, as it has them, in order."""
    links = _Links()
    links.feed(page)
    return links.found

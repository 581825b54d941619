"""What a page or a mail says and does, as a browser understands its HTML."""

from __future__ import annotations

from html.parser import HTMLParser


class Reading(HTMLParser):
    """The words of a text, the values of its fields, and whatever in it would run."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.values: list[str] = []
        self.tags: set[str] = set()
        self.runs: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        given = {name: value or "" for name, value in attrs}
        self.values += given.values()
        if tag == "script" and not given.get("src", "").startswith("/static/"):
            self.runs.append(str(self.get_starttag_text()))
        for name, value in given.items():
            if name.startswith("on") or value.strip().lower().startswith("javascript:"):
                self.runs.append(str(self.get_starttag_text()))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All words and values, with single spaces."""
        return " ".join(" ".join([*self.words, *self.values]).split())

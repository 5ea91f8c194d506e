"""The hook of `mkdocs.yml`: pages that stand outside docs/, and links that leave it.

Pages link as they stand in the repository (`../CHANGELOG.md`), so that they work where the repository is looked at. On the site such a
link leads to the page that the file became, else to the repository where its address is known (`JUNKDNA_REPOSITORY`), else it is text.
"""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.treeprocessors import Treeprocessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
COPIED = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "README.md": "index.md",  # the site's own first page stands for it
}
ORIGINS = {page: origin for origin, page in COPIED.items() if page != "index.md"}


class Links(Treeprocessor):
    """Turns links of one page from the repository's places to the site's."""

    def __init__(self, md: Markdown, place: Place) -> None:
        super().__init__(md)
        self.place = place

    def run(self, root: Element) -> None:
        for element in list(root.iter("a")):
            target = element.get("href")
            if not target:
                continue
            if turned := self.place.turned(target):
                element.set("href", turned)
            else:
                element.tag = "span"
                del element.attrib["href"]
        for element in root.iter("img"):
            element.set("src", self.place.turned(element.get("src", "")) or "")


class Place(Extension):
    """Where the page that is being made stands in the repository and on the site."""

    page = "index.md"
    repository = ""

    def extendMarkdown(self, md: Markdown) -> None:
        md.treeprocessors.register(
            Links(md, self), "repository_links", 5
        )  # before mkdocs' own, of priority 0

    def turned(self, link: str) -> str | None:
        """The link as the site needs it; None where it leads nowhere there."""
        parts = urlsplit(link)
        if parts.scheme or parts.netloc or not parts.path:
            return link
        folder = posixpath.dirname(ORIGINS.get(self.page, f"docs/{self.page}"))
        file = posixpath.normpath(posixpath.join(folder, parts.path))
        anchor = f"#{parts.fragment}" if parts.fragment else ""
        if file == "README.md":
            anchor = ""
        if (page := COPIED.get(file, file.removeprefix("docs/"))) != file:
            return posixpath.relpath(page, posixpath.dirname(self.page) or ".") + anchor
        if not (ROOT / file).exists():
            return link  # mkdocs says so
        kind = "tree" if (ROOT / file).is_dir() else "blob"
        return f"{self.repository}/{kind}/main/{file}{anchor}" if self.repository else None


PLACE = Place()


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    # As `repo_url`, the theme would ask the address's own host for its stars whenever the site is read.
    if repository := config.extra.get("repository"):
        PLACE.repository = repository.rstrip("/").removesuffix(".git")
        config.extra["social"] = [
            {"icon": "fontawesome/brands/git-alt", "link": repository, "name": "Repository"}
        ]
    config.markdown_extensions.append(PLACE)  # type: ignore[arg-type]
    return config


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    for page, origin in ORIGINS.items():
        files.append(File.generated(config, page, content=(ROOT / origin).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    PLACE.page = page.file.src_uri
    return markdown

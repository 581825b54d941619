"""The two languages of the pages: English in the source, Korean in one .po file per area.

The .po files are read and merged in memory when the process starts, so there is no compiled
catalogue to forget and none in the repository.
"""

from __future__ import annotations

from functools import cache, lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, Response, g, has_request_context, request
from flask_babel import Babel, Domain, force_locale, get_locale
from flask_babel.speaklater import LazyString
from markupsafe import Markup, escape

LANGUAGES = {"ko": "한국어", "en": "English"}
DEFAULT_LANGUAGE = "ko"
COOKIE = "lang"
COOKIE_SECONDS_MAX = 365 * 24 * 3600
TIME_ZONE = "Asia/Seoul"
_PRINTED_MAX = 5_000
TRANSLATIONS = Path(__file__).parent / "translations"

__all__ = ["_", "force_locale", "gettext", "init_i18n", "language", "lazy", "ngettext"]


def gettext(text: str, **variables: object) -> str:
    """This function will say a text in the reader's language, its variables filled in."""
    said = catalogue(language()).gettext(text)
    return said % variables if variables else said


def ngettext(one: str, many: str, num: int, **variables: object) -> str:
    """This function will say how many there are, `%(num)d` or any variable given."""
    return catalogue(language()).ngettext(one, many, num) % {"num": num, **variables}


_ = gettext


class _Later(LazyString):  # type: ignore[misc]
    """A text that is said when it is printed; a page need not ask it twice for how to escape it."""

    def __html__(self) -> Markup:
        return escape(str(self))


def lazy(text: str) -> _Later:
    """This function will say a text wherever it is printed, in the language of its reader then."""
    return _Later(gettext, text)


def init_i18n(app: Flask) -> None:
    """This function will make the application speak the reader's language on every page."""
    _Pages(app, default_locale=DEFAULT_LANGUAGE, default_timezone=TIME_ZONE, locale_selector=choose)
    # `_` is for texts that stand in templates; what comes from elsewhere is `worded`, and escaped.
    app.jinja_env.globals.update(language=language, LANGUAGES=LANGUAGES, _=_printed, worded=gettext)
    app.jinja_env.add_extension("jinja2.ext.do")
    app.after_request(_remember)


def _printed(text: str, **variables: object) -> Markup:
    """A text on a page; what is filled in is escaped. Jinja's own takes five calls for it."""
    said = _marked(language(), text)
    return said % variables if "%" in said else said


@lru_cache(maxsize=_PRINTED_MAX)
def _marked(locale: str, text: str) -> Markup:
    """A text as it stands in a page, kept: a page prints some hundred of them."""
    return Markup(catalogue(locale).gettext(text))  # noqa: S704 - our own words


def language() -> str:
    """This function will return the language of the page being made: `ko` or `en`."""
    try:
        # A page asks some two hundred times; what Flask-Babel found first holds for all of it.
        return str(g._get_current_object()._flask_babel.babel_locale.language)
    except (AttributeError, RuntimeError):
        locale = get_locale()
        return str(locale.language) if locale else DEFAULT_LANGUAGE


def choose() -> str:
    """This function will pick the language: `?lang=`, then the cookie, then the browser's wish.

    Outside a request (a command, a job) it is Korean unless `force_locale` says otherwise.
    """
    if not has_request_context():
        return DEFAULT_LANGUAGE
    for wish in (request.args.get("lang"), request.cookies.get(COOKIE)):
        if wish in LANGUAGES:
            return wish
    return request.accept_languages.best_match(list(LANGUAGES)) or DEFAULT_LANGUAGE


def _remember(response: Response) -> Response:
    wish = request.args.get("lang")
    if wish in LANGUAGES and request.cookies.get(COOKIE) != wish:
        response.set_cookie(
            COOKIE,
            wish,
            max_age=COOKIE_SECONDS_MAX,
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
    if response.mimetype == "text/html":
        response.headers["Content-Language"] = language()
        response.vary.update(("Accept-Language", "Cookie"))
    return response


@cache
def catalogue(locale: str) -> NullTranslations:
    """This function will return every area's .po file of one language as one catalogue."""
    merged: NullTranslations = NullTranslations()
    # One area after the other, for what is read of one is let go with it. What two of them say is
    # said as in the first.
    for file in sorted((TRANSLATIONS / locale).glob("*.po"), reverse=True):
        compiled = BytesIO()
        write_mo(compiled, read_catalogue(file))
        compiled.seek(0)
        area = Translations(compiled)
        merged = merged.merge(area) if isinstance(merged, Translations) else area
    return merged


def read_catalogue(file: Path) -> Catalog:
    """This function will parse one .po file; a malformed one raises with its line."""
    with file.open("rb") as handle:
        return read_po(handle, locale=file.parent.name, abort_invalid=True)


class _Merged(Domain):  # type: ignore[misc]
    """Flask-Babel's domain, fed from memory in place of .mo files on disk."""

    def get_translations(self) -> Any:
        return catalogue(language())


class _Pages(Babel):  # type: ignore[misc]
    @property
    def domain_instance(self) -> Domain:
        return _Merged()

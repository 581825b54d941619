"""The public site: what it is, what it costs, the trial form and what follows it."""

from __future__ import annotations

from flask import Blueprint

from app.web.site.confirmation import confirmation
from app.web.site.pages import pages
from app.web.site.trial import trial
from app.web.site.visits import note_page, visits

site = Blueprint("site", __name__)
for part in (pages, trial, confirmation, visits):
    site.register_blueprint(part)
site.after_request(note_page)

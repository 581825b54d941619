"""The words of the review pages: tabs, acts, grounds, and who was first."""

from __future__ import annotations

from app.base.errors import Conflict
from app.web.format import moment
from app.web.i18n import _, lazy
from tenants.review import Claimed, Decided

TAB_NAMES = {
    "confirmed": lazy("To review"),
    "submitted": lazy("Mail not confirmed"),
    "approved": lazy("Approved"),
    "rejected": lazy("Rejected"),
}
ACTS = {
    "application.submitted": (lazy("Applied"), "calm"),
    "application.confirmed": (lazy("Confirmed the e-mail"), "calm"),
    "application.claimed": (lazy("Took it for review"), "calm"),
    "application.released": (lazy("Gave it back to the queue"), "calm"),
    "application.approved": (lazy("Approved"), "good"),
    "application.rejected": (lazy("Rejected"), "bad"),
    "application.erased": (lazy("Erased"), "calm"),
}
GROUND_NAMES = {
    "not_verified": lazy("The company could not be verified"),
    "not_a_fit": lazy("Our product does not fit"),
    "duplicate": lazy("The company is with us already"),
    "capacity": lazy("No room for more trials now"),
    "other": lazy("Another reason"),
}
SHARED_NAMES = {
    "registration_number": lazy("same registration number"),
    "email": lazy("same e-mail"),
    "email_domain": lazy("same e-mail domain"),
    "phone": lazy("same phone"),
}
# Ready sentences in the applicant's language, to begin a reason with.
GROUND_SENTENCES = {
    "not_verified": {
        "ko": "적어 주신 사업자등록번호로 회사를 확인하지 못했어요. "
        "번호와 회사 이름을 다시 확인해 주세요.",
        "en": "We could not verify the company by the registration number you gave. Please check "
        "the number and the name.",
    },
    "not_a_fit": {
        "ko": "설명해 주신 용도에는 저희 제품이 맞지 않는다고 보았어요.",
        "en": "For the use that you describe our product would not be a good fit.",
    },
    "duplicate": {
        "ko": "같은 회사의 작업 공간이 이미 있어요. 사내 관리자에게 초대를 부탁해 주세요.",
        "en": "Your company has a workspace already. Please ask its administrator to invite you.",
    },
    "capacity": {
        "ko": "지금은 새 체험을 더 열 수 없어요. 다음 달에 다시 신청해 주세요.",
        "en": "We can't open more trials just now. Please apply again next month.",
    },
}


def conflict_words(error: Conflict) -> str:
    """This function will say in the reader's language who was first, and when."""
    if isinstance(error, Decided):
        said = {
            "approved": _("%(who)s approved this application at %(when)s."),
            "rejected": _("%(who)s rejected this application at %(when)s."),
        }
        return said[error.state] % {"who": error.by, "when": moment(error.at)}
    if isinstance(error, Claimed):
        return _(
            "%(who)s has been reviewing this application since %(when)s.",
            who=error.by,
            when=moment(error.at),
        )
    return _(error.message)

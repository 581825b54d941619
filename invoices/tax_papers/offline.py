"""The issuer that needs nobody: writes the standard XML, signs it, checks it, and stops there.

It transmits nothing and never says it did: whoever uses it takes the signed XML to the tax service
some other way. What is signed may be in the buyer's hands, so it takes nothing back either.
"""

from __future__ import annotations

from invoices.tax_papers import port, standard
from invoices.tax_papers.bare import BareIssuer


class OfflineIssuer(BareIssuer):
    """Signs here; knows nothing of the tax service."""

    name = "offline"
    abilities = frozenset[port.Ability]()

    def __init__(self, *, registration: str) -> None:
        self._registration = registration

    def issue(self, *, sheet: port.Sheet) -> port.IssueResult:
        """This function will build, sign and check one tax invoice.

        The number follows from the sheet, so the same sheet is the same tax invoice again.
        Raises: CertificateMissing.
        """
        # Pages ask what an issuer is able to; the libraries that sign are 14 MB.
        from invoices.tax_papers import seals, signing, standard_xml  # noqa: PLC0415

        if refused := self._wrong_way(sheet):
            return refused
        issue_id = f"{sheet.paper.written_on:%Y%m%d}{self._registration}{sheet.serial:08d}"
        try:
            root = standard_xml.tree(sheet=sheet, issue_id=issue_id)
        except standard.NotStandard as error:
            return port.Refused("not_standard", str(error))
        seal = seals.seal()
        xml = signing.sign(root=root, seal=seal)
        signing.verify(document=xml, seal=seal)
        return port.Issued(issue_id, xml)

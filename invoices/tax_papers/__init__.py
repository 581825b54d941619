"""Issuers of tax papers: who turns a tax invoice or a cash receipt into one that counts."""

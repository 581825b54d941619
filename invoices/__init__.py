"""The invoices' room: from a price list to a paid, evidenced bill.

catalogue → subscriptions → periods, rating (pure) → invoicing → payment → receipt; the ledger
beside them. An invoice is planned by `schedule`, priced by `rating`, written by `drafting` and made
final by `issuing`; `listing` answers finance's questions about what stands there.
"""

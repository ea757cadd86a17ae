"""Whose contact points were given out: rows in a table of their own, for which an entry of the audit log stands.

The entry of a lookup holds a digest of its rows, made by the statement that writes them; so a lookup of 1,000 customers is
one entry of the chain, and a row that is changed, added or taken away shows as well as a changed entry does.
"""

# Over the rows of one lookup, in the order in which they were written.
DIGEST = """
    encode(sha256(convert_to(string_agg(concat_ws('|', disclosure_id, extract(epoch from asked_at), asked_by, customer_id,
        purpose, channel, outcome, coalesce(cast(consent_id as text), '-')), ',' order by disclosure_id), 'UTF8')), 'hex')
"""

AUDITED_ROWS = {
    "contact_points_asked": (
        f"select cast(lookup_id as text) as subject, {DIGEST} as digest from disclosure group by lookup_id"
    )
}

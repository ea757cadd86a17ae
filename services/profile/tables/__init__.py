"""The profile database, a file for each noun.

Whatever could tell who a person is lies in a ``…_sealed`` column: ciphertext under a key of that customer alone
(shared/sealing). Everything else is ids, coarse facts and amounts.
"""

from services.profile.tables.activities import activity, activity_type
from services.profile.tables.api_keys import api_key
from services.profile.tables.attributes import attribute_definition, customer_measure, upkeep_policy
from services.profile.tables.belongings import customer_address, owned_product, warranty_extension
from services.profile.tables.consents import confirmation, consent, consent_expiry, consent_text, disclosure
from services.profile.tables.customers import contact, customer, customer_external_id
from services.profile.tables.exports import export, export_block, import_fetch
from services.profile.tables.fulfilments import fulfilment, purchase_cancellation
from services.profile.tables.identities import customer_identity, device_session
from services.profile.tables.imports import (
    import_count,
    import_customer,
    import_key,
    import_mapping,
    import_order,
)
from services.profile.tables.interactions import interaction
from services.profile.tables.merges import duplicate, merge
from services.profile.tables.products import product
from services.profile.tables.purchases import (
    accounting,
    purchase,
    purchase_line,
    purchase_return,
    purchase_return_line,
)
from services.profile.tables.referrals import referral, referral_code, referral_party, referral_programme
from services.profile.tables.regions import region_place, region_set
from services.profile.tables.rights import (
    access_block,
    access_request,
    erasure,
    erasure_receipt,
    forgotten_name,
)
from services.profile.tables.schema import metadata
from services.profile.tables.search import customer_token
from services.profile.tables.sign_ups import sign_up, sign_up_source
from services.profile.tables.suppressions import suppression
from services.profile.tables.tags import customer_tag, tag_change, tag_rule

__all__ = [
    "access_block",
    "access_request",
    "accounting",
    "activity",
    "activity_type",
    "api_key",
    "attribute_definition",
    "confirmation",
    "consent",
    "consent_expiry",
    "consent_text",
    "contact",
    "customer",
    "customer_address",
    "customer_external_id",
    "customer_identity",
    "customer_measure",
    "customer_tag",
    "customer_token",
    "device_session",
    "disclosure",
    "duplicate",
    "erasure",
    "erasure_receipt",
    "export",
    "export_block",
    "forgotten_name",
    "fulfilment",
    "import_count",
    "import_customer",
    "import_fetch",
    "import_key",
    "import_mapping",
    "import_order",
    "interaction",
    "merge",
    "metadata",
    "owned_product",
    "product",
    "purchase",
    "purchase_cancellation",
    "purchase_line",
    "purchase_return",
    "purchase_return_line",
    "referral",
    "referral_code",
    "referral_party",
    "referral_programme",
    "region_place",
    "region_set",
    "sign_up",
    "sign_up_source",
    "suppression",
    "tag_change",
    "tag_rule",
    "upkeep_policy",
    "warranty_extension",
]

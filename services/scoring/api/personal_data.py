"""/customers/{customer_id}/personal-data"""

from uuid import UUID

from services.scoring.tables import customer, metadata
from shared import personal_data
from shared.customers import one_person, owner_of
from shared.http.dependencies import Transaction
from shared.http.routing import Router
from shared.personal_data import PersonalData

router = Router(prefix="/v1/customers/{customer_id}", tags=["rights"])


@router.get("/personal-data", scopes=["rights:read"])
def get_personal_data(customer_id: UUID, session: Transaction) -> PersonalData:
    """Everything that is held here about one person.

    Asked by profile for an access request. 404 where nothing was heard of the customer, 410 for one who was erased.
    """
    owner = owner_of(session, customer, customer_id)
    person = one_person(session, customer, owner)
    return PersonalData(customer_id=owner, sections=personal_data.of_person(session, metadata, person))

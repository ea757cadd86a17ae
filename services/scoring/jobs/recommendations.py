"""Making anew what recommendations are made from."""

from shared import jobs
from shared.jobs.runner import Chunk, JobCancelled, RunningJob
from shared.jobs.schedule import Context

RECOMMENDATIONS = "recommendations"


def renew_recommendations(job: RunningJob) -> None:
    """Make what recommendations are made from anew, beside what is in force, and put it in force in one transaction.

    The job's id is the set's. A run that died starts over; the one that began last gives up any other, which then ends as
    superseded.
    """
    if job.cursor.get("phase") == "done":
        return
    try:
        if not _renew_recommendations(job):
            with job.chunk() as chunk:
                chunk.report["superseded"] = True
                chunk.cursor = {"phase": "done"}
    except JobCancelled:
        from services.scoring.domain import recommendation_sets

        with job.sessions.begin() as session:
            recommendation_sets.give_up(session, job.id)
        raise


def _renew_recommendations(job: RunningJob) -> bool:
    """False where another run has given this one up."""
    from services.scoring.domain import recommendation_sets  # which brings numpy and scipy

    with job.chunk() as chunk:
        as_of = recommendation_sets.begin(chunk.session, job.id)
        chunk.advance(processed=-job.cursor.get("products", 0))
        chunk.cursor = {"phase": "relate", "products": 0, "related": 0}
    with job.chunk() as chunk:
        kept = recommendation_sets.kept_before(chunk.session, as_of)
        chunk.total = len(kept.skus)
    for portion in recommendation_sets.related(kept):
        with job.chunk() as chunk:
            if not recommendation_sets.is_wanted(chunk.session, job.id):
                return False
            rows = recommendation_sets.write_related(chunk.session, job.id, kept.skus, portion)
            _reach(chunk, max((int(block.product.max(initial=-1)) + 1 for block in portion), default=0))
            chunk.cursor["related"] += rows
    with job.chunk() as chunk:
        if not recommendation_sets.is_wanted(chunk.session, job.id):
            return False
        bestsellers = recommendation_sets.write_bestsellers(chunk.session, job.id, as_of)
    with job.chunk() as chunk:
        related = chunk.cursor["related"]
        if not recommendation_sets.take_effect(chunk.session, job.id, related):
            return False
        _reach(chunk, len(kept.skus))
        chunk.report = {"as_of": as_of.isoformat(), "related": related, "bestsellers": bestsellers}
        chunk.cursor = {"phase": "done"}
    return True


def _reach(chunk: Chunk, products: int) -> None:
    """So many products are done; those behind the last one with a row go with nothing."""
    products = max(products, chunk.cursor["products"])
    chunk.advance(processed=products - chunk.cursor["products"])
    chunk.cursor["products"] = products


def renew_recommendations_nightly(context: Context) -> None:
    """After the calibration, from whose segments bestsellers are taken."""
    with context.sessions.begin() as session:
        jobs.create(session, RECOMMENDATIONS, {})

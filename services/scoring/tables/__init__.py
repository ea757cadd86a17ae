"""The scoring database by noun.

Facts (purchase, purchase_return) → metrics, kept current with every event → score and tier, outlook and stage, once there is
a calibration.
Facts belong to the root of the tree of merged customers (``customer_id``) and know for ever under whom they were recorded.
"""

from services.scoring.tables.calibrations import (
    backtest,
    backtest_example,
    calibration,
    calibration_input,
    distribution,
    model,
    policy,
)
from services.scoring.tables.facts import (
    accounting,
    customer,
    metrics,
    product,
    purchase,
    purchase_line,
    purchase_return,
    purchase_return_line,
    satisfaction,
    trait,
)
from services.scoring.tables.learnt import (
    bestseller,
    cluster,
    clustering,
    customer_cluster,
    recommendation_set,
    related_product,
)
from services.scoring.tables.schema import metadata
from services.scoring.tables.standings import (
    manual_tier,
    outlook,
    score,
    stage_change,
    tier,
    tier_change,
    tier_resting,
)
from services.scoring.tables.watch import (
    acquisition,
    acquisition_cost,
    alert,
    alert_customer,
    report,
    watching,
)

__all__ = [
    "accounting",
    "acquisition",
    "acquisition_cost",
    "alert",
    "alert_customer",
    "backtest",
    "backtest_example",
    "bestseller",
    "calibration",
    "calibration_input",
    "cluster",
    "clustering",
    "customer",
    "customer_cluster",
    "distribution",
    "manual_tier",
    "metadata",
    "metrics",
    "model",
    "outlook",
    "policy",
    "product",
    "purchase",
    "purchase_line",
    "purchase_return",
    "purchase_return_line",
    "recommendation_set",
    "related_product",
    "report",
    "satisfaction",
    "score",
    "stage_change",
    "tier",
    "tier_change",
    "tier_resting",
    "trait",
    "watching",
]

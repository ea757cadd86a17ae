"""Long and scheduled work of scoring. Each may die anywhere and go on where its cursor stands."""

from services.scoring.jobs.backtesting import BACKTEST, backtest
from services.scoring.jobs.calibration import CALIBRATION, calibrate, calibrate_nightly
from services.scoring.jobs.clustering import CLUSTERING, cluster, cluster_nightly
from services.scoring.jobs.passing_time import (
    PASSING_TIME,
    TIER_EXPIRY,
    expire_tiers,
    expire_tiers_daily,
    pass_time,
    pass_time_daily,
)
from services.scoring.jobs.recommendations import (
    RECOMMENDATIONS,
    renew_recommendations,
    renew_recommendations_nightly,
)
from services.scoring.jobs.reports import REPORTS, make_reports, make_reports_nightly
from services.scoring.jobs.watching import WATCH, watch, watch_daily
from shared.jobs.runner import JobFunction
from shared.jobs.schedule import Scheduled

JOBS: dict[str, JobFunction] = {
    CALIBRATION: calibrate,
    PASSING_TIME: pass_time,
    TIER_EXPIRY: expire_tiers,
    CLUSTERING: cluster,
    RECOMMENDATIONS: renew_recommendations,
    BACKTEST: backtest,
    WATCH: watch,
    REPORTS: make_reports,
}
SCHEDULE = (
    Scheduled("passing-time", "5 0 * * *", pass_time_daily),
    Scheduled("tier-expiry", "40 0 * * *", expire_tiers_daily),
    Scheduled("watch", "0 1 * * *", watch_daily),
    Scheduled("nightly-calibration", "10 2 * * *", calibrate_nightly),
    Scheduled("nightly-recommendations", "40 2 * * *", renew_recommendations_nightly),
    Scheduled("nightly-clustering", "10 3 * * *", cluster_nightly),
    Scheduled("nightly-reports", "40 3 * * *", make_reports_nightly),
)

"""Groups of customers who buy alike, and what everybody will spend."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

STATEMENTS = (
    """
    create table clustering (
        clustering_id uuid not null,
        calibration_id uuid not null,
        as_of timestamptz not null,
        state text not null,
        clusters jsonb,
        spend jsonb,
        compared bigint default 0 not null,
        kept bigint default 0 not null,
        created_at timestamptz default now() not null,
        effective_at timestamptz,
        constraint pk_clustering primary key (clustering_id)
    )
    """,
    "create unique index ix_clustering_state_current on clustering (state) where state = 'current'",
    """
    create table cluster (
        clustering_id uuid not null,
        label integer not null,
        words jsonb not null,
        leading_features jsonb not null,
        rule jsonb,
        compared bigint default 0 not null,
        kept bigint default 0 not null,
        constraint pk_cluster primary key (clustering_id, label)
    )
    """,
    """
    create table customer_cluster (
        customer_id uuid not null,
        clustering_id uuid not null,
        label integer,
        forecast_90_minor bigint,
        baseline_90_minor bigint,
        constraint pk_customer_cluster primary key (customer_id, clustering_id)
    )
    """,
    """
    create index ix_customer_cluster_clustering_id_label_customer_id
        on customer_cluster (clustering_id, label, customer_id)
    """,
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop table clustering, cluster, customer_cluster")

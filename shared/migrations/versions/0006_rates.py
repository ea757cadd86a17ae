"""How much each credential asked for in the current second."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Unlogged: it is about this very second, and costs no write-ahead log.
    op.execute(
        """
        create unlogged table shared.rate (
            credential_id text not null constraint pk_rate primary key,
            second bigint not null,
            taken integer not null
        )
        """
    )


def downgrade() -> None:
    op.execute("drop table shared.rate")

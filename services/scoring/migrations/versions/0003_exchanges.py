"""A purchase that replaces another counts with it as one."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table purchase add column counts_with uuid")
    op.execute("create index ix_purchase_counts_with on purchase (counts_with) where counts_with is not null")


def downgrade() -> None:
    op.execute("alter table purchase drop column counts_with")

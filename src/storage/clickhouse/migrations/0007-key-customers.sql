-- Which customers a key may report for, for keys that do not report for all: what such a key tells of a VM without its customer counts
-- for these alone. Of each such key there is one row with an empty customer, which says that it is one. A key never gets more customers.
CREATE TABLE IF NOT EXISTS key_customers (
  credential_id LowCardinality(String),
  customer_id String
)
ENGINE = ReplacingMergeTree
ORDER BY (credential_id, customer_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

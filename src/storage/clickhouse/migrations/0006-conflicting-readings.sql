-- The instants at which a VM's readings were reported with different values, so that they are found without looking through all
-- readings. The rollup notes those of the hours that it computes; here are those of before.
CREATE TABLE IF NOT EXISTS conflicting_readings (
  customer_id String,
  vm_id String,
  sampled_at DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(sampled_at)
ORDER BY (customer_id, vm_id, sampled_at)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

INSERT INTO conflicting_readings (customer_id, vm_id, sampled_at)
SELECT customer_id, vm_id, sampled_at FROM counter_samples
GROUP BY customer_id, vm_id, sampled_at HAVING min(value_hash) != max(value_hash)
SETTINGS optimize_aggregation_in_order = 1, max_partitions_per_insert_block = 0;

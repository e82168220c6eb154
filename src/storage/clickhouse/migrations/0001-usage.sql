-- The windows as the hosts report them, forever as reported. Equal copies of a window have the same sorting key and
-- collapse: the first received is kept. Windows of the same key and other values differ in value_hash and both stay.
--
-- Codecs by measurement, on 1.02 million windows of the bench's fleet: 60.1 bytes a window without any, 43.4 with ZSTD(1) on
-- everything, 42.5 with T64 and LZ4, 39.0 with T64 and ZSTD(1), about 36 as below. Counters vary in their low bits, which
-- T64('bit') packs; memory repeats its values, which ZSTD finds by itself; a hash cannot be packed at all.
CREATE TABLE IF NOT EXISTS windows (
  customer_id String,
  vm_id String,
  window_start DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4),
  window_end DateTime64(9, 'UTC') CODEC(DoubleDelta, LZ4),
  value_hash UInt64 CODEC(NONE),
  region LowCardinality(String),
  sampled_at DateTime64(9, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  cpu_time_nanos UInt64 CODEC(T64('bit'), ZSTD(1)),
  cpu_utilization_pct Float64 CODEC(ZSTD(1)),
  cpu_cores_used Float64 CODEC(ZSTD(1)),
  memory_bytes_used UInt64 CODEC(ZSTD(1)),
  memory_bytes_peak UInt64 CODEC(ZSTD(1)),
  memory_byte_seconds UInt64 CODEC(T64('bit'), ZSTD(1)),
  disk_read_bytes UInt64 CODEC(T64('bit'), ZSTD(1)),
  disk_write_bytes UInt64 CODEC(T64('bit'), ZSTD(1)),
  disk_read_ops UInt64 CODEC(T64('bit'), ZSTD(1)),
  disk_write_ops UInt64 CODEC(T64('bit'), ZSTD(1)),
  network_rx_bytes UInt64 CODEC(T64('bit'), ZSTD(1)),
  network_tx_bytes UInt64 CODEC(T64('bit'), ZSTD(1)),
  boot_id String,
  instance_id String,
  sequence UInt64 CODEC(Delta, ZSTD(1)),
  credential_id LowCardinality(String),
  -- 2^63-1 minus the Unix nanoseconds of receipt: the earliest report has the greatest.
  precedence UInt64 CODEC(Delta, ZSTD(1)),
  received_at DateTime64(9, 'UTC') ALIAS fromUnixTimestamp64Nano(toInt64(9223372036854775807 - precedence), 'UTC')
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(window_start)
ORDER BY (customer_id, vm_id, window_start, window_end, value_hash)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What each VM used in each hour, computed anew from windows whenever that hour was touched. The greatest version holds.
-- Sums of hours need the carried columns: a window across an hour's edge counts in both hours, and
-- `windows - windows_carried` counts it once, where it starts; `conflicts_carried` does the same for conflicts.
-- `unobserved_nanos` is the time inside the hour right before this region's windows that no window of the VM covered: with
-- it, expected time can be summed by region even where a VM changes regions within an hour.
CREATE TABLE IF NOT EXISTS usage_hours (
  customer_id String,
  hour DateTime('UTC'),
  region LowCardinality(String),
  vm_id String,
  cpu_time_nanos UInt128,
  memory_byte_seconds UInt128,
  disk_read_bytes UInt128,
  disk_write_bytes UInt128,
  disk_read_ops UInt128,
  disk_write_ops UInt128,
  network_rx_bytes UInt128,
  network_tx_bytes UInt128,
  observed_nanos UInt64,
  unobserved_nanos UInt64,
  windows UInt64,
  windows_carried UInt64,
  conflicts UInt64,
  conflicts_carried UInt64,
  first_start DateTime64(9, 'UTC'),
  last_end DateTime64(9, 'UTC'),
  gaps Array(Tuple(start DateTime64(9, 'UTC'), end DateTime64(9, 'UTC'))),
  version UInt64,
  is_deleted UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY toYYYYMM(hour)
ORDER BY (customer_id, hour, region, vm_id)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- The hours that new windows touched: what the rollup has to compute anew.
CREATE TABLE IF NOT EXISTS touched_hours (
  drain_id UUID,
  customer_id String,
  hour DateTime('UTC'),
  touched_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY (customer_id, hour)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What an hour was computed from: the sum, modulo 2^128, of sipHash128(vm_id, window_start, window_end, value_hash) over
-- the reports that counted. A window that changes, comes or goes changes it, also where the sums stay the same.
ALTER TABLE usage_hours ADD COLUMN IF NOT EXISTS windows_hash UInt128 DEFAULT 0;

-- Versions are times of the rollup, so that hours computed after an invoice was made are found without reading the others.
ALTER TABLE usage_hours ADD INDEX IF NOT EXISTS by_version version TYPE minmax GRANULARITY 1;

-- Readings of counters, as they were sent. The windows between them are derived when an hour is computed, so that neither
-- order nor repetition matters. `counters` says how to read a row: totals since the boot, or deltas since the reading before.
-- `memory_byte_seconds` is the integral since `linked_to`, the reading before it in the same batch; without one (1970) the
-- derived window takes the mean of the two readings' `memory_bytes_used`.
CREATE TABLE IF NOT EXISTS counter_samples (
  customer_id String,
  vm_id String,
  sampled_at DateTime64(9, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  value_hash UInt64 CODEC(NONE),
  counters Enum8('delta' = 1, 'cumulative' = 2),
  boot_id String,
  region LowCardinality(String),
  linked_to DateTime64(9, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  cpu_time_nanos UInt64 CODEC(Delta, ZSTD(1)),
  memory_bytes_used UInt64 CODEC(ZSTD(1)),
  memory_byte_seconds UInt64 CODEC(ZSTD(1)),
  disk_read_bytes UInt64 CODEC(Delta, ZSTD(1)),
  disk_write_bytes UInt64 CODEC(Delta, ZSTD(1)),
  disk_read_ops UInt64 CODEC(Delta, ZSTD(1)),
  disk_write_ops UInt64 CODEC(Delta, ZSTD(1)),
  network_rx_bytes UInt64 CODEC(Delta, ZSTD(1)),
  network_tx_bytes UInt64 CODEC(Delta, ZSTD(1)),
  instance_id String,
  credential_id LowCardinality(String),
  precedence UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(sampled_at)
ORDER BY (customer_id, vm_id, sampled_at, value_hash)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What hosts say of their VMs. Who does not name the customer leaves it empty, and the VM's windows say whose it is.
-- `until` is `at`, but for a possible gap, which it ends.
CREATE TABLE IF NOT EXISTS vm_events (
  vm_id String,
  at DateTime64(9, 'UTC'),
  kind Enum8('started' = 1, 'stopped' = 2, 'possible_gap' = 3),
  customer_id String,
  region LowCardinality(String),
  until DateTime64(9, 'UTC'),
  instance_id String,
  credential_id LowCardinality(String),
  precedence UInt64
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(at)
ORDER BY (vm_id, at, kind, customer_id, region)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Which VMs a host said were running, a row per heartbeat.
CREATE TABLE IF NOT EXISTS heartbeats (
  received_at DateTime64(9, 'UTC'),
  credential_id LowCardinality(String),
  instance_id String,
  region LowCardinality(String),
  vm_ids Array(String)
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (received_at, credential_id, instance_id)
TTL toDateTime(received_at) + INTERVAL 35 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What was not taken, and why. `metrics` is the window as JSON of billing.v1.BillingMetrics, empty where it could not be
-- decoded.
CREATE TABLE IF NOT EXISTS refused_windows (
  received_at DateTime64(9, 'UTC'),
  id UUID,
  customer_id String,
  credential_id LowCardinality(String),
  instance_id String,
  code LowCardinality(String),
  field LowCardinality(String),
  message String CODEC(ZSTD(1)),
  metrics String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (received_at, id)
TTL toDateTime(received_at) + INTERVAL 35 DAY
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Which of several reports of a window counts, where somebody decided; the latest decision holds.
CREATE TABLE IF NOT EXISTS conflict_resolutions (
  customer_id String,
  vm_id String,
  window_start DateTime64(9, 'UTC'),
  window_end DateTime64(9, 'UTC'),
  value_hash UInt64,
  resolved_by String,
  resolved_at DateTime64(9, 'UTC'),
  reason String
)
ENGINE = ReplacingMergeTree(resolved_at)
PARTITION BY toYYYYMM(window_start)
ORDER BY (customer_id, vm_id, window_start, window_end)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What could be filled in for gaps of at most an hour that a later window of the VM ended, a row per gap and hour that it
-- reaches into: the part of the gap in that hour, once linear between the windows around it, once at the rate of the one
-- before. Computed anew with the hour, never added to `usage_hours`; whether it is billed is the plan's choice. The region
-- is that of the window after the gap.
CREATE TABLE IF NOT EXISTS usage_estimates (
  customer_id String,
  hour DateTime('UTC'),
  region LowCardinality(String),
  vm_id String,
  gap_start DateTime64(9, 'UTC'),
  gap_end DateTime64(9, 'UTC'),
  nanos UInt64,
  interpolated_cpu_time_nanos UInt128,
  interpolated_memory_byte_seconds UInt128,
  interpolated_disk_read_bytes UInt128,
  interpolated_disk_write_bytes UInt128,
  interpolated_disk_read_ops UInt128,
  interpolated_disk_write_ops UInt128,
  interpolated_network_rx_bytes UInt128,
  interpolated_network_tx_bytes UInt128,
  carried_cpu_time_nanos UInt128,
  carried_memory_byte_seconds UInt128,
  carried_disk_read_bytes UInt128,
  carried_disk_write_bytes UInt128,
  carried_disk_read_ops UInt128,
  carried_disk_write_ops UInt128,
  carried_network_rx_bytes UInt128,
  carried_network_tx_bytes UInt128,
  version UInt64,
  is_deleted UInt8
)
ENGINE = ReplacingMergeTree(version, is_deleted)
PARTITION BY toYYYYMM(hour)
ORDER BY (customer_id, hour, vm_id, gap_start, region)
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- Heads of the audit trail as they were: out of reach of whoever can change PostgreSQL alone.
CREATE TABLE IF NOT EXISTS audit_anchors (
  sequence UInt64,
  hash FixedString(32),
  anchored_at DateTime64(9, 'UTC')
)
ENGINE = MergeTree
ORDER BY sequence
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1;

-- What is known of a VM beside its windows: 1 where its first sign in the hour is a start notice, so that it did not run
-- before; 2 where the last is a stop notice, so that it did not run after; 3 for both.
ALTER TABLE usage_hours ADD COLUMN IF NOT EXISTS edges UInt8 DEFAULT 0;

-- The first reading of a boot is looked for among all readings of a VM; the granules of its other boots are skipped.
ALTER TABLE counter_samples ADD INDEX IF NOT EXISTS by_boot boot_id TYPE set(8) GRANULARITY 1;

-- Sums of hours need these. A window across an hour's edge counts in both hours: `windows - windows_carried` counts it
-- once, where it starts, and `conflicts_carried` does the same for conflicts. `unobserved_nanos` is the time inside the
-- hour right before this region's windows that no window of the VM covered: with it, expected time can be summed by
-- region even where a VM changes regions within an hour.
ALTER TABLE usage_hours
  ADD COLUMN IF NOT EXISTS unobserved_nanos UInt64 AFTER observed_nanos,
  ADD COLUMN IF NOT EXISTS windows_carried UInt64 AFTER windows,
  ADD COLUMN IF NOT EXISTS conflicts_carried UInt64 AFTER conflicts;

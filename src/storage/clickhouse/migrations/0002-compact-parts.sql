-- Fresh parts are one file instead of sixty. Each file of a part is synced with its insert, and making files was 15 % of
-- ClickHouse's CPU at full rate: the file system looks for an inode among those of the parts that merges just removed.
ALTER TABLE windows MODIFY SETTING min_bytes_for_wide_part = 268435456;

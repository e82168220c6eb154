-- Ten parts of like size become one, where it were five: each window is merged half as often, and merging is what costs ClickHouse
-- most at full rate. A query of one customer reads a granule of a few more parts.
ALTER TABLE windows MODIFY SETTING merge_selector_base = 10;

-- A signature of the words of each name, so that a search may walk an order in its index alone.
--
-- Why: a row that is walked costs a page of the table, 2 us even when all is in memory, and nearly all of them are walked only to be passed
-- over. 63 bits tell most of those beside the key of the order, at a tenth of the cost. Why in torrent_stats too: the order by seeders is
-- an index of that table. Why -1: all bits are set, so what was stored before may have any word until it is made again. It is a
-- constant, so no row is rewritten.

alter table torrents add column signature int8 not null default -1;
alter table torrent_stats add column signature int8 not null default -1;

-- Whether words are looked up or an order is walked changes at some thousands of rows. Two thousand words tell that; ten thousand
-- took the planner 0.2 ms each time that it read them.
alter table torrents alter tsv set statistics 200;
alter table torrent_files alter paths set statistics 200;

-- An index alone says that a row is there only where a vacuum has been since the page was written; and the newest rows, which
-- are looked for most, are those that were written last.
alter table torrents set (autovacuum_vacuum_insert_threshold = 10000, autovacuum_vacuum_insert_scale_factor = 0.01,
  autovacuum_vacuum_scale_factor = 0.05);
alter table torrent_stats set (autovacuum_vacuum_insert_threshold = 10000, autovacuum_vacuum_insert_scale_factor = 0.01,
  autovacuum_vacuum_scale_factor = 0.05);

-- What an import cannot know, and in which transaction a torrent was stored.
--
-- Why null instead of 0: other indexers keep no piece length, and 0 would look like an answer. Why the transaction and not
-- the time: an export of what is new since the last one must not miss rows that are committed late, nor those that an
-- import stores with a time long past. What was stored by a transaction below the oldest one that still runs is there for
-- good.

alter table torrents
  alter piece_length drop not null,
  alter piece_count drop not null,
  alter private drop not null,
  add files_whole boolean not null default true,  -- false: files are missing in the list; file_count is what is known
  add stored_in int8;                             -- null: before this column was there
-- In a statement of its own, so that the rows that are there need not be rewritten.
alter table torrents alter stored_in set default pg_current_xact_id()::text::int8;

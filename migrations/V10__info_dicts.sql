-- Info dicts byte for byte, for .torrent files and for peers that ask; and what is known of a fetch that a user waits for.
--
-- Why a table of its own: most of an info dict are hashes of pieces, which nobody searches and nothing compresses, so it is
-- kept only where it is wanted, and its pages never stand between those that a search reads. Why the peers and the progress
-- stand in the backlog: whoever waits for a hash may be another process than the one that fetches it, on another machine.

create table info_dicts (
  kept_until timestamptz,                  -- null: for good
  fmt        int2 not null,                -- 0 as it is, 1 zstd
  info_hash  bytea primary key check (octet_length(info_hash) = 20),
  data       bytea not null
);
-- What zstd makes smaller is compressed already.
alter table info_dicts alter data set storage external;
create index info_dicts_until on info_dicts (kept_until) where kept_until is not null;

alter table backlog
  add column peers bytea not null default '',  -- named by the user: compact endpoints, each behind its length
  add column progress text;                    -- JSON, of a requested hash that is being fetched

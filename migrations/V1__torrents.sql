-- Torrents, and what belongs to each of them.
--
-- Why four tables: a row that carries a GIN index is expensive to rewrite, so what never changes (torrents) stands
-- apart from what changes with every announce (torrent_stats) and from what only a few readers need
-- (torrent_files). Why info_hash is in every unique key: the tables can be distributed by it as they are.
--
-- info_hash is the canonical key: the SHA-1 of a v1 or hybrid torrent, the truncated SHA-256 of one that is only v2.
-- So a torrent has a v1 hash exactly when v2 is null or does not begin with info_hash.

create table torrents (
  total_size    int8 not null check (total_size >= 0),
  piece_length  int8 not null,
  added_at      timestamptz not null default now(),
  file_count    int4 not null,
  piece_count   int4 not null,
  popularity    int2 not null default 0,   -- log2 bucket of the score, rewritten only when the bucket changes
  tok_ver       int2 not null,             -- version of the tokeniser that made tsv
  discovered_by int2 not null,             -- 1 sampled, 2 overheard, 3 announced, 4 requested
  private       boolean not null,
  info_hash     bytea primary key check (octet_length(info_hash) = 20),
  v2            bytea check (octet_length(v2) = 32),
  name          text not null,
  name_raw      bytea,                     -- the bytes of the name, when its text is not all of it
  source        text,
  tsv           tsvector not null          -- lexemes of the name, with positions
);
-- The planner's estimate decides how a search is done: it must know many lexemes.
alter table torrents alter tsv set statistics 1000;
create index torrents_tsv on torrents using gin (tsv) with (fastupdate = on, gin_pending_list_limit = 4096);
create index torrents_newest on torrents (added_at desc, info_hash);
create index torrents_popular on torrents (popularity desc, added_at desc, info_hash);
create index torrents_largest on torrents (total_size desc, info_hash);

-- All files of a torrent as one packed value: a row for each takes 3 to 4 times the space.
create table torrent_files (
  fmt       int2 not null,                 -- how data is packed
  tok_ver   int2 not null,
  info_hash bytea primary key,
  paths     tsvector,                      -- lexemes of name and paths, without positions; null: the name says it all
  data      bytea not null
);
-- It is compressed already.
alter table torrent_files alter data set storage external;
alter table torrent_files alter paths set statistics 1000;
create index torrent_files_paths on torrent_files using gin (paths)
  with (fastupdate = on, gin_pending_list_limit = 4096);

-- Other keys by which the DHT knows a torrent: of a hybrid, its truncated v2 hash.
create table aliases (
  alias     bytea primary key check (octet_length(alias) = 20),
  info_hash bytea not null
);

create table torrent_stats (
  info_hash  bytea primary key,
  score      float8 not null default 0,    -- observed announces, as they weighed at score_at
  score_at   timestamptz not null default now(),
  seen_count int8 not null default 1,
  last_seen  timestamptz not null default now(),
  seeders    int4 not null default 0,
  leechers   int4 not null default 0,
  scraped_at timestamptz
) with (fillfactor = 70);

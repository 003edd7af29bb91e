-- Info-hashes whose metadata is still to be fetched.
--
-- Why a table: what was learned must survive the end of the program, and several indexers share the work. Why there is
-- no column for a lease: taking a row moves its due time to the end of the lease, so what its taker never
-- finished becomes due again by itself.

create table backlog (
  due       timestamptz not null default now(),
  added_at  timestamptz not null default now(),
  taken_at  timestamptz,
  tries     int2 not null default 0,       -- failed fetches so far
  priority  int2 not null default 0,       -- higher first
  source    int2 not null,                 -- as torrents.discovered_by
  info_hash bytea primary key check (octet_length(info_hash) = 20),
  owner     text,                          -- who took it
  reason    text,                          -- why the last fetch failed
  hints     bytea not null default ''      -- nodes that know peers: compact endpoints, each behind its length
) with (fillfactor = 80);
create index backlog_due on backlog (priority, due);

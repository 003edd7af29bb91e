-- What is never to come back, what is not to come at all, and which hashes go first when the backlog is full.
--
-- Why tombstones are not a column of torrents: they are for hashes that are not there. Why a rule is a row and a banned hash
-- is a tombstone: rules are few and have to be held against every torrent, hashes may be millions and are looked up. The
-- rules are small; where the other tables are distributed, they are copied to every place.

create table tombstones (
  at        timestamptz not null default now(),
  pending   boolean not null default false,       -- a torrent of this hash is still stored: `indexer ban apply` removes it
  info_hash bytea primary key check (octet_length(info_hash) = 20),
  reason    text not null                         -- deleted, banned, a rule, no torrent
);
create index tombstones_at on tombstones (at);
create index tombstones_pending on tombstones (info_hash) where pending;

-- A torrent is banned when all that a rule says holds of it.
create table ban_rules (
  id       int8 generated always as identity primary key,
  added_at timestamptz not null default now(),
  size_min int8,                                  -- bytes in all files
  size_max int8,
  words    text,                                  -- as they were given
  lexemes  text[] not null                        -- all of them occur in the name or the paths
);

-- Announced by several networks is a priority of its own, between announced and requested.
update backlog set priority = 4 where priority = 3;

-- What a hash is worth when there is no room for all: what was requested is never dropped, a failed try weighs a
-- quarter of a step in priority.
alter table backlog add column worth int2 not null
  generated always as ((case when priority >= 4 then 100 else priority * 4 - least(tries, 15) end)::int2) stored;
create index backlog_worth on backlog (worth, added_at);

-- What an indexer has in hand: it renews its leases while it lives.
create index backlog_owned on backlog (owner) where owner is not null;

-- Why a run takes no new torrents in, such as a full disk; null: it does.
alter table runs add column ingest_stopped text;

-- Which of several indexers samples nodes in which sixteenth of the keyspace.
create table keyspace_slices (
  slice int2 primary key,                         -- the first four bits of the ids in it
  owner text not null,
  until timestamptz not null                      -- whoever lives renews it before
);

-- How far words and types of stored torrents have been made again by newer rules.
--
-- Why a walk that remembers where it stands, and no index of the rows that are old: such an index is as large as those of the orders
-- when the version rises, and has to be made anew each time, since it has the version in its condition. The walk follows the order of
-- what is newest, and when it is through nothing is left to look for but what was added since it began.

create table reindexing (
  one          boolean primary key default true check (one),
  tok_ver      int2 not null,                              -- versions that rows are brought to
  class_ver    int2 not null,
  every        boolean not null default false,             -- rows of these versions are made again, too
  began_at     timestamptz not null default now(),
  finished_at  timestamptz,                                -- null: it goes on
  floor_at     timestamptz not null default '-infinity',   -- what was added before is of these versions
  after_at     timestamptz not null default 'infinity',    -- the last row that was looked at; the walk goes from new to old
  after_hash   bytea not null default '',
  looked_at    int8 not null default 0,                    -- rows of this walk
  made_again   int8 not null default 0,
  leased_until timestamptz not null default '-infinity',   -- somebody works on the next ones
  leased_by    text not null default ''
);

-- Who we are, and what each run of us did.
--
-- Why a run has rows of work beside it: visits and fetches are counted alike, and another kind may come. These tables
-- are small; where the others are distributed, these are copied to every place.

create table runs (
  id         int8 generated always as identity primary key,
  started_at timestamptz not null default now(),
  beat_at    timestamptz not null default now(),  -- its last report
  stopped_at timestamptz,                         -- null: running, or it never could say that it ended
  by_whom    text not null,
  version    text not null,
  once       boolean not null,
  ended      text                                 -- why it stopped
);
create index runs_started on runs (started_at desc);

create table run_work (
  run       int8 not null references runs (id) on delete cascade,
  kind      text not null,                        -- visits, fetches
  attempted int8 not null default 0,
  succeeded int8 not null default 0,
  in_flight int8 not null default 0,
  failed    jsonb not null default '{}',          -- reason to number
  primary key (run, kind)
);

-- What an indexer keeps from run to run: its node ids, its external addresses.
create table identity (
  indexer    text not null,
  name       text not null,
  value      bytea not null,
  updated_at timestamptz not null default now(),
  primary key (indexer, name)
);

-- What became of each stage of fetching in a run, by transport and by the peers' programs, and how long stages took.
--
-- Why not among run_counts: these numbers have labels, and a name made of several would have to be taken apart again.
-- Why the reasons are one value: a row is written and read as a whole, and there are some dozen.

create table run_stages (
  run       int8 not null references runs (id) on delete cascade,
  place     int2 not null,                     -- order in reports
  stage     text not null,                     -- lookup, fetch, connect, handshake, extension handshake, metadata, info dict
  transport text,                              -- null: over all
  client    text,                              -- null: over all
  attempted int8 not null,
  succeeded int8 not null,
  in_flight int8 not null,
  failed    jsonb not null,                    -- reason to number
  primary key (run, place)
);

create table run_stage_times (
  run      int8 not null references runs (id) on delete cascade,
  stage    text not null,
  total_ms int8 not null,                      -- of all that succeeded
  buckets  int8[] not null,                    -- how many took at most 1, 2, 4, ... ms and more than half of that; the last: longer
  primary key (run, stage)
);

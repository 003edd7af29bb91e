-- What holds a run back, and where it stands in the network, as of its last report.
--
-- Why beside run_work: work is what was done, this is what was allowed and what waits. Why a row for each limit: a new one
-- needs no change of the schema.

create table run_limits (
  run         int8 not null references runs (id) on delete cascade,
  place       int2 not null,                      -- order in reports
  name        text not null,
  period_s    int4,                               -- a budget holds for so long; null: a queue
  allowed     int8 not null,
  used        int8,                               -- in the last period; of a queue: its length; null: not counted
  held        int8 not null,                      -- times that something waited for it or was refused, in the whole run
  held_lately int8 not null,                      -- of these, in the minute before the report
  primary key (run, place)
);

create table run_addresses (
  run         int8 not null references runs (id) on delete cascade,
  local       inet not null,
  external    inet,                               -- as others see it; null: not known
  ignored     boolean not null,                   -- in a range that libtorrent ignores
  ports       int4 not null,
  reachable   int4 not null,                      -- ports at which strangers have come in
  read_only   int4 not null,                      -- ports whose nodes say that they are not to be reached
  strangers   int8 not null,                      -- queries of nodes that had not been spoken to
  primary key (run, local)
);

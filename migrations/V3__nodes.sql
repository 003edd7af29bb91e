-- Nodes of the DHT, and what was observed of them.
--
-- Why the key is the endpoint: it is what can be visited; an id is what a node claims today. Why observations are one
-- row per node, run and day and not one per visit: a busy crawl visits a thousand nodes a second, and two crawls
-- can be compared by what they met.

create table nodes (
  first_seen    timestamptz not null,
  last_seen     timestamptz,               -- its last answer
  visit_started timestamptz,
  visit_ended   timestamptz,               -- null beside a start: in flight
  next_due      timestamptz,
  sampled_at    timestamptz,
  freshness     int4 not null default 0,
  visits_ok     int4 not null default 0,
  visits_failed int4 not null default 0,
  port          int4 not null,
  told_by_port  int4,
  rtt_us        int4,
  interval_s    int4,                      -- BEP 51, as last told
  num           int8,                      -- BEP 51, as last told
  told_us       int8 not null default 0,   -- nodes new to us that it named
  samples       int8 not null default 0,   -- info-hashes that it returned
  missed        int2 not null default 0,   -- visits in a row that it did not answer
  bep51         boolean,                   -- null: not known
  ip            inet not null,
  told_by_ip    inet,
  id            bytea not null check (octet_length(id) = 20),
  version       bytea,                     -- v of its messages
  last_error    text,
  primary key (ip, port)
) with (fillfactor = 70);

create table observations (
  day        date not null,
  run        int8 not null,
  first_at   timestamptz not null,
  last_at    timestamptz not null,
  ok         int4 not null,
  failed     int4 not null,
  port       int4 not null,
  ip         inet not null,
  id         bytea not null,
  version    bytea,
  last_error text,
  primary key (ip, port, run, day)
) with (fillfactor = 80);
-- Old days are dropped.
create index observations_day on observations (day);

-- How many take part in a torrent, as nodes of the DHT have told (BEP 33), and what a run counts beside its work.
--
-- Why the number of nodes is kept: a size that one node told is worth less than one of the eight that are closest, and must
-- not take its place. Why counts are rows: what is counted grows with the program, and a row of its own can be
-- compared over runs.

alter table torrent_stats
  add column scrape_nodes int2 not null default 0,            -- whose filters the sizes come from
  add column scrape_whole boolean not null default false;     -- the closest nodes were all asked

create table run_counts (
  run    int8 not null references runs (id) on delete cascade,
  about  text not null,                         -- what is counted: new hashes, packets sent, dropped, malformed, scrapes
  name   text not null,
  number int8 not null,                         -- since the run began
  primary key (run, about, name)
);

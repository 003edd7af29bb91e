-- Words of paths as numbers, and the words themselves once for all torrents.
--
-- Why: as tsvector they and their index were a third of the database, and all that a torrent's row needs is to be found by them: the path that
-- matched is shown from the list of files anyway, where the words themselves are. What numbers cannot tell is which words begin
-- alike, so the words are kept sorted, each once: 5 bytes a word, where the index of a tsvector takes 30 for each.
--
-- The old words go at once; new ones are made in the background by the walk that makes words again (reindexing), newest torrents first. Until it has
-- come to a torrent, that one is found by its name alone.

alter table torrent_files drop column paths;
-- Null: they have not been made again yet. A torrent whose only file bears its name has no row here: its name says it all.
alter table torrent_files add column words int4[];
-- Nothing makes them smaller.
alter table torrent_files alter words set storage external;
alter table torrent_files alter words set statistics 200;

-- Sorted lists of words, merged when one is less than twice as long as those that came after it: so there are few, and a word is written
-- again as often as the lists double.
create table path_word_lists (
  list  int4 primary key,
  words int8 not null                              -- how many
);
create table path_words (
  list  int4 not null,
  first text collate "C" not null,                 -- the first word of this part of the list
  words bytea not null,                            -- those after it, front-coded
  primary key (list, first)
);
alter table path_words alter words set storage external;

-- How far torrents have been read for it: all once, then those that transactions have stored since.
create table path_words_read (
  one        boolean primary key default true check (one),
  tok_ver    int2 not null,                        -- rules by which the words were made
  since      int8,                                 -- first transaction of those that are being read; null: all that there are
  until      int8 not null,                        -- first transaction of those that come after
  after_hash bytea not null default ''
);

-- What a torrent is, read from its name and files: its type, its year, and the version of the rules that said so.
--
-- Why so few columns: everything that is known stands in tsv as lexemes that no word can be (they begin with a colon: `:t:video`),
-- so that it is asked for together with words, by the same index. A type and a year are also shown, sorted and counted, and
-- that is done by columns. Why constants as defaults: no row is rewritten when they are added.

alter table torrents
  add column year      int2,                               -- null: none is known
  add column kind      int2 not null default 0,            -- 0 not classified, 1 video, 2 audio, 3 book, 4 software, 5 game, 6 image, 7 archive, 8 other
  add column class_ver int2 not null default 0;            -- version of the classifier that filled them

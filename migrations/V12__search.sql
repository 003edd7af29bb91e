-- The words that there are: what was misspelled is looked for among them.
--
-- Why grams are stored beside their words: a shared server may not have pg_trgm, and an index on an array is part of every PostgreSQL.

create table vocabulary (
  rows   int8 not null,                    -- names that had it when it was looked at
  lexeme text primary key,
  grams  text[] not null                   -- its trigrams, with spaces around it
);
create index vocabulary_grams on vocabulary using gin (grams);

-- How far names have been read for it.
create table vocabulary_read (
  reader    text primary key,
  added_at  timestamptz not null,
  info_hash bytea not null
);

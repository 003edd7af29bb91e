-- Smaller indexes of the orders, and less room that stays empty.
--
-- Why no info_hash in them: it only tells apart what is equal, which is a few rows (one batch at a time, one size), and was half
-- of each entry: PostgreSQL sorts those few itself while it walks (incremental sort). Why ascending: what is new goes to the end of
-- such an index, whose pages then fill up; at the beginning they split in halves. Walked backwards it costs the same.

drop index torrents_newest;
drop index torrents_popular;
drop index torrents_largest;
create index torrents_newest on torrents (added_at);
create index torrents_popular on torrents (popularity, added_at);
create index torrents_largest on torrents (total_size);

-- Few rows of a page are rewritten between two prunings of it.
alter table torrent_stats set (fillfactor = 90);

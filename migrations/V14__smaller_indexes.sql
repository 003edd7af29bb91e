-- Less room that stays empty: few rows of a page are rewritten between two prunings of it.

alter table torrent_stats set (fillfactor = 90);

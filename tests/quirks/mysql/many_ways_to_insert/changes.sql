REPLACE INTO t (id, u, v) VALUES (1, 2, 'both'); INSERT INTO t (u, v) VALUES (3, 'x') ON DUPLICATE KEY UPDATE v = CONCAT(v, '!'), u = 30;
INSERT IGNORE INTO t (id, u) VALUES (3, 5), (50, 5), (51, 5); INSERT INTO t (u, v) SELECT u + 100, v FROM t; INSERT INTO t SET u = 7;
REPLACE INTO t (u, v) VALUES (7, 'seven'), (4, 'four'); DELETE FROM t ORDER BY u DESC LIMIT 1

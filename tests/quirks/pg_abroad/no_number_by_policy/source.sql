CREATE TABLE t (id int PRIMARY KEY, v double precision NOT NULL, n numeric);
INSERT INTO t VALUES (1, 1.5, 2), (2, 'NaN', 'NaN'), (3, 2.5, NULL);
CREATE TABLE beside (id int PRIMARY KEY); INSERT INTO beside VALUES (1)

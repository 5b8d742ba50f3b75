CREATE TABLE t (id int PRIMARY KEY, v double precision);
INSERT INTO t VALUES (1, 1.5), (7, 'NaN')

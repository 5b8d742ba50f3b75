CREATE TABLE t (id int PRIMARY KEY, a int, live boolean NOT NULL);
CREATE UNIQUE INDEX one_live ON t (a) WHERE live;
INSERT INTO t VALUES (1, 1, true), (2, 1, false), (3, 1, false)

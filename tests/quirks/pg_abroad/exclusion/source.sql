CREATE TABLE t (id int PRIMARY KEY, during int4range, EXCLUDE USING gist (during WITH &&));
INSERT INTO t VALUES (1, '[1,5)'), (2, '[5,9)')

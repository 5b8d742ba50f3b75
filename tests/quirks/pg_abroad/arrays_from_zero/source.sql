CREATE TABLE t (id int PRIMARY KEY, n int[]);
INSERT INTO t VALUES (1, '{1}'), (5, '[0:1]={1,2}')

CREATE TABLE t (a int, b text, c numeric);
ALTER TABLE t REPLICA IDENTITY FULL;
INSERT INTO t VALUES (1, 'x', 1.10), (1, 'x', 1.10), (2, NULL, NULL)

CREATE TABLE t (a INT, b VARCHAR(9), f FLOAT, d DOUBLE, bl BLOB); INSERT INTO t VALUES (1, 'x', 0.1, 0.1, x'00'), (1, 'x', 0.1, 0.1, x'00'), (NULL, NULL, NULL, NULL, NULL), (2, 'é ', -0.0, 1e300, '')

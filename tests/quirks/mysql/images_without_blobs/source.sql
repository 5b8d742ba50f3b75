CREATE TABLE t (id INT PRIMARY KEY, v INT, b LONGBLOB, x LONGTEXT, j JSON); INSERT INTO t VALUES (1, 1, 'blob', 'text', '[1]'), (2, 2, REPEAT('x', 100000), NULL, '{}')

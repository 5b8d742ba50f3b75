UPDATE t SET a = 5, b = 'é' WHERE id = 1; UPDATE t SET a = 10 WHERE id = 2; INSERT INTO t (id, a) VALUES (3, 7); DELETE FROM t WHERE id = 2

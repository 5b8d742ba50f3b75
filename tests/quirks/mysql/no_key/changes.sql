DELETE FROM t WHERE a = 1 LIMIT 1; UPDATE t SET a = 5 WHERE a IS NULL; UPDATE t SET b = 'é' WHERE a = 2; INSERT INTO t VALUES (7, 'q', 3.3, 4.4, 'z'), (7, 'q', 3.3, 4.4, 'z')

UPDATE t SET v = 3 WHERE id = 1; INSERT INTO t (id, v) VALUES (3, 3)

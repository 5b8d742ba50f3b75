UPDATE t SET v = 5; UPDATE t SET v = 6, at = '2000-01-01' WHERE id = 2; INSERT INTO t (id) VALUES (3)

UPDATE t SET v = 2; UPDATE t SET v = 3; INSERT INTO t (id, v) VALUES (2, 2)

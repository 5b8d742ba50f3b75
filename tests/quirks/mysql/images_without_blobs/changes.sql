SET SESSION binlog_row_image = 'NOBLOB'; UPDATE t SET v = 10; UPDATE t SET b = 'new' WHERE id = 2; UPDATE t SET id = 5 WHERE id = 1; INSERT INTO t (id) VALUES (3)

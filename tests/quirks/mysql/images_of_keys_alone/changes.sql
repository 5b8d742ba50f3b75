SET SESSION binlog_row_image = 'MINIMAL'; INSERT INTO t (id) VALUES (2); UPDATE t SET v = 5 WHERE id = 1

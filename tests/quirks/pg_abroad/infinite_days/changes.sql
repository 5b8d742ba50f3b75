INSERT INTO t VALUES (8, 'infinity')

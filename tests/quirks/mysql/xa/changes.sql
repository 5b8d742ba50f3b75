XA START '{source}1'; UPDATE t SET v = 10 WHERE id = 1; INSERT INTO t VALUES (3, 3); XA END '{source}1'; XA PREPARE '{source}1'

INSERT INTO t VALUES (9, 9)

XA START '{source}2'; INSERT INTO t VALUES (4, 4); XA END '{source}2'; XA PREPARE '{source}2'

XA ROLLBACK '{source}2'

XA COMMIT '{source}1'

XA START '{source}3'; DELETE FROM t WHERE id = 2; XA END '{source}3'; XA COMMIT '{source}3' ONE PHASE

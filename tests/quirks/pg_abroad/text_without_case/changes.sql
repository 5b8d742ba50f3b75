UPDATE t SET v = 3 WHERE mail = 'ANN@X'; UPDATE t SET mail = 'BOB@x' WHERE v = 2; DELETE FROM t WHERE mail = 'ann@x'

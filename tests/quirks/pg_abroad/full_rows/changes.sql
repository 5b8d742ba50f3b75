UPDATE t SET b = 'y' WHERE a = 2; DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE a = 1)

UPDATE t SET v = 10 WHERE k = 'a '; DELETE FROM t WHERE k = 'a'; INSERT INTO t VALUES ('a  ', 6), ('á', 7); UPDATE t SET k = 'a' WHERE k = ''

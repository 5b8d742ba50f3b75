UPDATE t SET k = 'A ' WHERE k = 'a'; UPDATE t SET v = 20 WHERE k = 'b'; UPDATE t SET k = 'E' WHERE k = 'e'; UPDATE t SET v = v + 1 WHERE k = 'é';
REPLACE INTO t VALUES ('b', 4); BEGIN; DELETE FROM t WHERE k = 'A'; INSERT INTO t VALUES ('Á', 9); UPDATE t SET k = 'a  ' WHERE v = 9; COMMIT

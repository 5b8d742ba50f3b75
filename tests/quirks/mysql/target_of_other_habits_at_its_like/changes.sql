SET time_zone = '+05:30'; INSERT INTO t VALUES (3, NULL, '2038-01-19 08:44:07', '\\', 0); UPDATE t SET m = NULL, n = NULL, c = 'ж' WHERE id = 2

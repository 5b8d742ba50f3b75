CREATE TABLE t (id INT PRIMARY KEY, e ENUM('', 'a', 'B'), s SET('x', 'y', 'é')); INSERT INTO t VALUES (1, '', ''), (2, 'a', 'x'), (3, NULL, NULL)

CREATE TABLE t (k VARCHAR(20) COLLATE utf8mb4_0900_as_cs PRIMARY KEY, v INT); INSERT INTO t VALUES ('a', 1), ('a ', 2), ('A', 3), ('', 4), (' ', 5)

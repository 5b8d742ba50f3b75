SET sql_generate_invisible_primary_key = ON; CREATE TABLE t (v INT, w INT INVISIBLE DEFAULT 5); INSERT INTO t (v) VALUES (1), (1), (NULL)
